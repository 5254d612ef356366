//! A worker that has no thread of its own: it is stepped by a task, whenever there is something for it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use timely::WorkerConfig;
use timely::communication::Allocator;
use timely::communication::allocator::Thread;
use timely::worker::Worker;

use crate::failure::Failure;
use crate::sync::Notify;

/// The worker, and who tells that there is something for it.
pub(crate) struct Stepped {
    pub worker: Worker,
    arrivals: Rc<RefCell<Vec<usize>>>,
    stepper: Arc<Notify>,
}

impl Stepped {
    pub(crate) fn new(stepper: Arc<Notify>) -> Self {
        let allocator = Allocator::Thread(Thread::default());
        let arrivals = Rc::clone(allocator.events());
        // With a time of its own it tells when nothing is to be done.
        let worker = Worker::new(WorkerConfig::default(), allocator, Some(std::time::Instant::now()));
        Self { worker, arrivals, stepper }
    }

    /// Steps the worker until `is_done`, which is asked after each step, or until something has failed.
    pub(crate) async fn run(&mut self, failure: &Failure, mut is_done: impl FnMut() -> bool) {
        loop {
            self.worker.step();
            if is_done() || failure.happened() {
                return;
            }
            if self.arrivals.borrow().is_empty() && self.worker.activations().borrow().empty_for().is_none() {
                tokio::select! {
                    biased;
                    _ = failure.wait() => {}
                    () = self.stepper.notified() => {}
                }
            }
        }
    }
}
