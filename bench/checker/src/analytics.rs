//! Invariant 10: analytics agree with the store.

use std::collections::BTreeMap;

use orderly_domain::port::analytics::Held;
use orderly_domain::port::{self, Analytics, IntentLog, Store};

use crate::Options;
use crate::report::{Invariant, Report};

/// Compares, partition by partition, the distinct decisions in analytics with those in the store. Analytics trail the store
/// while bookings come in, so this says something only of an idle system; without `options.idle`, they are only ever too
/// many, but for those of records that an embedded store lost with the power and has not decided again yet. They have every
/// decision from their first one on; that is a partition's first, unless something forgets old ones: analytics by themselves
/// (`options.analytics_forget`), or the store before they began.
///
/// # Errors
/// When either cannot be read.
pub async fn check(
    analytics: &dyn Analytics,
    log: &dyn IntentLog,
    store: &dyn Store,
    options: Options,
    report: &mut Report,
) -> Result<(), port::Error> {
    // Analytics first: rows that arrive in between can then only make the store's number larger.
    let held = analytics.held().await?;
    let may_begin_late = options.analytics_forget || store.kept_since().await?.is_some();
    let mut decided: BTreeMap<_, _> =
        store.progress().await?.iter().map(|progress| (progress.partition, progress.next_offset)).collect();
    let logged: BTreeMap<_, _> = log.extents().await?.iter().map(|extent| (extent.partition, extent.end)).collect();
    let mut on_their_way = 0;
    let mut lost = 0;
    let mut violated = |row: String| report.violated(Invariant::AnalyticsAgree, row);
    let mut arrived = 0;
    for Held { partition, first, next, rows } in held {
        arrived += rows;
        let decided = decided.remove(&partition).unwrap_or(0);
        let is_in_log = logged.get(&partition).is_some_and(|end| next <= *end);
        if next > decided && options.embedded && !options.idle && is_in_log {
            lost += next - decided;
        } else if next > decided {
            violated(format!(
                "partition {partition}: analytics hold decisions up to {next}, the store up to {decided}"
            ));
        }
        if rows != next - first {
            violated(format!("partition {partition}: analytics hold {rows} decisions of {first}..{next}"));
        }
        if first > 0 && !may_begin_late {
            violated(format!("partition {partition}: analytics begin at {first}, and nothing was forgotten"));
        }
        on_their_way += decided.saturating_sub(next);
    }
    if !options.analytics_forget {
        on_their_way += decided.values().sum::<u64>();
    }
    if options.idle && on_their_way > 0 {
        violated(format!("{on_their_way} decisions of the store are not in analytics"));
    }
    report.looked_at(Invariant::AnalyticsAgree, arrived);
    if lost > 0 {
        report.skip(Invariant::AnalyticsAgree, &format!("{lost} decisions are to be made once more"));
    } else if !options.idle && on_their_way > 0 {
        report.skip(Invariant::AnalyticsAgree, &format!("{on_their_way} decisions are on their way"));
    }
    Ok(())
}
