//! Has a server freeze sessions in which something is wrong: they go onto the policy's list, as ops would put them there.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use orderly_checker::Report;
use orderly_domain::SessionId;

use crate::client::{Client, policy};

/// How long to leave a server alone that did not do it.
const PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Freezing {
    client: Client,
    /// Sessions that were frozen. Each is frozen once: when ops thaw it, they know why.
    frozen: BTreeSet<SessionId>,
    /// When to ask again after a server that did not do it.
    not_before: Option<Instant>,
}

impl Freezing {
    pub(super) const fn new(client: Client) -> Self {
        Self { client, frozen: BTreeSet::new(), not_before: None }
    }

    pub(super) const fn frozen(&self) -> &BTreeSet<SessionId> {
        &self.frozen
    }

    /// Freezes what is suspected and was not frozen yet. What does not succeed is tried again the next time.
    pub(super) async fn freeze(&mut self, report: &Report) {
        let new: Vec<_> = report.suspects.difference(&self.frozen).cloned().collect();
        if new.is_empty() || self.not_before.is_some_and(|moment| Instant::now() < moment) {
            return;
        }
        let broken: Vec<_> = report.broken().map(|invariant| invariant.title()).collect();
        let reason = format!("the audit found broken: {}", broken.join(", "));
        match policy::freeze(&self.client, &new, &reason).await {
            Ok(()) => {
                tracing::warn!(sessions = ?new, reason, "sessions take no bookings any more; see the policy's list `frozen`");
                self.frozen.extend(new);
            }
            Err(error) => {
                tracing::error!(sessions = ?new, "sessions cannot be frozen, it is tried again: {error:#}");
                self.not_before = Some(Instant::now() + PAUSE);
            }
        }
    }
}
