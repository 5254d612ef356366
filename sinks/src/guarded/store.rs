//! Breakers before the store: one for commits, one for the reads that requests wait for.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::civil::Date;
use orderly_domain::breaker::{Breaker, Caller};
use orderly_domain::inventory::Snapshot;
use orderly_domain::port::store::{
    Appointment, Claim, Commit, Committed, DecisionRow, Details, PolicyVersion, Progress, SeenTicket, SessionState,
};
use orderly_domain::port::{self, Result};
use orderly_domain::{Fence, Offset, Partition, Position, SessionId, Timestamp};

pub(super) struct Store {
    store: Arc<dyn port::Store>,
    commits: Arc<Breaker>,
    reads: Arc<Breaker>,
}

impl Store {
    pub(super) fn new(store: Arc<dyn port::Store>, commits: Arc<Breaker>, reads: Arc<Breaker>) -> Self {
        Self { store, commits, reads }
    }
}

#[async_trait]
impl port::Store for Store {
    async fn claim(&self, partitions: &[Partition], owner: &str) -> Result<Vec<Claim>> {
        self.store.claim(partitions, owner).await
    }

    async fn commit(&self, commit: &Commit) -> Result<Vec<Committed>> {
        self.commits.guard(Caller::Worker, self.store.commit(commit)).await
    }

    async fn sync(&self) -> Result<()> {
        self.store.sync().await
    }

    async fn mark_published(&self, marks: &[(Partition, Fence, Offset)]) -> Result<()> {
        self.store.mark_published(marks).await
    }

    async fn decision(&self, position: Position) -> Result<Option<DecisionRow>> {
        self.reads.guard(Caller::Crowd, self.store.decision(position)).await
    }

    async fn decisions(&self, partition: Partition, from: Offset, rows_max: usize) -> Result<Vec<DecisionRow>> {
        self.store.decisions(partition, from, rows_max).await
    }

    async fn seen_tickets(&self, partition: Partition, since: Timestamp, max: usize) -> Result<Vec<SeenTicket>> {
        self.store.seen_tickets(partition, since, max).await
    }

    async fn snapshots(&self, partitions: &[Partition], since: Date) -> Result<Vec<Snapshot>> {
        self.store.snapshots(partitions, since).await
    }

    async fn sessions(&self, since: Date) -> Result<Vec<SessionState>> {
        self.store.sessions(since).await
    }

    async fn appointments(&self, session_id: &SessionId) -> Result<Vec<Appointment>> {
        self.reads.guard(Caller::Crowd, self.store.appointments(session_id)).await
    }

    async fn details(&self, of: &[Position]) -> Result<Vec<Details>> {
        self.reads.guard(Caller::Crowd, self.store.details(of)).await
    }

    async fn details_after(&self, after: Option<Position>, rows_max: usize) -> Result<Vec<Details>> {
        self.store.details_after(after, rows_max).await
    }

    async fn reseal(&self, details: &[Details]) -> Result<u64> {
        self.store.reseal(details).await
    }

    async fn progress(&self) -> Result<Vec<Progress>> {
        // What takeovers begin with; it must not wait for those who only look.
        self.store.progress().await
    }

    async fn policies(&self, rows_max: usize) -> Result<Vec<PolicyVersion>> {
        // What ops steer with: a node follows it also while its reads are held off.
        self.store.policies(rows_max).await
    }

    async fn save_policy(&self, policy: &PolicyVersion) -> Result<()> {
        self.store.save_policy(policy).await
    }

    async fn prune(&self, before: Date, below: &[(Partition, Offset)]) -> Result<u64> {
        self.store.prune(before, below).await
    }

    async fn kept_since(&self) -> Result<Option<Date>> {
        self.reads.guard(Caller::Crowd, self.store.kept_since()).await
    }
}
