//! One operator alone, on a dataflow of its own.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use orderly_operators::AsyncOperator;
use prometheus::Registry;
use timely::communication::Allocator;
use timely::communication::allocator::Thread;
use timely::dataflow::operators::{Input as _, Inspect as _, Probe as _};
use timely::worker::Worker;
use timely::{ExchangeData, WorkerConfig};

use crate::dataflow::{Epoch, Lanes, Runtime, asynchronous};
use crate::failure::Failure;
use crate::metrics::Metrics;
use crate::runtime::Error;

/// Passes epochs of records through an operator, as the pipeline does it, on the thread that calls. Answers with how
/// many came out. It is there to measure what the way there and back costs a record.
///
/// # Errors
/// [`Error::Stopped`] when the operator failed, [`Error::Start`] when there is no runtime to be had.
pub fn run_alone<O>(operator: Arc<O>, epochs: Vec<Vec<O::In>>) -> Result<usize, Error>
where
    O: AsyncOperator,
    O::In: ExchangeData + Clone,
    O::Out: 'static,
{
    let tasks =
        tokio::runtime::Builder::new_current_thread().build().map_err(|error| Error::Start(error.to_string()))?;
    let stage = Metrics::register(&Registry::new())?.stage(operator.name());
    let failure = Failure::default();
    let outs = Rc::new(Cell::new(0));
    let mut worker = Worker::new(WorkerConfig::default(), Allocator::Thread(Thread::default()), None);
    let (mut input, probe) = worker.dataflow::<Epoch, _, _>(|scope| {
        let (input, stream) = scope.new_input();
        let runtime = Runtime { tasks: tasks.handle().clone(), stepper: None };
        let lanes = Lanes { lanes: 1, batch_records_max: 8_192 };
        let answers = asynchronous(stream, operator, |_| 0, lanes, runtime, stage, failure.clone());
        let outs = Rc::clone(&outs);
        let answers = answers.inspect_core(move |event| {
            if let Ok((_, batch)) = event {
                outs.set(outs.get() + batch.len());
            }
        });
        (input, answers.probe().0)
    });
    for (epoch, mut records) in (0..).zip(epochs) {
        input.advance_to(epoch);
        input.send_batch(&mut records);
    }
    input.close();
    while !probe.done() {
        worker.step();
        tasks.block_on(tokio::task::yield_now());
        if let Some(cause) = failure.cause() {
            return Err(Error::Stopped(cause.text.clone()));
        }
    }
    Ok(outs.get())
}
