//! The one thread that writes a file. Calls wait in a bounded queue and are answered one by one.

use std::thread::JoinHandle;

use orderly_domain::port;
use prometheus::IntGauge;
use tokio::sync::{mpsc, oneshot};

use super::Failure;

type Call<S> = Box<dyn FnOnce(&mut S) + Send>;

/// A handle on the thread that owns `S`, the connection and what goes with it. Dropping it lets the calls that wait be
/// done and the file be closed.
#[derive(Debug)]
pub(crate) struct Writer<S> {
    calls: Option<mpsc::Sender<Call<S>>>,
    waiting: IntGauge,
    thread: Option<JoinHandle<()>>,
}

impl<S: Send + 'static> Writer<S> {
    /// Starts the thread, with room for `queue_max` calls that wait; `waiting` shows how many do.
    pub(crate) fn start(name: &str, mut state: S, queue_max: usize, waiting: IntGauge) -> port::Result<Self> {
        let (calls, mut queue) = mpsc::channel::<Call<S>>(queue_max.max(1));
        let taken = waiting.clone();
        let work = move || {
            while let Some(call) = queue.blocking_recv() {
                taken.dec();
                call(&mut state);
            }
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(work)
            .map_err(|error| port::Error::DidNotHappen(format!("cannot start thread {name}: {error}")))?;
        Ok(Self { calls: Some(calls), waiting, thread: Some(thread) })
    }

    /// Does the work on the thread. It is done also when this future is dropped while it waits for the answer.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut S) -> Result<T, Failure> + Send + 'static,
    ) -> port::Result<T> {
        const STOPPED: &str = "the writer has stopped; its last words are in the log; restart";
        let calls = self.calls.as_ref().expect("the queue is there until the writer is dropped");
        let place = calls.reserve().await.map_err(|_| port::Error::DidNotHappen(STOPPED.into()))?;
        let (answer, answered) = oneshot::channel();
        self.waiting.inc();
        place.send(Box::new(move |state| {
            // Whoever asked may have gone.
            let _ = answer.send(work(state).map_err(port::Error::from));
        }));
        answered.await.unwrap_or_else(|_| Err(port::Error::MayHaveHappened(STOPPED.into())))
    }
}

impl<S> Drop for Writer<S> {
    fn drop(&mut self) {
        self.calls = None;
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("a writer ended with a panic; see above");
        }
    }
}
