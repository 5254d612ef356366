//! Publishes a root over what each partition got, every minute.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use orderly_domain::Partition;
use orderly_domain::clock::{Clock as _, System};
use orderly_domain::port::IntentLog;

use super::roots::{Roots, Tree};
use super::{leaf, read};

/// How often. Who booked can have a receipt after that long.
const EVERY: Duration = Duration::from_secs(60);
/// Records under one root; more are divided. It bounds a receipt's path: 17 hashes.
const RECORDS_MAX: u64 = 65_536;

/// The file of roots, and what goes into it.
pub(crate) struct Publishing {
    file: File,
    roots: Roots,
}

impl Publishing {
    /// Goes on with a file, or begins one.
    ///
    /// # Errors
    /// When it cannot be written, was changed, or another process writes it.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("cannot publish roots in {}", path.display());
        let file = File::options().create(true).append(true).read(true).open(path).with_context(cannot)?;
        file.try_lock().context("another process publishes there").with_context(cannot)?;
        let roots = Roots::read(path).with_context(cannot)?;
        Ok(Self { file, roots })
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
        let mut from = self.roots.next(partition).max(start);
        while from < end {
            let to = end.min(from + RECORDS_MAX);
            let mut tree = Tree::new();
            if let Err(error) = read(log, partition, from..to, |record| tree.push(leaf(&record))).await {
                tracing::warn!("the roots of partition {partition} wait for the next minute: {error:#}");
                return Ok(());
            }
            self.roots.publish(&mut self.file, partition, from, &tree, System.now())?;
            from = to;
        }
        Ok(())
    }
}
