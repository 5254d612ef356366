//! Writes the head of the chain down outside the store, whenever it moved.

use std::sync::Arc;
use std::time::Duration;

use orderly_domain::audit::{Anchor, Place};
use orderly_domain::port::Audit;
use orderly_domain::{Clock, port};
use orderly_sinks::audit::anchor::Anchors;
use tokio::sync::watch;

use super::anchor_file;
use crate::config::Config;

/// The task that anchors the head, every `audit.anchor_interval_s` and once more after `stopped`.
///
/// # Errors
/// When the anchor file cannot be written.
pub(crate) fn anchor(
    config: &Config,
    audit: Arc<dyn Audit>,
    clock: Arc<dyn Clock>,
    node: String,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let mut anchoring =
        Anchoring { anchors: Some(Anchors::open(&anchor_file(config))?), audit, clock, node, last: None };
    let interval = Duration::from_secs(config.audit.anchor_interval_s);
    Ok(async move {
        let mut interval = tokio::time::interval(interval);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let stops = tokio::select! {
                _ = interval.tick() => false,
                // An error means that the sender is gone, which is a stop too.
                _ = stopped.wait_for(|stopped| *stopped) => true,
            };
            if let Err(error) = anchoring.step().await {
                tracing::warn!(%error, "the head of the audit trail could not be anchored; it is tried again");
            }
            if stops {
                return;
            }
        }
    })
}

struct Anchoring {
    /// Away only while they are written.
    anchors: Option<Anchors>,
    audit: Arc<dyn Audit>,
    clock: Arc<dyn Clock>,
    node: String,
    last: Option<Place>,
}

impl Anchoring {
    /// Writes the head down, if it is another one than last time.
    async fn step(&mut self) -> port::Result<()> {
        let head = self.audit.extent().await?.head;
        if head.seq == 0 || self.last == Some(head) {
            return Ok(());
        }
        let anchor = Anchor { place: head, anchored_at: self.clock.now(), node: self.node.clone() };
        tracing::info!(seq = head.seq, hash = %head.hash, "the head of the audit trail");
        let Some(mut anchors) = self.anchors.take() else { return Ok(()) };
        let written = tokio::task::spawn_blocking(move || {
            let written = anchors.append(&anchor);
            (anchors, written)
        });
        let (anchors, written) =
            written.await.map_err(|error| port::Error::MayHaveHappened(format!("the anchor: {error}")))?;
        self.anchors = Some(anchors);
        written?;
        self.last = Some(head);
        Ok(())
    }
}
