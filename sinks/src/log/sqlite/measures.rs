//! What the log's writer measures.

use std::time::Instant;

use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

use super::service::Append;
use crate::metrics;

/// Shared with the registry that they were registered on.
pub(super) struct Measures {
    append_seconds: Histogram,
    group_records: Histogram,
    appended_total: IntCounter,
    pub(super) queue_length: IntGauge,
    pub(super) storage_full_total: IntCounter,
    pub(super) size_bytes: IntGauge,
}

impl Measures {
    /// Registers them.
    ///
    /// # Errors
    /// When one of that name is registered already.
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let append_seconds = HistogramOpts::new(
            metrics::LOG_APPEND_SECONDS,
            "How long appends to the intent log took, until they were durable.",
        )
        .buckets(prometheus::exponential_buckets(0.000_25, 2.0, 14)?);
        let group_records =
            HistogramOpts::new(metrics::LOG_GROUP_RECORDS, "How many records one transaction of the intent log took.")
                .buckets(prometheus::exponential_buckets(1.0, 2.0, 13)?);
        Ok(Self {
            append_seconds: registered(registry, Histogram::with_opts(append_seconds)?)?,
            group_records: registered(registry, Histogram::with_opts(group_records)?)?,
            appended_total: registered(
                registry,
                IntCounter::new(metrics::LOG_APPENDED_TOTAL, "Records that the intent log took since the start.")?,
            )?,
            queue_length: registered(
                registry,
                IntGauge::new(metrics::LOG_QUEUE_LENGTH, "How many requests waited for the intent log's writer.")?,
            )?,
            storage_full_total: registered(
                registry,
                IntCounter::new(
                    metrics::LOG_STORAGE_FULL_TOTAL,
                    "Transactions of the intent log that found no space.",
                )?,
            )?,
            size_bytes: registered(
                registry,
                IntGauge::new(metrics::LOG_SIZE_BYTES, "Size of the intent log with its write-ahead log.")?,
            )?,
        })
    }

    /// A group is durable.
    pub(super) fn appended(&self, group: &[Append]) {
        let now = Instant::now();
        for append in group {
            self.append_seconds.observe(now.duration_since(append.since).as_secs_f64());
        }
        #[expect(clippy::cast_precision_loss, reason = "a group is far smaller than 2^52")]
        self.group_records.observe(group.len() as f64);
        self.appended_total.inc_by(group.len() as u64);
    }
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
