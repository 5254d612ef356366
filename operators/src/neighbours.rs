//! Bookings for which the store knows of an appointment in another partition, and the ledger does not.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orderly_domain::{Partition, Position, port};
use prometheus::{IntCounter, Registry};

const HELD_TOTAL: &str = "orderly_pipeline_held_total";
/// How many such bookings are remembered.
const SEEN_MAX: usize = 1_000;

/// What a process remembers of its neighbours' partitions, from one takeover to the next.
#[derive(Clone, Debug)]
pub struct Neighbours {
    memory: Arc<Mutex<Memory>>,
    held_total: IntCounter,
}

#[derive(Debug, Default)]
struct Memory {
    /// The newest bookings that were sent back, with what was in their way.
    seen: VecDeque<(Position, Position)>,
    doubted: HashSet<Partition>,
}

impl Neighbours {
    /// Knows nothing of them yet. Its metric is registered on `registry`.
    ///
    /// # Errors
    /// When the metric's name is taken.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let held =
            "Bookings that met an appointment of which the ledger knew nothing: everything was decided once more.";
        let held_total = IntCounter::new(HELD_TOTAL, held)?;
        registry.register(Box::new(held_total.clone()))?;
        Ok(Self { memory: Arc::default(), held_total })
    }

    /// Partitions of whose appointments the ledger does not know all.
    #[must_use]
    pub fn doubted(&self) -> HashSet<Partition> {
        self.memory().doubted.clone()
    }

    /// The ledger was told what these partitions have.
    pub fn believe(&self, partitions: &[Partition]) {
        self.memory().doubted.retain(|doubted| !partitions.contains(doubted));
    }

    /// The booking `by` is in the way of the booking `at`. Comes back when that is to be refused.
    ///
    /// # Errors
    /// `Lost` the first time: were the booking alone refused, the numbers after it would be wrong, too. So everything is
    /// decided once more, from a ledger that is restored. The second time, the ledger cannot be helped.
    pub(crate) fn held(&self, at: Position, by: Position) -> port::Result<()> {
        let mut memory = self.memory();
        if memory.seen.contains(&(at, by)) {
            return Ok(());
        }
        if memory.seen.len() == SEEN_MAX {
            memory.seen.pop_front();
        }
        memory.seen.push_back((at, by));
        memory.doubted.insert(by.partition);
        self.held_total.inc();
        let text = format!("the ledger gave the patient of record {at} a number, who still holds that of record {by}");
        tracing::warn!("{text}: everything is decided once more");
        Err(port::Error::Lost(text))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
