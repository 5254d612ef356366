//! Servers whose disk is full.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use orderly_stack::Tmpfs;
use tokio::task::block_in_place;
use tokio::time::Instant;

use crate::recovery::until;
use crate::servers::{Disks, Servers};

/// What the system says when a disk is full.
const FULL: &str = "No space left on device";
/// What Redis says of itself when it could not write, and when it could.
const REDIS_FULL: &str = "aof_last_write_status:err";
const REDIS_WRITES: &str = "aof_last_write_status:ok";

impl Servers {
    /// Fills Redis's disk, and frees it a while after Redis has noticed. Counts from when it writes again.
    ///
    /// # Errors
    /// When it cannot be done, or it does not notice.
    pub(crate) async fn fill_redis(&self, lasts: Duration) -> anyhow::Result<Instant> {
        let disk = &self.disks()?.redis;
        let says = async |what: &str| {
            until(&format!("Redis says {what}"), async || {
                let state = block_in_place(|| self.redis.ask("INFO persistence"))?;
                anyhow::ensure!(state.contains(what), "it says {state}");
                Ok(())
            })
            .await
        };
        full(disk, lasts, async || says(REDIS_FULL).await).await?;
        let since = Instant::now();
        says(REDIS_WRITES).await?;
        Ok(since)
    }

    /// Fills PostgreSQL's disk, and frees it a while after PostgreSQL has noticed; starts it again should it have ended.
    ///
    /// # Errors
    /// As [`Servers::fill_redis`].
    pub(crate) async fn fill_postgres(&mut self, lasts: Duration) -> anyhow::Result<Instant> {
        let log = self.postgres.log();
        let said_before = read(&log)?.len();
        let says = async || {
            until("PostgreSQL says that its disk is full", async || {
                let said = read(&log)?;
                anyhow::ensure!(said.get(said_before..).is_some_and(|said| said.contains(FULL)), "it has space yet");
                Ok(())
            })
            .await
        };
        full(&self.disks()?.postgres, lasts, says).await?;
        let since = Instant::now();
        block_in_place(|| self.postgres.revive())?;
        Ok(since)
    }

    fn disks(&self) -> anyhow::Result<&Disks> {
        self.disks.as_ref().map_err(|why| anyhow::anyhow!("no disk of its own: {why}"))
    }
}

/// Nothing fits in, from before it is noticed until a while later.
async fn full(disk: &Tmpfs, lasts: Duration, noticed: impl AsyncFnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    block_in_place(|| disk.fill())?;
    noticed().await?;
    tokio::time::sleep(lasts).await;
    block_in_place(|| disk.empty())
}

fn read(log: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))
}
