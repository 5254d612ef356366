//! Invariant 9, as far as a ledger outside of the process can be asked: it and the store agree.

use std::collections::HashMap;

use jiff::civil::Date;
use orderly_domain::inventory::is_past;
use orderly_domain::port::{self, IntentLog, Ledger, Store};
use orderly_domain::{Offset, Position, SessionId, Timestamp};

use crate::report::{Invariant, Report};

/// Compares the ledger's remaining numbers with the store's, session by session. Only true of an idle system. A session
/// that the ledger does not know is no violation: what its owner restored and does not find there is restored again. Nor is
/// what it still knows of days that are past at `now`: nobody asks it for them any more.
///
/// # Errors
/// When either cannot be read.
pub async fn check(
    ledger: &dyn Ledger,
    store: &dyn Store,
    now: Timestamp,
    report: &mut Report,
) -> Result<(), port::Error> {
    let known: HashMap<_, _> = ledger.remaining().await?.into_iter().collect();
    // Of earlier days only the store's count is left, and the ledger was restored without them.
    let since = store.kept_since().await?.unwrap_or(Date::MIN);
    for state in store.sessions(since).await? {
        let id = &state.session.session_id;
        let Some(remaining) = known.get(id).filter(|_| !is_past(state.session.day, now)) else { continue };
        report.looked_at(Invariant::Conserved, 1);
        if *remaining != state.remaining() {
            let row = format!("{id}: the ledger has {remaining} numbers left, the store {}", state.remaining());
            report.violated(Invariant::Conserved, row);
        }
    }
    Ok(())
}

/// Compares a ledger that is being changed with a store that is, too.
///
/// A session is judged when, from one look to the next, neither has changed it though everything was decided that its
/// partition's log held at the first.
#[derive(Debug, Default)]
pub struct LedgerWatch {
    seen: HashMap<SessionId, Seen>,
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    remaining: u32,
    changed_at: Position,
    end: Offset,
}

impl LedgerWatch {
    /// Looks again, some time after the last look. Of days that are past at `now` the ledger may know what it likes.
    ///
    /// # Errors
    /// When log, ledger or store cannot be read. The next look compares with the one before.
    pub async fn look(
        &mut self,
        log: &dyn IntentLog,
        ledger: &dyn Ledger,
        store: &dyn Store,
        now: Timestamp,
        report: &mut Report,
    ) -> Result<(), port::Error> {
        let remaining = ledger.remaining().await?;
        // Whatever the ledger has decided is in the log by now.
        let ends: HashMap<_, _> = log.extents().await?.iter().map(|extent| (extent.partition, extent.end)).collect();
        let decided: HashMap<_, _> =
            store.progress().await?.iter().map(|progress| (progress.partition, progress.next_offset)).collect();
        let since = store.kept_since().await?.unwrap_or(Date::MIN);
        let states: HashMap<_, _> =
            store.sessions(since).await?.into_iter().map(|state| (state.session.session_id.clone(), state)).collect();
        let mut seen = HashMap::with_capacity(remaining.len());
        for (session_id, remaining) in remaining {
            let Some(state) = states.get(&session_id).filter(|state| !is_past(state.session.day, now)) else {
                continue;
            };
            let Position { partition, .. } = state.changed_at;
            let end = ends.get(&partition).copied().unwrap_or(Offset::MAX);
            let seen_now = Seen { remaining, changed_at: state.changed_at, end };
            let before = self.seen.get(&session_id);
            let is_settled = |before: &Seen| {
                before.remaining == seen_now.remaining
                    && before.changed_at == seen_now.changed_at
                    && decided.get(&partition).is_some_and(|decided| *decided >= before.end)
            };
            if before.is_some_and(is_settled) {
                report.looked_at(Invariant::Conserved, 1);
                if remaining != state.remaining() {
                    let row = format!(
                        "{session_id}: the ledger has {remaining} numbers left, the store {}",
                        state.remaining()
                    );
                    report.violated(Invariant::Conserved, row);
                    report.suspects.insert(session_id.clone());
                }
            }
            seen.insert(session_id, seen_now);
        }
        self.seen = seen;
        Ok(())
    }
}
