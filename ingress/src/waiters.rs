//! Who waits for which decision. One task hears what was committed and wakes only those concerned.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use orderly_domain::Position;
use orderly_domain::port::store::Committed;
use prometheus::IntGauge;
use tokio::sync::mpsc;

use crate::sync::{AtomicU64, AtomicUsize, Mutex, fence};

const SHARDS: usize = 64;

/// What one waiter may have unread. A ticket has few turns in its life; one that reads none of this many is let go.
const UNREAD_MAX: usize = 8;

/// What a waiter hears.
#[derive(Clone, Debug)]
pub(crate) enum Woken {
    /// Its record was decided: the commit, and the index in it.
    Decided(Arc<[Committed]>, usize),
    /// Something may have changed: look into the store.
    Recheck,
}

/// Too many wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

type Shard = HashMap<Position, Vec<(u64, mpsc::Sender<Woken>)>>;

/// Everybody who waits, by position.
#[derive(Debug)]
pub(crate) struct Waiters {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    count: AtomicUsize,
    count_max: usize,
    next_key: AtomicU64,
    gauge: IntGauge,
}

impl Waiters {
    pub(crate) fn new(count_max: usize, gauge: IntGauge) -> Arc<Self> {
        Arc::new(Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            count: AtomicUsize::new(0),
            count_max,
            next_key: AtomicU64::new(0),
            gauge,
        })
    }

    /// Waits for what happens to a record. Register first, then look whether it has happened already.
    pub(crate) fn register(self: &Arc<Self>, position: Position) -> Result<Waiting, Full> {
        let admit = |count: usize| (count < self.count_max).then_some(count + 1);
        self.count.try_update(Ordering::Relaxed, Ordering::Relaxed, admit).map_err(|_| Full)?;
        // With the one in `tell`: either that one sees this waiter, or the look that follows here sees what it tells of.
        fence(Ordering::SeqCst);
        self.gauge.inc();
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel(UNREAD_MAX);
        self.shard(position).entry(position).or_default().push((key, sender));
        Ok(Waiting { waiters: Arc::clone(self), position, key, receiver })
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Wakes those who wait for one of these records, or hold a booking that one of them released.
    pub(crate) fn tell(&self, committed: &Arc<[Committed]>) {
        fence(Ordering::SeqCst);
        if self.count() == 0 {
            return;
        }
        for (index, decision) in committed.iter().enumerate() {
            self.wake(decision.position, || Woken::Decided(Arc::clone(committed), index));
            for released in &decision.released {
                self.wake(*released, || Woken::Recheck);
            }
        }
    }

    /// Wakes all: something was missed.
    pub(crate) fn tell_all(&self) {
        for shard in &self.shards {
            for waiting in lock(shard).values_mut() {
                waiting.retain(|(_, sender)| sender.try_send(Woken::Recheck).is_ok());
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| lock(shard).is_empty())
    }

    fn wake(&self, position: Position, woken: impl Fn() -> Woken) {
        if let Some(waiting) = self.shard(position).get_mut(&position) {
            // Whoever does not read is let go: the dropped sender ends their wait.
            waiting.retain(|(_, sender)| sender.try_send(woken()).is_ok());
        }
    }

    fn shard(&self, position: Position) -> MutexGuard<'_, Shard> {
        #[allow(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let index = self.hasher.hash_one(position) as usize % SHARDS;
        lock(&self.shards[index])
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // A shard is whole between any two statements, so a panic elsewhere does not spoil it.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place among the waiters; dropping it leaves.
#[derive(Debug)]
pub(crate) struct Waiting {
    waiters: Arc<Waiters>,
    position: Position,
    key: u64,
    receiver: mpsc::Receiver<Woken>,
}

impl Waiting {
    /// The next thing that happens; `None` when this waiter was let go because it did not read.
    pub(crate) async fn woken(&mut self) -> Option<Woken> {
        self.receiver.recv().await
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut shard = self.waiters.shard(self.position);
        if let Some(waiting) = shard.get_mut(&self.position) {
            waiting.retain(|(key, _)| *key != self.key);
            if waiting.is_empty() {
                shard.remove(&self.position);
            }
        }
        drop(shard);
        self.waiters.count.fetch_sub(1, Ordering::Relaxed);
        self.waiters.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use orderly_domain::Timestamp;
    use orderly_domain::command::Kind;
    use orderly_domain::decision::Outcome;

    use super::*;

    fn waiters(count_max: usize) -> Arc<Waiters> {
        Waiters::new(count_max, IntGauge::new("w", "w").unwrap())
    }

    fn at(offset: u64) -> Position {
        Position { partition: 3, offset }
    }

    fn commit(offset: u64, released: Vec<Position>) -> Arc<[Committed]> {
        Arc::from([Committed {
            position: at(offset),
            logged_at: Timestamp::default(),
            decided_at: Timestamp::default(),
            kind: Kind::Book,
            ticket: None,
            session_id: None,
            outcome: Outcome::Booked { number: 1 },
            first: None,
            corrected: false,
            session: None,
            released,
        }])
    }

    #[tokio::test]
    async fn wakes_only_those_concerned() {
        let waiters = waiters(10);
        let (mut one, mut two) = (waiters.register(at(1)).unwrap(), waiters.register(at(2)).unwrap());
        waiters.tell(&commit(1, vec![]));
        assert!(matches!(one.woken().await, Some(Woken::Decided(_, 0))));
        assert!(two.receiver.try_recv().is_err());
        waiters.tell(&commit(9, vec![at(2)]));
        assert!(matches!(two.woken().await, Some(Woken::Recheck)));
        waiters.tell_all();
        assert!(matches!((one.woken().await, two.woken().await), (Some(Woken::Recheck), Some(Woken::Recheck))));
    }

    #[tokio::test]
    async fn is_bounded_and_forgets_those_who_leave() {
        let waiters = waiters(1);
        let one = waiters.register(at(1)).unwrap();
        assert_eq!(waiters.register(at(1)).map(|_| ()), Err(Full));
        drop(one);
        assert_eq!((waiters.count(), waiters.gauge.get()), (0, 0));
        assert!(waiters.is_empty());
        assert!(waiters.register(at(1)).is_ok());
    }

    #[tokio::test]
    async fn lets_go_of_one_who_does_not_read() {
        let waiters = waiters(1);
        let mut slow = waiters.register(at(1)).unwrap();
        for _ in 0..=UNREAD_MAX {
            waiters.tell(&commit(1, vec![]));
        }
        for _ in 0..UNREAD_MAX {
            assert!(slow.woken().await.is_some());
        }
        assert!(slow.woken().await.is_none());
    }
}
