//! How a decision comes to those who wait for it: the two halves of one protocol, which together miss nobody.

use std::future::Future;
use std::sync::Arc;

use orderly_domain::Position;
use orderly_domain::port::store::Committed;

use crate::progress::Progress;
use crate::waiters::{Full, Waiters, Woken};

/// What a wait for a decision ended with.
#[derive(Debug)]
pub(crate) enum Settled {
    /// The decision was heard: the commit, and the index in it.
    Heard(Arc<[Committed]>, usize),
    /// It is decided: the store has it.
    Decided,
    /// Not within the time, or the server stops.
    NotYet,
}

/// Tells what was committed. First it is noted, then the waiters are woken: who registers too late to be woken finds it noted.
pub(crate) fn tell(progress: &Progress, waiters: &Waiters, committed: &Arc<[Committed]>) {
    for decision in committed.iter() {
        progress.advance(decision.position.partition, decision.position.offset + 1);
    }
    waiters.tell(committed);
}

/// Waits until a record is decided, or until `end`. When there is no room to wait, it doesn't.
pub(crate) async fn settled(
    progress: &Progress,
    waiters: &Arc<Waiters>,
    position: Position,
    end: impl Future<Output = ()>,
) -> Settled {
    // First among the waiters, then the look: so that a decision between the two is not missed.
    let mut waiting = match waiters.register(position) {
        Ok(waiting) => waiting,
        Err(Full) if progress.is_decided(position) => return Settled::Decided,
        Err(Full) => return Settled::NotYet,
    };
    tokio::pin!(end);
    loop {
        if progress.is_decided(position) {
            return Settled::Decided;
        }
        tokio::select! {
            // What has been heard is told, however late it is.
            biased;
            woken = waiting.woken() => match woken {
                Some(Woken::Decided(committed, index)) => return Settled::Heard(committed, index),
                Some(Woken::Recheck) => {}
                None => return Settled::NotYet,
            },
            () = &mut end => return Settled::NotYet,
        }
    }
}
