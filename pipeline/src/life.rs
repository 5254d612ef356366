//! One life of the dataflow: from the first takeover to a drain, or to a failure. After a failure that a takeover heals,
//! the next life starts from what the store has.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orderly_domain::Partition;
use orderly_domain::port::LogReader;
use orderly_operators::{
    Admit, AsyncOperator as _, Commit, Neighbours, Publish, PublishedMarks, Retry, SessionMemory, Takeovers,
};
use timely::dataflow::operators::probe;
use timely::worker::Worker;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::dataflow::{Epoch, Feed, Runtime, feed};
use crate::failure::{Cause, Failure};
use crate::graph::{self, Parts};
use crate::in_flight::InFlight;
use crate::metrics::Metrics;
use crate::reader::Reader;
use crate::runtime::{Error, Options, Ports};
use crate::stepped::Stepped;
use crate::sync::Notify;
use crate::takeover::Takeover;

/// How long a worker with nothing to do parks before it looks whether another one failed.
const PARK_MAX: Duration = Duration::from_millis(50);

/// What outlives a life.
#[derive(Clone)]
pub(crate) struct Settings {
    pub options: Options,
    pub ports: Ports,
    pub metrics: Metrics,
    pub neighbours: Neighbours,
    pub retry: Retry,
    /// Decisions committed, over all lives.
    pub decided_total: Arc<AtomicU64>,
}

/// What can be seen of a life from outside.
#[derive(Clone)]
pub(crate) struct Signs {
    pub assigned: watch::Receiver<Vec<Partition>>,
    pub in_flight: InFlight,
    pub failure: Failure,
}

/// A running dataflow.
pub(crate) struct Life {
    pub signs: Signs,
    commit: Arc<Commit>,
    stop: watch::Sender<bool>,
    /// Hands back the log's reader at its end.
    reader: JoinHandle<Box<dyn LogReader>>,
    workers: JoinHandle<()>,
}

impl Life {
    /// Starts workers and reader on `log`.
    ///
    /// # Errors
    /// When the workers cannot be started.
    pub(crate) fn start(settings: &Settings, log: Box<dyn LogReader>) -> Result<Self, Error> {
        let Settings { options, ports, metrics, neighbours, retry, decided_total } = settings.clone();
        let failure = Failure::default();
        let (takeovers, memory, marks) = (Takeovers::default(), SessionMemory::default(), PublishedMarks::default());
        let in_flight = InFlight::new(options.epochs_in_flight_max);
        let commit = Arc::new(Commit::new(
            Arc::clone(&ports.store),
            Arc::clone(&ports.ledger),
            Arc::clone(&ports.clock),
            memory.clone(),
            marks.clone(),
            neighbours.clone(),
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
            decided_total,
            runtime: Runtime { tasks: tokio::runtime::Handle::current(), stepper: None },
            metrics: metrics.clone(),
            failure: failure.clone(),
        };
        let (feeders, feeds) = (0..options.workers).map(|_| feed(options.epochs_in_flight_max)).unzip();
        let workers = if options.stepped {
            step_worker(parts, feeds, in_flight.clone(), failure.clone())?
        } else {
            let build = move |worker: &mut Worker, feed| graph::build(worker, feed, &parts);
            start_workers(feeds, in_flight.clone(), &failure, build)?
        };
        let (assigned, assigned_view) = watch::channel(Vec::new());
        let takeover = Takeover {
            store: ports.store,
            ledger: ports.ledger,
            fanout: ports.fanout,
            owner: options.owner,
            log_partitions: ports.log.partitions(),
            log: ports.log,
            recent: options.recent,
            takeovers,
            memory,
            marks,
            neighbours,
            retry,
            metrics: metrics.clone(),
        };
        let mut reader = Reader {
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
                tokio::select! {
                    biased;
                    // What the reader may be waiting for does not come any more.
                    _ = failure.wait() => {}
                    ended = reader.run(stopped) => {
                        if let Err(error) = ended {
                            failure.report(Cause::of("reader", &error.into()));
                        }
                    }
                }
                reader.log
            }
        });
        Ok(Self { signs: Signs { assigned: assigned_view, in_flight, failure }, commit, stop, reader, workers })
    }

    /// Reads no further, decides and publishes what was read, and ends.
    ///
    /// # Errors
    /// [`Error::Stopped`] with the cause when it failed.
    pub(crate) async fn drain(self) -> Result<(), Error> {
        self.stop.send_replace(true);
        // Both report their panics themselves.
        let log = self.reader.await;
        let _ = self.workers.await;
        drop(log);
        match self.signs.failure.cause() {
            Some(cause) => Err(Error::Stopped(cause.text.clone())),
            None => Ok(self.commit.on_drained().await?),
        }
    }

    /// Whether anything came of it.
    pub(crate) fn has_committed(&self) -> bool {
        self.commit.has_committed()
    }

    /// Ends a life that failed. What was in flight is still in the log, whose reader is handed on, unless it panicked.
    pub(crate) async fn bury(self) -> Option<Box<dyn LogReader>> {
        let log = self.reader.await.ok();
        let _ = self.workers.await;
        log
    }
}

