//! The store's handle. Every call runs as a task of its own, which ends what it began also when its caller goes away.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::civil::Date;
use orderly_domain::inventory::Snapshot;
use orderly_domain::port::store::{
    Appointment, Claim, Commit, Committed, DecisionRow, Details, PolicyVersion, Progress, SeenTicket, SessionState,
};
use orderly_domain::port::{self, Result};
use orderly_domain::{Fence, Offset, Partition, Position, SessionId, Timestamp};
use prometheus::Registry;

use super::connections::Connections;
use super::days::Days;
use super::error::Failure;
use super::{MIGRATIONS, Options, details, migrations, progress, prune, reads};
use crate::store::metrics::{self, Metrics};

/// The store in PostgreSQL.
#[derive(Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

/// What its tasks share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) writers: Connections,
    pub(super) readers: Connections,
    replica: Option<Connections>,
    pub(super) days: Arc<Days>,
    pub(super) metrics: Metrics,
}

impl Store {
    /// Opens the store and brings its schema to the newest version; several nodes may do so at once. Metrics are registered
    /// on `registry`.
    ///
    /// # Errors
    /// When PostgreSQL cannot be reached or is set up so that it may lose commits; `Corrupt` when the schema is of a newer
    /// version than this program.
    pub async fn open(options: Options, registry: &Registry) -> Result<Self> {
        let metrics = Metrics::new().map_err(metrics::unregistered)?;
        let waiting = &metrics.queue_calls;
        let writers = Connections::new(&options.url, options.writers, &options, waiting.clone())?;
        let patient = Options { call_timeout: options.read_timeout, ..options.clone() };
        let readers = Connections::new(&options.url, options.readers, &patient, waiting.clone())?;
        let replica = options.read_url.as_deref();
        let replica =
            replica.map(|url| Connections::new(url, options.readers, &patient, waiting.clone())).transpose()?;
        let days = Arc::default();
        let inner = Arc::new(Inner { writers, readers, replica, days, metrics });
        let migrating = Arc::clone(&inner);
        finish(async move {
            let lease = migrating.writers.lease().await?;
            // Another node's migration takes as long as it takes; the server bounds the wait for it.
            let migrated = migrations::migrate(lease.client(), super::VERSIONS, MIGRATIONS).await;
            migrated.map_err(|failure| failure.told(port::Error::DidNotHappen))?;
            lease.give_back();
            Ok(())
        })
        .await?;
        inner.metrics.register(registry).map_err(metrics::unregistered)?;
        Ok(Self { inner })
    }
}

impl Inner {
    /// Makes the tables of days that a commit found missing.
    pub(super) async fn make_days(&self, decisions: Vec<Date>, appointments: Vec<Date>) -> Result<()> {
        let days = Arc::clone(&self.days);
        self.writers
            .call(
                |client| Box::pin(async move { days.make(client, &decisions, &appointments).await }),
                port::Error::DidNotHappen,
            )
            .await
    }
}

/// Runs work to its end.
async fn finish<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        Err(port::Error::MayHaveHappened(format!("a call to the store ended early: {error}; see the program's log")))
    })
}

/// A read: the connections to ask, and what to ask there, as an `async` expression with a client.
macro_rules! read {
    ($self:ident.$connections:ident, |$client:ident| $read:expr) => {{
        let inner = Arc::clone(&$self.inner);
        finish(async move {
            let _timer = inner.metrics.read_seconds.start_timer();
            inner.$connections.call(|$client| Box::pin(async move { $read.await }), port::Error::DidNotHappen).await
        })
        .await
    }};
}

/// A write, in the same way.
macro_rules! write {
    ($self:ident, |$client:ident| $write:expr) => {{
        let inner = Arc::clone(&$self.inner);
        finish(async move {
            inner.writers.call(|$client| Box::pin(async move { $write.await }), port::Error::MayHaveHappened).await
        })
        .await
    }};
}

#[async_trait]
impl port::Store for Store {
    async fn claim(&self, partitions: &[Partition], owner: &str) -> Result<Vec<Claim>> {
        let (partitions, owner) = (partitions.to_vec(), owner.to_owned());
        write!(self, |client| progress::claim(client, &partitions, &owner))
    }

