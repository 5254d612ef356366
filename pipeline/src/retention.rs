//! Retention: decided records leave the log by age.

use std::sync::Arc;
use std::time::Duration;

use orderly_domain::Clock;
use orderly_domain::port::{self, IntentLog, Store};
use prometheus::{IntCounter, Registry};
use tokio::sync::watch;

use crate::metrics::TRIMMED_TOTAL;

const ROUND: Duration = Duration::from_secs(60);

/// Trims the log once a minute.
pub struct Retention {
    log: Arc<dyn IntentLog>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    keep: Duration,
    trimmed_total: IntCounter,
}

impl Retention {
    /// Keeps decided and published records for `keep`; what is not decided is kept for ever.
    ///
    /// # Errors
    /// When its metric's name is taken.
    pub fn new(
        log: Arc<dyn IntentLog>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        keep: Duration,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let trimmed_total = IntCounter::new(TRIMMED_TOTAL, "Records that left the log by age.")?;
        registry.register(Box::new(trimmed_total.clone()))?;
        Ok(Self { log, store, clock, keep, trimmed_total })
    }

    /// Runs until `stop` is set.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        loop {
            if let Err(error) = self.round().await {
                tracing::warn!(%error, "the log was not trimmed; tries again in a minute");
            }
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    async fn round(&self) -> port::Result<()> {
        let progress = self.store.progress().await?;
        let decided: Vec<_> =
            progress.iter().map(|partition| (partition.partition, partition.published_offset)).collect();
        let trimmed = self.log.trim(self.clock.now().minus(self.keep), &decided).await?;
        self.trimmed_total.inc_by(trimmed);
        Ok(())
    }
}
