//! The sessions as this node knows them: read at start, kept up by what is committed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::civil::Date;
use orderly_domain::port::store::{Committed, SessionState};
use orderly_domain::{SessionId, Timestamp, inventory};
use tokio::sync::broadcast;

/// How many rounds of changes a session stream may lag behind before it gets everything anew.
const ROUNDS_KEPT: usize = 16;

type Sessions = HashMap<SessionId, Arc<SessionState>>;

/// Every session whose day is not past.
#[derive(Debug)]
pub(crate) struct Catalogue {
    sessions: RwLock<Sessions>,
    changed: Mutex<HashSet<SessionId>>,
    rounds: broadcast::Sender<Arc<[Arc<SessionState>]>>,
}

/// The first day that is not past in every time zone.
pub(crate) fn first_day(now: Timestamp) -> Date {
    let today = now.to_jiff().to_zoned(jiff::tz::TimeZone::UTC).date();
    today.checked_sub(jiff::Span::new().days(inventory::PAST_AFTER_DAYS)).unwrap_or(Date::MIN)
}

impl Catalogue {
    pub(crate) fn new() -> Self {
        Self { sessions: RwLock::default(), changed: Mutex::default(), rounds: broadcast::channel(ROUNDS_KEPT).0 }
    }

    pub(crate) fn get(&self, id: &SessionId) -> Option<Arc<SessionState>> {
        self.read().get(id).cloned()
    }

    /// The sessions that a filter lets through, ascending by day, start and id.
    pub(crate) fn list(&self, filter: impl Fn(&SessionState) -> bool) -> Vec<Arc<SessionState>> {
        let mut found: Vec<_> = self.read().values().filter(|state| filter(state)).cloned().collect();
        found.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
        found
    }

    pub(crate) fn len(&self) -> usize {
        self.read().len()
    }

    /// Takes over what the store knows, and forgets what it does not. What was heard meanwhile and is newer stays.
    pub(crate) fn load(&self, states: Vec<SessionState>) {
        let mut sessions = self.write();
        let known: HashSet<_> = states.iter().map(|state| state.session.session_id.clone()).collect();
        sessions.retain(|id, _| known.contains(id));
        let mut changed = self.lock_changed();
        for state in states {
            insert(&mut sessions, &mut changed, &state);
        }
    }

    /// Takes over what a commit says of its sessions, unless something newer is known. Of a session that comes more than
    /// once only the last state counts.
    pub(crate) fn apply(&self, committed: &[Committed]) {
        let mut last = HashMap::new();
        for state in committed.iter().filter_map(|decision| decision.session.as_ref()) {
            last.insert(&state.session.session_id, state);
        }
        if last.is_empty() {
            return;
        }
        let (mut sessions, mut changed) = (self.write(), self.lock_changed());
        for state in last.into_values() {
            insert(&mut sessions, &mut changed, state);
        }
    }

    /// Forgets sessions before a day.
    pub(crate) fn forget_before(&self, day: Date) {
        self.write().retain(|_, state| state.session.day >= day);
    }

    /// Ends a round: tells the streams what changed in it, by commit or because the clock passed a release or an end.
    pub(crate) fn tell(&self, from: Timestamp, to: Timestamp) {
        let changed = std::mem::take(&mut *self.lock_changed());
        if self.rounds.receiver_count() == 0 {
            return;
        }
        let passed = |moment: Timestamp| from < moment && moment <= to;
        let sessions = self.read();
        let mut round: HashMap<&SessionId, &Arc<SessionState>> = sessions
            .iter()
            .filter(|(_, state)| passed(state.session.release_at) || passed(state.session.ends_at))
            .collect();
        round.extend(changed.iter().filter_map(|id| sessions.get_key_value(id)));
        if !round.is_empty() {
            let mut round: Vec<_> = round.into_values().cloned().collect();
            round.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
            // Nobody listening is not an error.
            let _ = self.rounds.send(round.into());
        }
    }

    /// Rounds of changes from now on.
    pub(crate) fn rounds(&self) -> broadcast::Receiver<Arc<[Arc<SessionState>]>> {
        self.rounds.subscribe()
    }

    fn read(&self) -> RwLockReadGuard<'_, Sessions> {
        self.sessions.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Sessions> {
        self.sessions.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_changed(&self) -> MutexGuard<'_, HashSet<SessionId>> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What lists are ordered by.
pub(crate) fn order(state: &SessionState) -> (Date, jiff::civil::Time, &SessionId) {
    (state.session.day, state.session.start, &state.session.session_id)
}

fn insert(sessions: &mut Sessions, changed: &mut HashSet<SessionId>, state: &SessionState) {
    let id = &state.session.session_id;
    // A session's records lie in one partition, so offsets tell which of two states is newer.
    if sessions.get(id).is_some_and(|known| known.changed_at.offset > state.changed_at.offset) {
        return;
    }
    sessions.insert(id.clone(), Arc::new(state.clone()));
    changed.insert(id.clone());
}
