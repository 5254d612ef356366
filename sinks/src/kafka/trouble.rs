//! What stands in the way of a producer, as far as it was told, and for how long that counts.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long trouble counts after it was told of last. A producer that nobody gives records would never learn that it has passed.
const COUNTS: Duration = Duration::from_secs(30);

/// The newest trouble. It passes with the next record that is delivered, and by itself.
#[derive(Debug, Default)]
pub(super) struct Trouble(Mutex<Option<Told>>);

#[derive(Clone, Debug)]
struct Told {
    what: What,
    cause: String,
    at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// No broker can be reached.
    Unreachable,
    /// The client could not go on and was made again.
    StartedOver,
}

impl Trouble {
    /// Notes that no broker can be reached; tells whether that is news.
    pub(super) fn unreachable(&self, cause: String, now: Instant) -> bool {
        let mut told = self.told();
        let known = told.as_ref().is_some_and(|told| told.counts(now));
        // That it was made again says more, and stays until a record is delivered.
        if !told.as_ref().is_some_and(|told| told.what == What::StartedOver && told.counts(now)) {
            *told = Some(Told { what: What::Unreachable, cause, at: now });
        }
        !known
    }

    /// Notes that the client could not go on and was made again.
    pub(super) fn started_over(&self, cause: String, now: Instant) {
        *self.told() = Some(Told { what: What::StartedOver, cause, at: now });
    }

    /// A record was delivered.
    pub(super) fn delivered(&self) {
        *self.told() = None;
    }

    /// The brokers have answered another client of this process.
    pub(super) fn reached(&self) {
        self.told().take_if(|told| told.what == What::Unreachable);
    }

    /// Why records may not get through, as far as is known.
    pub(super) fn cause(&self, now: Instant) -> Option<String> {
        self.told().as_ref().filter(|told| told.counts(now)).map(|told| told.cause.clone())
    }

    /// A thread that panicked while it held the lock left a value that is whole: it is only ever replaced.
    fn told(&self) -> MutexGuard<'_, Option<Told>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    fn counts(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < COUNTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_with_a_record_or_by_itself() {
        let (trouble, now) = (Trouble::default(), Instant::now());
        trouble.started_over("the sequence is broken".into(), now);
        let shortly_before = now + COUNTS.checked_sub(Duration::from_millis(1)).unwrap();
        assert_eq!(trouble.cause(shortly_before).as_deref(), Some("the sequence is broken"));
        assert_eq!(trouble.cause(now + COUNTS), None, "a producer without records is not in trouble for ever");
        trouble.started_over("again".into(), now);
        trouble.delivered();
        assert_eq!(trouble.cause(now), None);
    }

    #[test]
    fn brokers_that_answer_are_not_away_but_say_nothing_of_a_broken_producer() {
        let (trouble, now) = (Trouble::default(), Instant::now());
        assert!(trouble.unreachable("all are down".into(), now), "that is news");
        assert!(!trouble.unreachable("all are down".into(), now + COUNTS / 2), "and then it is not");
        assert_eq!(trouble.cause(now + COUNTS).as_deref(), Some("all are down"), "as it was told again");
        trouble.reached();
        assert_eq!(trouble.cause(now), None);
        trouble.started_over("the sequence is broken".into(), now);
        trouble.unreachable("all are down".into(), now);
        trouble.reached();
        assert_eq!(trouble.cause(now).as_deref(), Some("the sequence is broken"));
    }
}
