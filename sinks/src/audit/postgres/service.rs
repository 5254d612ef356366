//! The trail's handle. Every call runs as a task of its own, which ends what it began also when its caller goes away.

use std::future::Future;

use async_trait::async_trait;
use orderly_domain::Timestamp;
use orderly_domain::audit::{Algorithm, Entry, Linked, Place};
use orderly_domain::port::audit::Extent;
use orderly_domain::port::{self, Result};
use prometheus::IntGauge;

use super::{MIGRATIONS, VERSIONS, append, prune, reads, role};
use crate::audit::Doubt;
use crate::store::postgres;
use crate::store::postgres::connections::Connections;
use crate::store::postgres::migrations;

/// Connections of a process, at most: one appends, others read and prune.
const CONNECTIONS_MAX: usize = 3;

/// How the trail is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How hashes are made from now on.
    pub algorithm: Algorithm,
    /// Where, and how patiently. The numbers of connections and the replica are not used.
    pub database: postgres::Options,
}

/// The trail in PostgreSQL.
#[derive(Debug)]
pub struct Audit {
    connections: Connections,
    algorithm: Algorithm,
    doubt: Doubt,
}

impl Audit {
    /// Opens the trail, makes the role that may read it, and brings its schema to the newest version; several nodes may do so
    /// at once.
    ///
    /// # Errors
    /// When PostgreSQL cannot be reached, or the role can neither be made here nor is there; `Corrupt` when the schema is of
    /// a newer version than this program.
    pub async fn open(options: Options) -> Result<Self> {
        let audit = Self::new(&options)?;
        let connections = audit.connections.clone();
        finish(async move {
            let lease = connections.lease().await?;
            let made = async {
                role::prepare(lease.client()).await?;
                migrations::migrate(lease.client(), VERSIONS, MIGRATIONS).await
            };
            made.await.map_err(|failure| failure.told(port::Error::DidNotHappen))?;
            lease.give_back();
            Ok(())
        })
        .await?;
        let head = port::Audit::extent(&audit).await?.head;
        Ok(Self { doubt: Doubt::new(head), ..audit })
    }

    /// Opens a trail that is there, and makes nothing.
    ///
    /// # Errors
    /// When PostgreSQL cannot be reached, or the trail is not there in this program's version.
    pub async fn open_read_only(options: Options) -> Result<Self> {
        let audit = Self::new(&options)?;
        let connections = audit.connections.clone();
        finish(async move {
            connections.call(|client| Box::pin(reads::check_version(client)), port::Error::DidNotHappen).await
        })
        .await?;
        Ok(audit)
    }

    fn new(options: &Options) -> Result<Self> {
        let waiting = IntGauge::new("audit_calls", "Not shown: the trail's own queue is.");
        let waiting = waiting.map_err(|error| port::Error::DidNotHappen(format!("metrics: {error}")))?;
        let connections = Connections::new(&options.database.url, CONNECTIONS_MAX, &options.database, waiting)?;
        Ok(Self { connections, algorithm: options.algorithm, doubt: Doubt::default() })
    }
}

/// Runs work to its end.
async fn finish<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        Err(port::Error::MayHaveHappened(format!("a call to the trail ended early: {error}; see the program's log")))
    })
}

#[async_trait]
impl port::Audit for Audit {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    async fn append(&self, entries: &[Entry]) -> Result<Vec<Place>> {
        let (connections, entries, algorithm) = (self.connections.clone(), entries.to_vec(), self.algorithm);
        let look_from = self.doubt.look_from();
        let appended = finish(async move {
            connections
                .call(
                    |client| Box::pin(async move { append::append(client, algorithm, &entries, look_from).await }),
                    port::Error::MayHaveHappened,
                )
                .await
        })
        .await;
        self.doubt.note(&appended);
        appended
    }

    async fn scan(&self, from: u64, entries_max: usize) -> Result<Vec<Linked>> {
        let connections = self.connections.clone();
        finish(async move {
            connections.call(|client| Box::pin(reads::scan(client, from, entries_max)), port::Error::DidNotHappen).await
        })
        .await
    }

    async fn extent(&self) -> Result<Extent> {
        let connections = self.connections.clone();
        finish(
            async move { connections.call(|client| Box::pin(reads::extent(client)), port::Error::DidNotHappen).await },
        )
        .await
    }

    async fn prune(&self, before: Timestamp) -> Result<u64> {
        let mut forgotten = 0;
        loop {
            let connections = self.connections.clone();
            // A little at a time: appends go in between.
            let step = finish(async move {
                connections.call(|client| Box::pin(prune::step(client, before)), port::Error::MayHaveHappened).await
            })
            .await?;
            forgotten += step;
            if step < prune::STEP {
                return Ok(forgotten);
            }
        }
    }
}
