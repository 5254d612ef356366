//! Refused calls cost their sender nothing, so the trail lists so many of them a minute, and tells the others by their number.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use orderly_domain::Timestamp;

/// The window in which they are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// How many refused calls are still listed, and how many were not.
#[derive(Debug)]
pub(crate) struct Refusals {
    per_window: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    since: Timestamp,
    listed: u32,
    unlisted: u64,
}

impl Refusals {
    pub(crate) fn new(per_window: u32) -> Self {
        Self { per_window, state: Mutex::default() }
    }

    /// Whether one more is listed.
    pub(crate) fn lists(&self, now: Timestamp) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back begins a new window, too.
        if now < state.since || now.since(state.since) >= WINDOW {
            state.since = now;
            state.listed = 0;
        }
        let lists = state.listed < self.per_window;
        if lists {
            state.listed += 1;
        }
        lists
    }

    /// Counts one that is not listed.
    pub(crate) fn count(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).unlisted += 1;
    }

    /// Takes the number of those that were not listed.
    pub(crate) fn take(&self) -> u64 {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).unlisted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_minute_are_listed() {
        let refusals = Refusals::new(2);
        let at = Timestamp::from_millis;
        assert_eq!([0, 1, 2, 59_999].map(|now| refusals.lists(at(now))), [true, true, false, false]);
        assert_eq!([60_000, 60_001, 60_002].map(|now| refusals.lists(at(now))), [true, true, false]);
        assert!(refusals.lists(at(3_000)), "a clock that was set back stops nothing");
        refusals.count();
        refusals.count();
        assert_eq!((refusals.take(), refusals.take()), (2, 0));
    }
}
