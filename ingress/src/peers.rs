//! This node's share of what the policy gives all ingress nodes together.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use crate::state::Shared;

/// How often this node says how much is asked of it. For as long, a node that joins lets in what the others still count as
/// theirs.
const INTERVAL: Duration = Duration::from_millis(200);

/// How much the newest measurement weighs in what is asked of this node.
const WEIGHT: f64 = 0.3;

/// How long a stop waits for the others to be told.
const GOODBYE_MAX: Duration = Duration::from_millis(500);

/// Keeps the share, until this is dropped.
pub(crate) async fn share(state: Shared) {
    let Some(peers) = &state.ports.peers else { return };
    let throttle = &state.policy.throttle;
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut asked, mut since, mut demand, mut alone) = (throttle.asked(), Instant::now(), 0.0, false);
    loop {
        ticks.tick().await;
        let (now, asked_now) = (Instant::now(), throttle.asked());
        let elapsed_s = now.duration_since(since).as_secs_f64();
        if elapsed_s > 0.0 {
            #[expect(clippy::cast_precision_loss, reason = "requests between two ticks are few")]
            let rate = asked_now.wrapping_sub(asked) as f64 / elapsed_s;
            demand += WEIGHT * (rate - demand);
            (asked, since) = (asked_now, now);
        }
        match peers.share(demand).await {
            Ok(told) => {
                throttle.set_share(told.share);
                state.metrics.nodes.set(told.nodes.into());
                alone = false;
            }
            Err(error) => {
                // Once, and not every time.
                if !std::mem::replace(&mut alone, true) {
                    tracing::warn!(%error, "the other ingress nodes cannot be reached; the last share of the limits holds");
                }
            }
        }
    }
}

/// Gives the share to the others.
pub(crate) async fn leave(state: &Shared) {
    if let Some(peers) = &state.ports.peers
        && !matches!(tokio::time::timeout(GOODBYE_MAX, peers.leave()).await, Ok(Ok(())))
    {
        tracing::info!("the other ingress nodes were not told that this one stops; they notice within a second");
    }
}
