//! The audit trail's adapters, and the file in which its head is kept outside of them.

use std::sync::atomic::{AtomicU64, Ordering};

use orderly_domain::audit::Place;
use orderly_domain::port;

pub mod anchor;
pub mod postgres;
pub mod sqlite;

/// What a prune of entries that have to be kept is told.
fn too_young() -> port::Error {
    let text = "entries of the audit trail are kept for at least 180 days; forget what is older only";
    port::Error::DidNotHappen(text.into())
}

/// Whether the last append may have happened. The next one then looks for its entries before it appends them again.
#[derive(Debug, Default)]
struct Doubt {
    /// The place behind the last entry that this process knows to be there.
    behind: AtomicU64,
    doubtful: std::sync::atomic::AtomicBool,
}

impl Doubt {
    fn new(head: Place) -> Self {
        Self { behind: AtomicU64::new(head.seq + 1), ..Self::default() }
    }

    /// Where to look for the entries of an append that may have happened.
    fn look_from(&self) -> Option<u64> {
        self.doubtful.load(Ordering::SeqCst).then(|| self.behind.load(Ordering::SeqCst))
    }

    /// Notes what came of an append.
    fn note(&self, appended: &port::Result<Vec<Place>>) {
        match appended {
            Ok(places) => {
                self.doubtful.store(false, Ordering::SeqCst);
                if let Some(last) = places.last() {
                    self.behind.store(last.seq + 1, Ordering::SeqCst);
                }
            }
            Err(port::Error::MayHaveHappened(_)) => self.doubtful.store(true, Ordering::SeqCst),
            Err(_) => {}
        }
    }
}
