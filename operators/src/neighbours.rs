//! Whoever decides the partitions that this process does not: a patient cancels there and books here, and the ledger knows
//! of the one before it is committed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orderly_domain::{Fence, Partition, Position, port};
use prometheus::{IntCounter, Registry};
use tokio::time::Instant;

/// Bookings that waited for an appointment in another partition.
const HELD_TOTAL: &str = "orderly_pipeline_held_total";
/// Those that waited in vain.
const GAVE_UP_TOTAL: &str = "orderly_pipeline_gave_up_total";

/// How often a booking looks whether what is in its way has been cancelled.
const PAUSE: Duration = Duration::from_millis(10);
/// How long it waits. The ledger gave the patient a new appointment, so the cancellation is mostly milliseconds away.
const PATIENCE: Duration = Duration::from_millis(500);
/// The same, while somebody is amid a commit there: the store is slow then, and not the ledger wrong.
const UNDER_WAY_PATIENCE: Duration = Duration::from_secs(5);
/// How many bookings are remembered that waited in vain.
const GAVE_UP_MAX: usize = 1_000;

/// What a process remembers of its neighbours, from one takeover to the next.
#[derive(Clone, Debug)]
pub struct Neighbours {
    memory: Arc<Mutex<Memory>>,
    held_total: IntCounter,
    gave_up_total: IntCounter,
}

#[derive(Debug, Default)]
struct Memory {
    /// The newest bookings that waited in vain, with what was in their way.
    gave_up: VecDeque<(Position, Position)>,
    doubted: HashMap<Partition, Option<Fence>>,
}

/// A booking that waits.
#[derive(Debug, Default)]
pub(crate) struct Wait(Option<(Position, Instant)>);

/// What became of a wait.
pub(crate) enum Waited {
    /// The store is worth another try.
    AMoment,
    /// It is of no use: the booking is to be refused.
    InVain,
}

impl Neighbours {
    /// Knows nothing of them yet. Metrics are registered on `registry`.
    ///
    /// # Errors
    /// When a metric's name is taken.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let held = "Bookings that waited for a patient's cancellation which another node was about to commit.";
        let gave_up = "Bookings that waited for one in vain: everything after the last commit was decided once more.";
        let (held_total, gave_up_total) =
            (IntCounter::new(HELD_TOTAL, held)?, IntCounter::new(GAVE_UP_TOTAL, gave_up)?);
        registry.register(Box::new(held_total.clone()))?;
        registry.register(Box::new(gave_up_total.clone()))?;
        Ok(Self { memory: Arc::default(), held_total, gave_up_total })
    }

    /// Partitions with cancellations in the ledger that nobody commits, each with the takeover under which they were decided,
    /// if that is known. They are told once.
    #[must_use]
    pub fn doubted(&self) -> HashMap<Partition, Option<Fence>> {
        std::mem::take(&mut self.memory().doubted)
    }

    /// Waits a moment for what is in the way of the booking `at`: the booking `by`, whose partition is decided by `decider`,
    /// unless a commit there is under way, and by this process if `is_ours`.
    ///
    /// # Errors
    /// `Lost` when the time is over. The ledger is wrong then, or the other node is gone: were the booking alone refused,
    /// the numbers after it would be wrong, too. So everything is decided once more, from a ledger that is restored. The
    /// second time, the ledger cannot be helped.
    pub(crate) async fn wait(
        &self,
        wait: &mut Wait,
        [at, by]: [Position; 2],
        decider: Option<Fence>,
        is_ours: bool,
    ) -> port::Result<Waited> {
        if self.memory().gave_up.contains(&(at, by)) {
            return Ok(Waited::InVain);
        }
        let since = match wait.0 {
            Some((waiting, since)) if waiting == at => since,
            _ => {
                self.held_total.inc();
                wait.0.insert((at, Instant::now())).1
            }
        };
        let patience = match decider {
            None => UNDER_WAY_PATIENCE,
            // Whatever it decided there is committed, since its commits follow one another.
            Some(_) if is_ours => Duration::ZERO,
            Some(_) => PATIENCE,
        };
        if since.elapsed() < patience {
            tokio::time::sleep(PAUSE).await;
            return Ok(Waited::AMoment);
        }
        {
            let mut memory = self.memory();
            if memory.gave_up.len() == GAVE_UP_MAX {
                memory.gave_up.pop_front();
            }
            memory.gave_up.push_back((at, by));
            memory.doubted.insert(by.partition, decider);
        }
        self.gave_up_total.inc();
        let text = format!("the ledger takes the booking of record {by} for cancelled, and nobody commits that");
        tracing::warn!(%at, %by, waited = ?since.elapsed(), "{text}: everything is decided once more");
        Err(port::Error::Lost(text))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
