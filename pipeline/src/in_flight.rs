//! The bound on epochs that are read and not committed: timely has none of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, Semaphore};

use crate::dataflow::Epoch;

/// Counts epochs in and, by the dataflow's frontier, out.
#[derive(Clone, Debug)]
pub(crate) struct InFlight(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    free: Semaphore,
    epochs_max: usize,
    entered: AtomicU64,
    /// The first epoch that is not complete.
    frontier: AtomicU64,
    moved: Notify,
}

impl InFlight {
    pub(crate) fn new(epochs_max: usize) -> Self {
        Self(Arc::new(Shared {
            free: Semaphore::new(epochs_max),
            epochs_max,
            entered: AtomicU64::new(0),
            frontier: AtomicU64::new(0),
            moved: Notify::new(),
        }))
    }

    /// Waits until there is room for another epoch and takes it. The epochs are 0, 1, 2, …
    pub(crate) async fn enter(&self) -> Epoch {
        let permit = self.0.free.acquire().await.expect("the semaphore is never closed");
        permit.forget();
        self.0.entered.fetch_add(1, Ordering::SeqCst)
    }

    /// Gives back the room of an epoch that was entered last and not used.
    pub(crate) fn leave_unused(&self) {
        self.0.entered.fetch_sub(1, Ordering::SeqCst);
        self.0.free.add_permits(1);
    }

    /// Epochs before `frontier` are complete.
    pub(crate) fn complete_before(&self, frontier: Epoch) {
        let before = self.0.frontier.fetch_max(frontier, Ordering::SeqCst);
        if frontier > before {
            self.0.free.add_permits(usize::try_from(frontier - before).unwrap_or(self.0.epochs_max));
            self.0.moved.notify_waiters();
        }
    }

    pub(crate) fn epochs(&self) -> usize {
        let entered = self.0.entered.load(Ordering::SeqCst);
        usize::try_from(entered.saturating_sub(self.0.frontier.load(Ordering::SeqCst))).unwrap_or(self.0.epochs_max)
    }

    /// Waits until nothing is in flight.
    pub(crate) async fn drained(&self) {
        loop {
            let moved = self.0.moved.notified();
            if self.epochs() == 0 {
                return;
            }
            moved.await;
        }
    }
}
