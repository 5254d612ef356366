//! Starts the pipeline, watches it, takes over again where that heals a failure, and drains it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orderly_domain::Clock;
use orderly_domain::port::pipeline::State;
use orderly_domain::port::{self, Fanout, IntentLog, Ledger, Store};
use orderly_operators::{Neighbours, RecentTickets, Retry};
use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::failure::{Cause, Failure};
use crate::life::{Life, Settings, Signs};
use crate::metrics::Metrics;

/// Takeovers in a row, without a commit between them, after which a failure is a person's.
const LIVES_MAX: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How the pipeline runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Timely workers, each a thread of its own.
    pub workers: usize,
    /// The one worker is stepped as a task of the runtime that the pipeline is started on, and no thread is started: one
    /// thread then does everything, in an order that can be repeated. Needs a [`tokio::runtime::LocalRuntime`].
    pub stepped: bool,
    /// Records in an epoch, at most.
    pub epoch_records_max: usize,
    /// The shortest time between two epochs that are not full: it trades latency for larger transactions.
    pub epoch_linger: Duration,
    /// Epochs that are read and not committed, at most.
    pub epochs_in_flight_max: usize,
    /// Records in one call of the ledger or one transaction of the store, at most, unless one epoch alone has more.
    pub batch_records_max: usize,
    /// Calls of the ledger that one worker has in flight, at most.
    pub ledger_lanes: usize,
    /// The tickets that a retry is compared with.
    pub recent: RecentTickets,
    /// The name under which partitions are taken over.
    pub owner: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: 1,
            stepped: false,
            epoch_records_max: 4_096,
            epoch_linger: Duration::from_millis(1),
            epochs_in_flight_max: 16,
            batch_records_max: 8_192,
            ledger_lanes: 1,
            recent: RecentTickets { tickets_max: 32_768, window: Duration::from_secs(24 * 3600) },
            owner: "orderly".to_owned(),
        }
    }
}

/// The edges.
#[derive(Clone)]
pub struct Ports {
    /// Where intents come from.
    pub log: Arc<dyn IntentLog>,
    /// Who decides.
    pub ledger: Arc<dyn Ledger>,
    /// Where decisions go.
    pub store: Arc<dyn Store>,
    /// Who tells those who wait.
    pub fanout: Arc<dyn Fanout>,
    /// The time of a commit, for people.
    pub clock: Arc<dyn Clock>,
}

/// Why the pipeline cannot run, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It did not start.
    #[error("the pipeline cannot start: {0}")]
    Start(String),
    /// A metric's name is taken.
    #[error("the pipeline's metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    /// It stopped. What was not decided is in the log and is decided after a restart.
    #[error("the pipeline stopped: {0}")]
    Stopped(String),
    /// It drained, but the last published offsets were not written down; outcomes may be published twice.
    #[error("the pipeline drained, its last marks were not written: {0}")]
    Marks(#[from] orderly_operators::Error),
}

/// A running pipeline.
pub struct Pipeline {
    view: Arc<View>,
    stop: watch::Sender<bool>,
    supervisor: JoinHandle<Result<(), Error>>,
}

struct View {
    signs: Mutex<Signs>,
    decided_total: Arc<AtomicU64>,
    retry: Retry,
    epochs_in_flight_max: usize,
    /// Set when it has stopped for good.
    failure: Failure,
}

