//! Publishes a root over what each partition got, every minute.

use std::path::Path;
use std::time::Duration;

use orderly_domain::Partition;
use orderly_domain::clock::{Clock as _, System};
use orderly_domain::port::IntentLog;

use super::roots::{Roots, Tree};
use super::{leaf, read};

/// How often. Who booked can have a receipt after that long.
const EVERY: Duration = Duration::from_secs(60);
/// Records under one root; more are divided. It bounds a receipt's path: 16 hashes.
pub(super) const RECORDS_MAX: u64 = 65_536;

/// Goes on with a file of roots.
pub(crate) struct Publishing(Roots);

impl Publishing {
    /// Opens the file, or begins one.
    ///
    /// # Errors
    /// When it cannot be written, was changed, or another process writes it.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        Roots::open(path).map(Self)
    }

    /// Publishes every minute. What cannot be read is tried again a minute later.
    pub(crate) async fn run(mut self, log: &dyn IntentLog) -> anyhow::Result<()> {
        let mut minutes = tokio::time::interval(EVERY);
        minutes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            minutes.tick().await;
            match log.extents().await {
                Ok(extents) => {
                    for extent in extents {
                        self.publish(log, extent.partition, extent.start, extent.end).await?;
                    }
                }
                Err(error) => tracing::warn!(%error, "no roots are published; it is tried again in a minute"),
            }
        }
    }

    /// Publishes what a partition has beyond its last root.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) async fn publish(
        &mut self,
        log: &dyn IntentLog,
        partition: Partition,
        start: u64,
        end: u64,
    ) -> anyhow::Result<()> {
        // What aged before it was covered never will be.
        let mut from = self.0.next(partition).max(start);
        while from < end {
            let to = end.min(from + RECORDS_MAX);
            let mut tree = Tree::new();
            if let Err(error) = read(log, partition, from..to, |record| tree.push(leaf(&record))).await {
                tracing::warn!("the roots of partition {partition} wait for the next minute: {error:#}");
                return Ok(());
            }
            self.0.publish(partition, from, &tree, System.now())?;
            from = to;
        }
        Ok(())
    }
}
