//! How a part of a connection asks that all of it ends.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures::task::AtomicWaker;

/// A connection's end, as one of its answers can ask for. It takes no lock: every turn of a connection looks here.
#[derive(Debug, Default)]
pub(super) struct Cut {
    made: AtomicBool,
    waker: AtomicWaker,
}

impl Cut {
    /// Asks for the end.
    pub(super) fn make(&self) {
        self.made.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Returns once the end was asked for. One waits at a time.
    pub(super) async fn made(&self) {
        poll_fn(|context| {
            self.waker.register(context.waker());
            if self.made.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
