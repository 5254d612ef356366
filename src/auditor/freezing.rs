//! Has a server freeze sessions in which something is wrong: they go onto the policy's list, as ops would put them there.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use orderly_checker::Report;
use orderly_domain::SessionId;

use crate::client::{Client, policy};

/// How long to leave a server alone that did not do it.
const PAUSE: Duration = Duration::from_secs(5);
/// What each reason begins with that the policy's history has of an auditor. By it an auditor that was started again knows
/// what was frozen before.
const CAUSE: &str = "the audit found broken: ";

pub(super) struct Freezing {
    client: Client,
    /// Sessions that need no freezing any more. Each is frozen once: when ops thaw it, they know why.
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

    /// Freezes what is suspected and was not frozen yet, by this auditor or one before it. What does not succeed is tried again
    /// the next time.
    pub(super) async fn freeze(&mut self, report: &Report) {
        let suspects: BTreeSet<_> = report.suspects.difference(&self.frozen).cloned().collect();
        if suspects.is_empty() || self.not_before.is_some_and(|moment| Instant::now() < moment) {
            return;
        }
        let broken: Vec<_> = report.broken().map(|invariant| invariant.title()).collect();
        match policy::freeze_once(&self.client, &suspects, CAUSE, &broken.join(", ")).await {
            Ok(new) => {
                tell(&new, &suspects, &broken);
                self.frozen.extend(suspects);
            }
            Err(error) => {
                tracing::error!(sessions = ?suspects, "sessions cannot be frozen, it is tried again: {error:#}");
                self.not_before = Some(Instant::now() + PAUSE);
            }
        }
    }
}

fn tell(new: &[SessionId], suspects: &BTreeSet<SessionId>, broken: &[&str]) {
    if !new.is_empty() {
        tracing::warn!(sessions = ?new, ?broken, "sessions take no bookings any more; see the policy's list `frozen`");
    }
    let left: Vec<_> = suspects.iter().filter(|session| !new.contains(session)).collect();
    if !left.is_empty() {
        tracing::warn!(sessions = ?left, ?broken, "sessions were frozen before, and are left to people");
    }
}
