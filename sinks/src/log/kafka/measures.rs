//! What the log measures.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

use crate::kafka::Observer;
use crate::metrics;

/// Shared with the registry that they were registered on.
#[derive(Clone)]
pub(super) struct Measures {
    append_seconds: Histogram,
    appended_total: IntCounter,
    failed_total: IntCounter,
    restarted_total: IntCounter,
    queue_length: IntGauge,
    pub(super) read_ahead_records: IntGauge,
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
        .buckets(prometheus::exponential_buckets(0.000_25, 2.0, 18)?);
        let counter = |name: &str, help: &str| registered(registry, IntCounter::new(name, help)?);
        let gauge = |name: &str, help: &str| registered(registry, IntGauge::new(name, help)?);
        Ok(Self {
            append_seconds: registered(registry, Histogram::with_opts(append_seconds)?)?,
            appended_total: counter(metrics::LOG_APPENDED_TOTAL, "Records that the intent log took since the start.")?,
            failed_total: counter(
                metrics::LOG_FAILED_TOTAL,
                "Records that the intent log did not take, or may have taken.",
            )?,
            restarted_total: counter(
                metrics::LOG_PRODUCER_RESTARTED_TOTAL,
                "How often the intent log's producer was made again.",
            )?,
            queue_length: gauge(metrics::LOG_QUEUE_LENGTH, "How many requests waited for the intent log's writer.")?,
            read_ahead_records: gauge(
                metrics::LOG_READ_AHEAD_RECORDS,
                "Records that were read from the intent log and not handed out yet.",
            )?,
        })
    }
}

impl Observer for Measures {
    fn delivered(&self, took: Duration) {
        self.append_seconds.observe(took.as_secs_f64());
        self.appended_total.inc();
    }

    fn failed(&self) {
        self.failed_total.inc();
    }

    fn waiting(&self, records: usize) {
        self.queue_length.set(i64::try_from(records).unwrap_or(i64::MAX));
    }

    fn restarted(&self) {
        self.restarted_total.inc();
    }
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