/// One thread for each feed, on which a worker runs its copy of what `build` wires.
fn start_workers(
    feeds: Vec<Feed>,
    in_flight: InFlight,
    failure: &Failure,
    build: impl Fn(&mut Worker, Feed) -> probe::Handle<Epoch> + Send + Sync + 'static,
) -> Result<JoinHandle<()>, Error> {
    let config = if feeds.len() == 1 { timely::Config::thread() } else { timely::Config::process(feeds.len()) };
    let feeds: Mutex<Vec<Option<Feed>>> = Mutex::new(feeds.into_iter().map(Some).collect());
    let seen_by_workers = failure.clone();
    let guards = timely::execute(config, move |worker| {
        let failure = &seen_by_workers;
        let _guard = failure.on_panic("a worker");
        let feed = feeds.lock().unwrap_or_else(PoisonError::into_inner)[worker.index()].take();
        let feed = feed.expect("every worker starts once");
        let probe = build(worker, feed);
        while !probe.done() && !failure.happened() {
            worker.step_or_park(Some(PARK_MAX));
            if worker.index() == 0 {
                in_flight.complete_before(probe.with_frontier(|frontier| frontier.first().copied()).unwrap_or(0));
            }
        }
        if failure.happened() {
            abandon(worker);
        }
    })
    .map_err(Error::Start)?;
    let failure = failure.clone();
    Ok(tokio::task::spawn_blocking(move || {
        for result in guards.join() {
            if let Err(cause) = result {
                failure.report(Cause::fatal(format!("a worker panicked: {cause}")));
            }
        }
    }))
}

/// Nothing is stepped again, so nobody takes the capabilities that are dropped here for progress.
fn abandon(worker: &mut Worker) {
    for dataflow in worker.installed_dataflows() {
        worker.drop_dataflow(dataflow);
    }
}

/// Steps the one worker as a task beside the others, whenever there is something for it. The runtime must be a
/// [`tokio::runtime::LocalRuntime`]: a worker stays on its thread.
fn step_worker(
    mut parts: Parts,
    feeds: Vec<Feed>,
    in_flight: InFlight,
    failure: Failure,
) -> Result<JoinHandle<()>, Error> {
    let stepper = Arc::new(Notify::new());
    parts.runtime.stepper = Some(Arc::clone(&stepper));
    let [feed] = <[Feed; 1]>::try_from(feeds)
        .map_err(|feeds| Error::Start(format!("a stepped pipeline has 1 worker, not {}", feeds.len())))?;
    Ok(tokio::task::spawn_local(async move {
        let _guard = failure.on_panic("a worker");
        let mut stepped = Stepped::new(stepper);
        let probe = graph::build(&mut stepped.worker, feed, &parts);
        let is_done = || {
            in_flight.complete_before(probe.with_frontier(|frontier| frontier.first().copied()).unwrap_or(0));
            probe.done()
        };
        stepped.run(&failure, is_done).await;
        if failure.happened() {
            abandon(&mut stepped.worker);
        }
    }))
}

#[cfg(test)]
mod tests {
    use orderly_domain::{Position, Timestamp};
    use orderly_operators::{Entry, Operator};
    use prometheus::Registry;
    use timely::dataflow::operators::Probe as _;

    use super::*;
    use crate::dataflow::{source, synchronous};

    /// An operator with a bug that one record brings to light.
    struct Mined;

    impl Operator for Mined {
        type In = Entry;
        type Out = Entry;

        fn name(&self) -> &'static str {
            "mined"
        }

        fn process_batch(&mut self, batch: Vec<Entry>, out: &mut Vec<Entry>) -> Result<(), orderly_operators::Error> {
            assert!(batch.iter().all(|entry| entry.payload != b"mine"), "a bug in an operator");
            out.extend(batch);
            Ok(())
        }
    }

    fn entry(offset: u64, payload: &[u8]) -> Entry {
        let logged_at = Timestamp::from_millis(offset.cast_signed());
        Entry { position: Position { partition: 0, offset }, logged_at, fence: 1, payload: payload.to_vec() }
    }

    /// What the panic met is not complete, nor is what came after it; what came before is. The other worker ends too.
    #[tokio::test]
    async fn a_panic_in_a_worker_ends_every_worker_with_its_cause() {
        let (failure, in_flight, metrics) =
            (Failure::default(), InFlight::new(3), Metrics::register(&Registry::new()).unwrap());
        let (feeders, feeds): (Vec<_>, Vec<_>) = (0..2).map(|_| feed(3)).unzip();
        let workers = start_workers(feeds, in_flight.clone(), &failure, {
            let failure = failure.clone();
            move |worker, feed| {
                worker.dataflow::<Epoch, _, _>(|scope| {
                    let entries = source(scope, feed, None);
                    synchronous(entries, Mined, metrics.stage("mined"), failure.clone()).probe().0
                })
            }
        })
        .unwrap();

        let give = async |worker: usize, payload: &[u8]| {
            let epoch = in_flight.enter().await;
            for (index, feeder) in feeders.iter().enumerate() {
                feeder.give(epoch, if index == worker { vec![entry(epoch, payload)] } else { Vec::new() });
            }
        };
        give(0, b"good").await;
        in_flight.drained().await;
        give(1, b"mine").await;
        let cause = failure.wait().await;
        assert!(cause.text.contains("a worker panicked"), "{}", cause.text);
        assert!(!cause.heals, "a takeover meets the same record again");
        give(0, b"good").await;
        workers.await.unwrap();
        assert_eq!(in_flight.epochs(), 2);
    }
}
