//! What the trail measures.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

use crate::metrics::{
    AUDIT_APPEND_SECONDS, AUDIT_ENTRIES_TOTAL, AUDIT_FAILED_TOTAL, AUDIT_QUEUE_ENTRIES, AUDIT_SUMMED_TOTAL, AUDIT_UP,
};

#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) entries: IntCounter,
    pub(crate) append: Histogram,
    pub(crate) queue: IntGauge,
    pub(crate) up: IntGauge,
    pub(crate) failed: IntCounter,
    pub(crate) summed: IntCounter,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let seconds = prometheus::exponential_buckets(0.000_25, 2.0, 16)?;
        let append = HistogramOpts::new(AUDIT_APPEND_SECONDS, "From a group's append to its being durable.");
        let metrics = Self {
            entries: IntCounter::new(AUDIT_ENTRIES_TOTAL, "Entries that this process wrote into the audit trail.")?,
            append: Histogram::with_opts(append.buckets(seconds))?,
            queue: IntGauge::new(
                AUDIT_QUEUE_ENTRIES,
                "Calls that are under way and entries that wait, of audited calls.",
            )?,
            up: IntGauge::new(AUDIT_UP, "1 while the audit trail can be written, as far as is known; else 0.")?,
            failed: IntCounter::new(AUDIT_FAILED_TOTAL, "Appends to the audit trail that failed.")?,
            summed: IntCounter::new(AUDIT_SUMMED_TOTAL, "Calls that the audit trail tells by their number only.")?,
        };
        registry.register(Box::new(metrics.entries.clone()))?;
        registry.register(Box::new(metrics.append.clone()))?;
        registry.register(Box::new(metrics.queue.clone()))?;
        registry.register(Box::new(metrics.up.clone()))?;
        registry.register(Box::new(metrics.failed.clone()))?;
        registry.register(Box::new(metrics.summed.clone()))?;
        Ok(metrics)
    }
}