    async fn commit(&self, commit: &Commit) -> Result<Vec<Committed>> {
        let (inner, commit) = (Arc::clone(&self.inner), commit.clone());
        finish(async move { inner.commit(&commit).await }).await
    }

    async fn sync(&self) -> Result<()> {
        // Its commits wait for the disk, and for replicas that are set to be waited for.
        Ok(())
    }

    async fn mark_published(&self, marks: &[(Partition, Fence, Offset)]) -> Result<()> {
        let marks = marks.to_vec();
        write!(self, |client| progress::mark_published(client, &marks))
    }

    async fn decision(&self, position: Position) -> Result<Option<DecisionRow>> {
        if let Some(replica) = &self.inner.replica {
            let (replica, metrics) = (replica.clone(), self.inner.metrics.clone());
            let found = finish(async move {
                let _timer = metrics.read_seconds.start_timer();
                replica.call(|client| Box::pin(reads::decision(client, position)), port::Error::DidNotHappen).await
            })
            .await;
            match found {
                Ok(Some(row)) => return Ok(Some(row)),
                // It may be behind.
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "the replica cannot be read; the primary is asked"),
            }
        }
        read!(self.readers, |client| reads::decision(client, position))
    }

    async fn decisions(&self, partition: Partition, from: Offset, rows_max: usize) -> Result<Vec<DecisionRow>> {
        read!(self.readers, |client| reads::decisions(client, partition, from, rows_max))
    }

    async fn seen_tickets(
        &self,
        partition: Partition,
        since: Timestamp,
        tickets_max: usize,
    ) -> Result<Vec<SeenTicket>> {
        read!(self.readers, |client| reads::seen_tickets(client, partition, since, tickets_max))
    }

    async fn snapshots(&self, partitions: &[Partition], since: Date) -> Result<Vec<Snapshot>> {
        let partitions = partitions.to_vec();
        read!(self.readers, |client| reads::snapshots(client, &partitions, since))
    }

    async fn sessions(&self, since: Date) -> Result<Vec<SessionState>> {
        read!(self.readers, |client| reads::sessions(client, since))
    }

    async fn appointments(&self, session_id: &SessionId) -> Result<Vec<Appointment>> {
        let session_id = session_id.clone();
        read!(self.readers, |client| reads::appointments(client, &session_id))
    }

    async fn details(&self, of: &[Position]) -> Result<Vec<Details>> {
        let of = of.to_vec();
        read!(self.readers, |client| details::of(client, &of))
    }

    async fn details_after(&self, after: Option<Position>, rows_max: usize) -> Result<Vec<Details>> {
        read!(self.readers, |client| details::after(client, after, rows_max))
    }

    async fn reseal(&self, details: &[Details]) -> Result<u64> {
        let details = details.to_vec();
        write!(self, |client| details::reseal(client, &details))
    }

    async fn progress(&self) -> Result<Vec<Progress>> {
        read!(self.readers, |client| reads::progress(client))
    }

    async fn policies(&self, rows_max: usize) -> Result<Vec<PolicyVersion>> {
        read!(self.readers, |client| reads::policies(client, rows_max))
    }

    async fn save_policy(&self, policy: &PolicyVersion) -> Result<()> {
        let policy = policy.clone();
        write!(self, |client| progress::save_policy(client, &policy))
    }

    async fn prune(&self, before: Date, below: &[(Partition, Offset)]) -> Result<u64> {
        let (inner, below) = (Arc::clone(&self.inner), below.to_vec());
        finish(async move {
            let lease = inner.writers.lease().await?;
            let work = async {
                lease.client().batch_execute("SET statement_timeout = 0").await?;
                prune::prune(lease.client(), before, &below).await
            };
            // The connection is closed then, which gives its setting and its lock back.
            let forgotten = work.await.map_err(|failure: Failure| failure.told(port::Error::MayHaveHappened));
            inner.days.forget();
            forgotten
        })
        .await
    }

    async fn kept_since(&self) -> Result<Option<Date>> {
        read!(self.readers, |client| prune::kept_since(client))
    }
}
