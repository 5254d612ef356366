//! Invariant 10: analytics agree with the store.

use orderly_domain::port::{self, Analytics, Store};

use crate::report::{Invariant, Report};

/// Compares the distinct decisions in analytics with those in the store. Analytics trail the store while bookings come in,
/// so this says something only of an idle system; without `idle`, they are only ever too many.
///
/// # Errors
/// When either cannot be read.
pub async fn check(
    analytics: &dyn Analytics,
    store: &dyn Store,
    idle: bool,
    report: &mut Report,
) -> Result<(), port::Error> {
    // Analytics first: rows that arrive in between can then only make the store's number larger.
    let arrived = analytics.count().await?;
    let decided: u64 = store.progress().await?.iter().map(|progress| progress.next_offset).sum();
    report.looked_at(Invariant::AnalyticsAgree, arrived);
    if arrived > decided || (idle && arrived < decided) {
        let row = format!("analytics hold {arrived} decisions, the store {decided}");
        report.violated(Invariant::AnalyticsAgree, row);
    } else if arrived < decided {
        report.skip(Invariant::AnalyticsAgree, &format!("{} decisions are on their way", decided - arrived));
    }
    Ok(())
}
