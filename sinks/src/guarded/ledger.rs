//! A breaker before the ledger's decisions. Restoring it goes past the breaker: that is what makes it well again.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use orderly_domain::breaker::{Breaker, Caller};
use orderly_domain::inventory::{Admission, Snapshot};
use orderly_domain::port::ledger::{Doubt, Request};
use orderly_domain::port::store::SessionState;
use orderly_domain::port::{self, Result};
use orderly_domain::{Decision, Fence, Partition, SessionId, Timestamp};

pub(super) struct Ledger {
    ledger: Arc<dyn port::Ledger>,
    breaker: Arc<Breaker>,
}

impl Ledger {
    pub(super) fn new(ledger: Arc<dyn port::Ledger>, breaker: Arc<Breaker>) -> Self {
        Self { ledger, breaker }
    }
}

#[async_trait]
impl port::Ledger for Ledger {
    async fn apply(&self, requests: &[Request<'_>]) -> Result<Vec<Admission>> {
        self.breaker.guard(Caller::Worker, self.ledger.apply(requests)).await
    }

    async fn hold(&self, held: &HashMap<Partition, Fence>) -> Result<()> {
        self.ledger.hold(held).await
    }

    async fn restore(&self, snapshots: Vec<(Fence, Snapshot)>) -> Result<()> {
        self.ledger.restore(snapshots).await
    }

    async fn behind(&self, sessions: &[SessionState]) -> Result<Vec<SessionId>> {
        self.ledger.behind(sessions).await
    }

    async fn lend(&self, snapshots: Vec<(Fence, Snapshot)>, doubt: Doubt) -> Result<()> {
        self.ledger.lend(snapshots, doubt).await
    }

    async fn undo(&self, refused: &[Decision]) -> Result<()> {
        self.breaker.guard(Caller::Worker, self.ledger.undo(refused)).await
    }

    async fn settle(&self, committed: &[Decision]) -> Result<()> {
        self.ledger.settle(committed).await
    }

    async fn prune(&self, logged_at: Timestamp) -> Result<()> {
        self.ledger.prune(logged_at).await
    }

    async fn remaining(&self) -> Result<Vec<(SessionId, u32)>> {
        self.ledger.remaining().await
    }
}
