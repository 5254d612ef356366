//! What this process knows of the sessions in Redis: under which takeover it restored or opened them, and how often they
//! have changed since. It tells a session that is not there from one that was lost.

use std::collections::HashMap;

use orderly_domain::inventory::is_past;
use orderly_domain::{DoctorId, Fence, Partition, SessionId, Timestamp};
use rustc_hash::FxHashMap;

use super::keys::Day;

/// A session under a doctor: the same name under another one is another session, in another partition.
pub(super) type Key = (SessionId, DoctorId);

/// What was seen last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) fence: Fence,
    pub(super) version: u64,
}

/// As many as there are sessions whose day is not past.
#[derive(Debug, Default)]
pub(super) struct Known(FxHashMap<Day, KnownDay>);

#[derive(Debug, Default)]
struct KnownDay {
    sessions: FxHashMap<Key, Seen>,
    /// The last call about the day that was answered.
    last_call: u64,
}

impl Known {
    pub(super) fn get(&self, day: &Day, key: &Key) -> Option<Seen> {
        self.0.get(day)?.sessions.get(key).copied()
    }

    /// The number of the last call that was answered; 0 when no session of the day is known.
    pub(super) fn last_call(&self, day: &Day) -> u64 {
        self.0.get(day).map_or(0, |day| day.last_call)
    }

    /// It is there, at that version or a later one, says the answer to that call.
    pub(super) fn see(&mut self, day: &Day, key: &Key, seen: Seen, call: u64) {
        if !self.0.contains_key(day) {
            self.0.insert(day.clone(), KnownDay::default());
        }
        let Some(day) = self.0.get_mut(day) else { return };
        day.last_call = call.max(day.last_call);
        if let Some(known) = day.sessions.get_mut(key) {
            *known = seen;
        } else {
            day.sessions.insert(key.clone(), seen);
        }
    }

    /// It is not there, and should not be.
    pub(super) fn forget(&mut self, day: &Day, key: &Key) {
        if let Some(known) = self.0.get_mut(day) {
            known.sessions.remove(key);
            if known.sessions.is_empty() {
                self.0.remove(day);
            }
        }
    }

    /// Only what was seen in the partitions that are held, and under these takeovers of them, says anything: what was not
    /// committed is restored by nobody. `partition_of` tells the partition of a doctor.
    pub(super) fn hold(&mut self, held: &HashMap<Partition, Fence>, partition_of: impl Fn(&DoctorId) -> Partition) {
        self.0.retain(|_, day| {
            day.sessions.retain(|(_, doctor), seen| held.get(&partition_of(doctor)) == Some(&seen.fence));
            !day.sessions.is_empty()
        });
    }

    pub(super) fn prune(&mut self, logged_at: Timestamp) {
        self.0.retain(|day, _| !is_past(day.date, logged_at));
    }

    pub(super) fn len(&self) -> usize {
        self.0.values().map(|day| day.sessions.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session that was opened and never committed is restored by no takeover. What it left would otherwise make every
    /// later call about its day a lost one.
    #[test]
    fn a_later_takeover_knows_nothing_of_what_was_not_restored() {
        let day = Day { date: jiff::civil::date(2026, 11, 23), department: "cardiology".parse().expect("valid") };
        let key =
            |session: &str, doctor: &str| -> Key { (session.parse().expect("valid"), doctor.parse().expect("valid")) };
        let partition_of = |doctor: &DoctorId| u16::from(doctor.as_str() == "li");
        let (ours, others) = (key("a", "li"), key("b", "wang"));
        let mut known = Known::default();
        known.see(&day, &ours, Seen { fence: 1, version: 3 }, 7);
        known.hold(&HashMap::from([(0, 5), (1, 1)]), partition_of);
        assert_eq!(known.last_call(&day), 7, "the same takeover");
        known.hold(&HashMap::from([(0, 5), (1, 2)]), partition_of);
        assert_eq!((known.get(&day, &ours), known.last_call(&day)), (None, 0));
        known.see(&day, &ours, Seen { fence: 2, version: 1 }, 8);
        known.see(&day, &others, Seen { fence: 5, version: 1 }, 9);
        known.hold(&HashMap::from([(0, 5), (1, 3)]), partition_of);
        assert_eq!((known.get(&day, &ours), known.last_call(&day)), (None, 9), "another partition's stay");
        assert!(known.get(&day, &others).is_some());
        known.hold(&HashMap::from([(1, 3)]), partition_of);
        assert_eq!((known.len(), known.last_call(&day)), (0, 0), "it is another node's now");
    }
}
