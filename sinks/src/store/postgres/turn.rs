//! Whose turn it is: whoever holds a lock on a connection of its own. The lock goes with the connection, and the server ends
//! one that is silent for too long: also that of a process that hangs.

use std::time::Duration;

use orderly_domain::port::{self, Result};
use prometheus::IntGauge;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Options;
use super::connections::Connections;
use super::error::Failure;
use super::rows::column;

/// All turns' locks have the number in common; the other half is the schema.
const ASK: &str = "SELECT pg_try_advisory_lock(1869767682, hashtext(COALESCE(current_schema(), '')))";
/// How often it is asked for, and kept.
const PERIOD: Duration = Duration::from_secs(1);
/// How long the server keeps the lock of a silent process.
const SILENT_MAX_S: u64 = 10;

/// A turn at what one process at a time does on a database.
#[derive(Debug)]
pub struct Turn {
    ours: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Turn {
    /// Stands by for it from now on.
    ///
    /// # Errors
    /// When the store's url cannot be used.
    pub fn stand_by(options: &Options) -> Result<Self> {
        // One for the lock, and one to spare while the last one ends.
        let connections = Connections::new(
            &options.url,
            2,
            options,
            IntGauge::new("turn", "Not shown.").map_err(|error| unmade(&error))?,
        )?;
        let (sender, ours) = watch::channel(false);
        let task = tokio::spawn(async move {
            loop {
                if let Err(error) = hold(&connections, &sender).await {
                    tracing::debug!(%error, "whose turn it is cannot be asked");
                }
                if sender.send_replace(false) {
                    tracing::warn!("the turn is over: its connection to PostgreSQL is lost");
                }
                tokio::time::sleep(PERIOD).await;
            }
        });
        Ok(Self { ours, task })
    }

    /// Tells when it begins and when it is over.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<bool> {
        self.ours.clone()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl port::Turn for Turn {
    fn is_ours(&self) -> bool {
        *self.ours.borrow()
    }
}

fn unmade(error: &prometheus::Error) -> port::Error {
    port::Error::DidNotHappen(format!("metrics: {error}"))
}

/// Asks for the lock until it is had, and keeps it until its connection is lost.
async fn hold(connections: &Connections, ours: &watch::Sender<bool>) -> Result<()> {
    let told = |failure: Failure| failure.told(port::Error::DidNotHappen);
    let late = |error: super::connections::Late| port::Error::DidNotHappen(error.to_string());
    let lease = connections.lease().await?;
    let limit = async {
        lease
            .client()
            .batch_execute(&format!("SET idle_session_timeout = '{SILENT_MAX_S}s'"))
            .await
            .map_err(Failure::from)
    };
    connections.in_time(limit).await.map_err(late)?.map_err(told)?;
    loop {
        // Whoever has it asks for something all the same: that keeps the session, and tells whether it is there.
        let ask = async {
            let lock = if *ours.borrow() { "SELECT TRUE" } else { ASK };
            column::<bool>(&lease.client().query_one(lock, &[]).await?, 0)
        };
        if connections.in_time(ask).await.map_err(late)?.map_err(told)? && !ours.send_replace(true) {
            tracing::info!("it is this process's turn");
        }
        tokio::time::sleep(PERIOD).await;
    }
}
