//! The turns that a worker, the reader that feeds it and the tasks that answer it may take: what is handed over is always
//! noticed. The worker is the one that a task steps, since nobody unparks it by chance.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use async_trait::async_trait;
use orderly_domain::{Offset, Position, Timestamp, port};
use orderly_interleave::{block_on, explore, point, thread};
use orderly_operators::{AsyncOperator, Decode, Draft, Entry, Error};
use prometheus::Registry;
use timely::dataflow::operators::{Inspect as _, Probe as _};

use crate::dataflow::{Epoch, Feeder, Lanes, Runtime, asynchronous, feed, source, synchronous};
use crate::failure::Failure;
use crate::in_flight::InFlight;
use crate::metrics::Metrics;
use crate::stepped::Stepped;
use crate::sync::Notify;

const EXECUTIONS: usize = 1_000;
const EPOCHS: Epoch = 3;
const EPOCHS_IN_FLIGHT: usize = 2;
const RECORDS_PER_EPOCH: Offset = 2;

/// Answers with offsets, after a while.
struct Echo {
    /// The offset at which it fails.
    fails_at: Option<Offset>,
}

#[async_trait]
impl AsyncOperator for Echo {
    type In = Draft;
    type Out = Offset;

    fn name(&self) -> &'static str {
        "echo"
    }

    async fn process_batch(&self, batch: Vec<Draft>) -> Result<Vec<Offset>, Error> {
        point();
        let offsets: Vec<_> = batch.iter().map(|draft| draft.position.offset).collect();
        if self.fails_at.is_some_and(|offset| offsets.contains(&offset)) {
            return Err(port::Error::DidNotHappen("as planned".to_owned()).into());
        }
        Ok(offsets)
    }

    fn lane(&self, draft: &Draft) -> u64 {
        draft.position.offset << 32
    }
}

fn entry(offset: Offset) -> Entry {
    let position = Position { partition: 0, offset };
    Entry { position, logged_at: Timestamp::default(), fence: 1, payload: Vec::new() }
}

/// Gives epochs as there is room for them, and ends when all are answered: nothing but an epoch itself has it noticed.
async fn read(feeder: &Feeder, in_flight: &InFlight, failure: &Failure) {
    let all = async {
        for _ in 0..EPOCHS {
            let epoch = in_flight.enter().await;
            let first = epoch * RECORDS_PER_EPOCH;
            feeder.give(epoch, (first..first + RECORDS_PER_EPOCH).map(entry).collect());
        }
        in_flight.drained().await;
    };
    tokio::select! {
        biased;
        _ = failure.wait() => {}
        () = all => {}
    }
}

/// What comes out, and whether something has failed, of a reader that feeds a worker as it steps.
fn decide(fails_at: Option<Offset>, metrics: &Metrics, tasks: &tokio::runtime::Handle) -> (Vec<Offset>, bool) {
    let failure = Failure::default();
    let (feeder, feed) = feed(EPOCHS_IN_FLIGHT);
    let in_flight = InFlight::new(EPOCHS_IN_FLIGHT);
    let reader = thread::spawn({
        let (in_flight, failure) = (in_flight.clone(), failure.clone());
        move || block_on(read(&feeder, &in_flight, &failure))
    });
    let stepper = Arc::new(Notify::new());
    let mut stepped = Stepped::new(Arc::clone(&stepper));
    let outs = Rc::new(RefCell::new(Vec::new()));
    let probe = stepped.worker.dataflow::<Epoch, _, _>(|scope| {
        let runtime = Runtime { tasks: tasks.clone(), stepper: Some(stepper) };
        let entries = source(scope, feed, runtime.stepper.clone());
        let drafts = synchronous(entries, Decode::new(1), metrics.stage("decode"), failure.clone());
        let lanes = Lanes { lanes: 2, batch_records_max: 2 };
        let (echo, stage) = (Arc::new(Echo { fails_at }), metrics.stage("echo"));
        let answers = asynchronous(drafts, echo, |_| 0, lanes, runtime, stage, failure.clone());
        let outs = Rc::clone(&outs);
        let answers = answers.inspect_core(move |event| {
            if let Ok((_, batch)) = event {
                outs.borrow_mut().extend(batch.iter().copied());
            }
        });
        answers.probe().0
    });
    let is_done = || {
        in_flight.complete_before(probe.with_frontier(|frontier| frontier.first().copied()).unwrap_or(0));
        probe.done()
    };
    block_on(stepped.run(&failure, is_done));
    reader.join().expect("the reader does not panic");
    drop(stepped);
    let mut outs = outs.take();
    outs.sort_unstable();
    (outs, failure.happened())
}

/// Metrics, and a runtime whose place is taken by the exploration.
fn surroundings() -> (Metrics, tokio::runtime::Runtime) {
    let metrics = Metrics::register(&Registry::new()).expect("a registry of its own");
    (metrics, tokio::runtime::Builder::new_current_thread().build().expect("a runtime"))
}

#[test]
fn answers_are_always_noticed() {
    let (metrics, runtime) = surroundings();
    let tasks = runtime.handle().clone();
    explore(EXECUTIONS, move || {
        let (outs, failed) = decide(None, &metrics, &tasks);
        assert_eq!(outs, (0..EPOCHS * RECORDS_PER_EPOCH).collect::<Vec<_>>());
        assert!(!failed);
    });
}

#[test]
fn a_failure_ends_the_worker_and_nothing_is_answered_for_it() {
    let (metrics, runtime) = surroundings();
    let tasks = runtime.handle().clone();
    explore(EXECUTIONS, move || {
        let (outs, failed) = decide(Some(2), &metrics, &tasks);
        assert!(failed);
        assert!(!outs.contains(&2), "{outs:?}");
    });
}
