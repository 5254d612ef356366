//! Retention: decided records leave the log by age, and decisions the store.

use std::sync::Arc;
use std::time::Duration;

use jiff::ToSpan as _;
use jiff::civil::Date;
use orderly_domain::port::store::Progress;
use orderly_domain::port::{self, Feed, IntentLog, Store};
use orderly_domain::{Clock, Offset, Partition, Timestamp};
use prometheus::{IntCounter, Registry};
use tokio::sync::watch;

use crate::metrics::{PRUNED_TOTAL, TRIMMED_TOTAL};

const ROUND: Duration = Duration::from_secs(60);
/// Days end rarely; a look whether one did is cheap.
const STORE_ROUND: Duration = Duration::from_secs(3_600);

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
            if stopped_within(ROUND, &mut stop).await {
                return;
            }
        }
    }

    async fn round(&self) -> port::Result<()> {
        let progress = self.store.progress().await?;
        let decided: Vec<_> =
            progress.iter().map(|partition| (partition.partition, partition.published_offset)).collect();
        self.store.sync().await?;
        let trimmed = self.log.trim(self.clock.now().minus(self.keep), &decided).await?;
        self.trimmed_total.inc_by(trimmed);
        Ok(())
    }
}

/// Waits that long; tells early when it is told to stop.
async fn stopped_within(time: Duration, stop: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => true,
        () = tokio::time::sleep(time) => false,
    }
}

/// Lets the store forget old days once an hour. It belongs where the relay is: only there all feeds are known. Two at once
/// do no harm.
pub struct StoreRetention {
    log: Arc<dyn IntentLog>,
    store: Arc<dyn Store>,
    feeds: Vec<Arc<dyn Feed>>,
    clock: Arc<dyn Clock>,
    keep_days: u32,
    pruned_total: IntCounter,
}

impl StoreRetention {
    /// Keeps `keep_days` days of decisions and of appointments of sessions that are past, and whatever a feed has not had.
    ///
    /// # Errors
    /// When its metric's name is taken.
    pub fn new(
        log: Arc<dyn IntentLog>,
        store: Arc<dyn Store>,
        feeds: Vec<Arc<dyn Feed>>,
        clock: Arc<dyn Clock>,
        keep_days: u32,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let pruned_total = IntCounter::new(PRUNED_TOTAL, "Decisions that the store forgot by age.")?;
        registry.register(Box::new(pruned_total.clone()))?;
        Ok(Self { log, store, feeds, clock, keep_days, pruned_total })
    }

    /// Runs until `stop` is set.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        loop {
            match self.round().await {
                Ok(0) => {}
                Ok(decisions) => tracing::info!(decisions, "the store forgot old days"),
                Err(error) => tracing::warn!(%error, "the store did not forget old days; tries again in an hour"),
            }
            if stopped_within(STORE_ROUND, &mut stop).await {
                return;
            }
        }
    }

    async fn round(&self) -> port::Result<u64> {
        let progress = self.store.progress().await?;
        let Some(today) = self.today(&progress).await? else { return Ok(0) };
        let Ok(before) = today.checked_sub(i64::from(self.keep_days).days()) else { return Ok(0) };
        // A partition's newest decision stays: whoever takes it over learns its time from it.
        let last = |partition: &Progress| (partition.partition, partition.next_offset.saturating_sub(1));
        let mut below: Vec<(Partition, Offset)> = progress.iter().map(last).collect();
        for feed in &self.feeds {
            let carried = feed.next_offsets().await?;
            for (partition, below) in &mut below {
                let next = carried.iter().find(|(carried, _)| carried == partition).map_or(0, |(_, next)| *next);
                *below = next.min(*below);
            }
        }
        for (partition, (_, below)) in progress.iter().zip(&mut below) {
            *below = partition.published_offset.min(*below);
        }
        let forgotten = self.store.prune(before, &below).await?;
        self.pruned_total.inc_by(forgotten);
        Ok(forgotten)
    }

    /// The day from which days are counted back: that of the newest decision, but no later than the clock's, and no later
    /// than that of what is being decided where something still waits. An outage forgets nothing, nor does a clock that is
    /// ahead. `None` when nothing is decided, or nothing yet of a
    /// partition that has records.
    async fn today(&self, progress: &[Progress]) -> port::Result<Option<Date>> {
        let extents = self.log.extents().await?;
        let begun = |partition| progress.iter().any(|begun| begun.partition == partition && begun.next_offset > 0);
        if extents.iter().any(|extent| extent.end > extent.start && !begun(extent.partition)) {
            // What waits there may be as old as the log.
            return Ok(None);
        }
        let (mut newest, mut waiting): (Option<Timestamp>, Vec<Timestamp>) = (None, vec![self.clock.now()]);
        for Progress { partition, next_offset, .. } in progress {
            let Some(last) = next_offset.checked_sub(1) else { continue };
            let rows = self.store.decisions(*partition, last, 1).await?;
            let Some(logged_at) = rows.first().map(|row| row.decision.logged_at) else { continue };
            newest = newest.max(Some(logged_at));
            if extents.iter().any(|extent| extent.partition == *partition && extent.end > *next_offset) {
                waiting.push(logged_at);
            }
        }
        let today = waiting.into_iter().chain(newest).min();
        Ok(newest.and(today).map(|moment| moment.to_jiff().to_zoned(jiff::tz::TimeZone::UTC).date()))
    }
}
