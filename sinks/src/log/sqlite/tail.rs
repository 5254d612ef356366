//! The newest records, handed to a reader that is up to date, so that it need not read back what was just written.

use std::sync::{Mutex, MutexGuard, PoisonError};

use orderly_domain::port::log::Record;

/// How many records wait for the reader at most. One that is further behind reads the file.
const RECORDS_MAX: usize = 8_192;

/// How many bytes of payload wait at most.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// What was committed since somebody began to follow. One reader follows at a time: the last that began.
#[derive(Debug, Default)]
pub(super) struct Tail {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Who follows; 0 before anybody did.
    follower: u64,
    /// `None` when nobody follows, or whoever did was left too far behind.
    records: Option<Vec<Record>>,
    bytes: usize,
}

/// Names a reader that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Follower(u64);

impl Tail {
    /// From here on everything that is committed is kept for whoever calls.
    pub(super) fn follow(&self) -> Follower {
        let mut state = self.lock();
        state.follower += 1;
        state.records = Some(Vec::new());
        state.bytes = 0;
        Follower(state.follower)
    }

    /// Whether records are to be pushed.
    pub(super) fn is_followed(&self) -> bool {
        self.lock().records.is_some()
    }

    /// Keeps what was committed, before anybody is told of it.
    pub(super) fn push(&self, records: Vec<Record>) {
        let mut state = self.lock();
        let State { records: kept, bytes, .. } = &mut *state;
        let Some(waiting) = kept else { return };
        *bytes += records.iter().map(|record| record.payload.len()).sum::<usize>();
        if waiting.len() + records.len() > RECORDS_MAX || *bytes > BYTES_MAX {
            *kept = None;
        } else if waiting.is_empty() {
            *waiting = records;
        } else {
            waiting.extend(records);
        }
    }

    /// What was committed since the last call, in total order; `None` when this follower was left behind, or another took
    /// its place.
    pub(super) fn take(&self, follower: Follower) -> Option<Vec<Record>> {
        let mut state = self.lock();
        if state.follower != follower.0 {
            return None;
        }
        state.bytes = 0;
        state.records.as_mut().map(std::mem::take)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