impl View {
    fn signs(&self) -> MutexGuard<'_, Signs> {
        self.signs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl port::Pipeline for View {
    fn state(&self) -> State {
        let signs = self.signs().clone();
        let failed = self.failure.cause().or_else(|| signs.failure.cause()).map(|cause| cause.text.clone());
        let partitions = signs.assigned.borrow().clone();
        State {
            running: failed.is_none() && !partitions.is_empty(),
            cause: failed.or_else(|| self.retry.waiting_for()),
            partitions,
            epochs_in_flight: signs.in_flight.epochs(),
            epochs_in_flight_max: self.epochs_in_flight_max,
            decided_total: self.decided_total.load(Ordering::Relaxed),
        }
    }
}

impl Pipeline {
    /// Starts workers and reader. Must be called on a tokio runtime, which also runs the asynchronous operators.
    ///
    /// # Errors
    /// [`Error::Start`] when an option is out of range, the log cannot be read or the workers cannot be started.
    pub async fn start(options: Options, ports: Ports, registry: &Registry) -> Result<Self, Error> {
        for (name, value) in [
            ("workers", options.workers),
            ("epoch_records_max", options.epoch_records_max),
            ("epochs_in_flight_max", options.epochs_in_flight_max),
            ("batch_records_max", options.batch_records_max),
            ("ledger_lanes", options.ledger_lanes),
        ] {
            if value == 0 {
                return Err(Error::Start(format!("{name} must be at least 1")));
            }
        }
        let metrics = Metrics::register(registry)?;
        let log = ports.log.reader().await.map_err(|error| Error::Start(error.to_string()))?;
        let (retry, decided_total) = (Retry::default(), Arc::new(AtomicU64::new(0)));
        let epochs_in_flight_max = options.epochs_in_flight_max;
        let neighbours = Neighbours::register(registry)?;
        let settings = Settings {
            options,
            ports,
            metrics,
            neighbours,
            retry: retry.clone(),
            decided_total: Arc::clone(&decided_total),
        };
        let life = Life::start(&settings, log)?;
        let view = Arc::new(View {
            signs: Mutex::new(life.signs.clone()),
            decided_total,
            retry,
            epochs_in_flight_max,
            failure: Failure::default(),
        });
        let (stop, stopped) = watch::channel(false);
        let supervisor = tokio::spawn(supervise(settings, life, Arc::clone(&view), stopped));
        Ok(Self { view, stop, supervisor })
    }

    /// What it is doing, for ops.
    #[must_use]
    pub fn state(&self) -> Arc<dyn port::Pipeline> {
        Arc::clone(&self.view) as Arc<dyn port::Pipeline>
    }

    /// Waits until it has failed for good.
    pub async fn failed(&self) -> Error {
        Error::Stopped(self.view.failure.wait().await.text.clone())
    }

    /// Reads no further, decides and publishes what was read, and stops.
    ///
    /// # Errors
    /// [`Error::Stopped`] with the cause when it had failed.
    pub async fn drain(self) -> Result<(), Error> {
        self.stop.send_replace(true);
        self.supervisor.await.unwrap_or_else(|panic| Err(Error::Stopped(format!("its supervisor panicked: {panic}"))))
    }
}

/// Drains at a stop. Buries a life that failed, and starts the next one where a takeover heals the failure.
async fn supervise(
    settings: Settings,
    mut life: Life,
    view: Arc<View>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    let mut lives = 0;
    loop {
        let failure = life.signs.failure.clone();
        let cause = tokio::select! {
            biased;
            cause = failure.wait() => cause,
            () = set(&mut stop) => {
                let drained = life.drain().await;
                if let Err(error) = &drained {
                    view.failure.report(Cause::fatal(error.to_string()));
                }
                return drained;
            }
        };
        lives = if life.has_committed() { 1 } else { lives + 1 };
        if !cause.heals || lives > LIVES_MAX {
            tracing::error!(cause = cause.text, "the pipeline stops");
            view.failure.report(Cause::fatal(cause.text.clone()));
            drop(life.bury().await);
            return Err(Error::Stopped(cause.text.clone()));
        }
        tracing::warn!(cause = cause.text, "the pipeline takes its partitions over again");
        settings.metrics.lives_total.inc();
        // Whoever left the log and joined it again would have all nodes share the partitions anew.
        let log = life.bury().await.map(|mut log| {
            log.restart();
            log
        });
        let pause = (FIRST_PAUSE * 2_u32.saturating_pow(lives - 1)).min(PAUSE_MAX);
        let next = async {
            tokio::time::sleep(pause).await;
            let log = match log {
                Some(log) => log,
                None => settings.retry.until_final("log", || settings.ports.log.reader()).await?,
            };
            Life::start(&settings, log).map_err(|error| port::Error::DidNotHappen(error.to_string()))
        };
        let next = tokio::select! {
            next = next => next,
            // Nothing is in flight, so there is nothing to drain.
            () = set(&mut stop) => return Ok(()),
        };
        life = match next {
            Ok(life) => life,
            Err(error) => {
                view.failure.report(Cause::fatal(error.to_string()));
                return Err(Error::Stopped(error.to_string()));
            }
        };
        *view.signs() = life.signs.clone();
    }
}

async fn set(flag: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    let _ = flag.wait_for(|set| *set).await;
}
