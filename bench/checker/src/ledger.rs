//! Invariant 9, as far as a ledger outside of the process can be asked: it and the store agree.

use std::collections::HashMap;

use jiff::civil::Date;
use orderly_domain::port::{self, Ledger, Store};

use crate::report::{Invariant, Report};

/// Compares the ledger's remaining numbers with the store's, session by session. Only true of an idle system. A session
/// that the ledger does not know is no violation: what its owner restored and does not find there is restored again.
///
/// # Errors
/// When either cannot be read.
pub async fn check(ledger: &dyn Ledger, store: &dyn Store, report: &mut Report) -> Result<(), port::Error> {
    let known: HashMap<_, _> = ledger.remaining().await?.into_iter().collect();
    // Of earlier days only the store's count is left, and the ledger was restored without them.
    let since = store.kept_since().await?.unwrap_or(Date::MIN);
    for state in store.sessions(since).await? {
        let id = &state.session.session_id;
        let Some(remaining) = known.get(id) else { continue };
        report.looked_at(Invariant::Conserved, 1);
        if *remaining != state.remaining() {
            let row = format!("{id}: the ledger has {remaining} numbers left, the store {}", state.remaining());
            report.violated(Invariant::Conserved, row);
        }
    }
    Ok(())
}
