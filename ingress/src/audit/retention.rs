//! Forgets old entries.

use std::time::Duration;

use crate::state::Shared;

/// How often it is looked for old entries.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// The route of the entry that tells how many were forgotten.
const FORGOTTEN: &str = "entries that are forgotten";

/// Forgets what is older than is to be kept, now and every hour, and writes down that it did.
pub(crate) async fn forget(state: Shared) {
    let trail = &state.trail;
    let Some(kept) = trail.retention() else { return };
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let before = trail.now().minus(kept);
        match trail.port().prune(before).await {
            Ok(0) => {}
            Ok(forgotten) => {
                tracing::info!(forgotten, %before, "old entries of the audit trail are forgotten");
                trail.record_own(FORGOTTEN, format!("before={before}"), forgotten).await;
            }
            Err(error) => tracing::warn!(%error, "old entries of the audit trail stay for now"),
        }
    }
}
