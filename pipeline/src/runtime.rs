//! Starts the pipeline, watches it, and drains it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orderly_domain::port::pipeline::State;
use orderly_domain::port::{self, Fanout, IntentLog, Ledger, Store};
use orderly_domain::{Clock, Partition};
use orderly_operators::{
    Admit, AsyncOperator as _, Commit, Publish, PublishedMarks, RecentTickets, Retry, SessionMemory, Takeovers,
};
use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::dataflow::{Feed, feed};
use crate::failure::Failure;
use crate::graph::{self, Parts};
use crate::in_flight::InFlight;
use crate::metrics::Metrics;
use crate::reader::Reader;
use crate::takeover::Takeover;

/// How long a worker with nothing to do parks before it looks whether another one failed.
const PARK_MAX: Duration = Duration::from_millis(50);

/// How the pipeline runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Timely workers, each a thread of its own.
    pub workers: usize,
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
            epoch_records_max: 4_096,
            epoch_linger: Duration::from_millis(5),
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
    commit: Arc<Commit>,
    reader: JoinHandle<()>,
    workers: JoinHandle<()>,
}

struct View {
    assigned: watch::Receiver<Vec<Partition>>,
    in_flight: InFlight,
    decided_total: Arc<AtomicU64>,
    retry: Retry,
    failure: Failure,
}

impl port::Pipeline for View {
    fn state(&self) -> State {
        let cause = self.failure.cause().map(str::to_owned);
        State {
            running: cause.is_none() && !self.assigned.borrow().is_empty(),
            cause: cause.or_else(|| self.retry.waiting_for()),
            partitions: self.assigned.borrow().clone(),
            epochs_in_flight: self.in_flight.epochs(),
            epochs_in_flight_max: self.in_flight.epochs_max(),
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
        let (failure, retry) = (Failure::default(), Retry::default());
        let (takeovers, memory, marks) = (Takeovers::default(), SessionMemory::default(), PublishedMarks::default());
        let in_flight = InFlight::new(options.epochs_in_flight_max);
        let decided_total = Arc::new(AtomicU64::new(0));
        let commit = Arc::new(Commit::new(
            Arc::clone(&ports.store),
            Arc::clone(&ports.ledger),
            Arc::clone(&ports.clock),
            memory.clone(),
            marks.clone(),
            retry.clone(),
        ));
        let parts = Parts {
            log_partitions: ports.log.partitions(),
            recent: options.recent,
            takeovers: takeovers.clone(),
            admit: Arc::new(Admit::new(Arc::clone(&ports.ledger), memory.clone(), retry.clone())),
            commit: Arc::clone(&commit),
            publish: Arc::new(Publish::new(Arc::clone(&ports.fanout), marks.clone(), retry.clone())),
            ledger_lanes: options.ledger_lanes,
            batch_records_max: options.batch_records_max,
            decided_total: Arc::clone(&decided_total),
            runtime: tokio::runtime::Handle::current(),
            metrics: metrics.clone(),
            failure: failure.clone(),
        };
        let (feeders, feeds) = (0..options.workers).map(|_| feed(options.epochs_in_flight_max)).unzip();
        let workers = start_workers(parts, feeds, in_flight.clone(), &failure)?;
        let (assigned, assigned_view) = watch::channel(Vec::new());
        let takeover = Takeover {
            store: ports.store,
            ledger: ports.ledger,
            fanout: ports.fanout,
            owner: options.owner,
            log_partitions: ports.log.partitions(),
            recent: options.recent,
            takeovers,
            memory,
            marks,
            retry: retry.clone(),
            metrics: metrics.clone(),
        };
        let reader = Reader {
            log,
            feeders,
            takeover,
            in_flight: in_flight.clone(),
            assigned,
            records_max: options.epoch_records_max,
            linger: options.epoch_linger,
            metrics,
        };
        let (stop, stopped) = watch::channel(false);
        let reader = tokio::spawn({
            let failure = failure.clone();
            async move {
                let _guard = failure.on_panic("the log's reader");
                if let Err(error) = reader.run(stopped).await {
                    failure.report(format!("reader: {error}"));
                }
            }
        });
        let view = Arc::new(View { assigned: assigned_view, in_flight, decided_total, retry, failure });
        Ok(Self { view, stop, commit, reader, workers })
    }

    /// What it is doing, for ops.
    #[must_use]
    pub fn state(&self) -> Arc<dyn port::Pipeline> {
        Arc::clone(&self.view) as Arc<dyn port::Pipeline>
    }

    /// Waits until it fails.
    pub async fn failed(&self) -> Error {
        self.view.failure.wait().await;
        Error::Stopped(self.view.failure.cause().unwrap_or("for no known cause").to_owned())
    }

    /// Reads no further, decides and publishes what was read, and stops.
    ///
    /// # Errors
    /// [`Error::Stopped`] with the cause when it had failed.
    pub async fn drain(self) -> Result<(), Error> {
        self.stop.send_replace(true);
        // Both report their panics themselves.
        let _ = self.reader.await;
        let _ = self.workers.await;
        match self.view.failure.cause() {
            Some(cause) => Err(Error::Stopped(cause.to_owned())),
            None => Ok(self.commit.on_drained().await?),
        }
    }
}

fn start_workers(
    parts: Parts,
    feeds: Vec<Feed>,
    in_flight: InFlight,
    failure: &Failure,
) -> Result<JoinHandle<()>, Error> {
    let config = if feeds.len() == 1 { timely::Config::thread() } else { timely::Config::process(feeds.len()) };
    let feeds: Mutex<Vec<Option<Feed>>> = Mutex::new(feeds.into_iter().map(Some).collect());
    let seen_by_workers = failure.clone();
    let guards = timely::execute(config, move |worker| {
        let failure = &seen_by_workers;
        let _guard = failure.on_panic("a worker");
        let feed = feeds.lock().unwrap_or_else(PoisonError::into_inner)[worker.index()].take();
        let feed = feed.expect("every worker starts once");
        let probe = graph::build(worker, feed, &parts);
        while !probe.done() && !failure.happened() {
            worker.step_or_park(Some(PARK_MAX));
            if worker.index() == 0 {
                in_flight.complete_before(probe.with_frontier(|frontier| frontier.first().copied()).unwrap_or(0));
            }
        }
        if failure.happened() {
            // Nothing is stepped again, so nobody takes the capabilities that are dropped here for progress.
            for dataflow in worker.installed_dataflows() {
                worker.drop_dataflow(dataflow);
            }
        }
    })
    .map_err(Error::Start)?;
    let failure = failure.clone();
    Ok(tokio::task::spawn_blocking(move || {
        for result in guards.join() {
            if let Err(cause) = result {
                failure.report(format!("a worker panicked: {cause}"));
            }
        }
    }))
}
