//! What the store measures.

use orderly_domain::port;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

use crate::metrics::{
    STORE_COMMIT_ROWS, STORE_COMMIT_SECONDS, STORE_CORRECTIONS, STORE_QUEUE_CALLS, STORE_READ_SECONDS,
};

#[derive(Clone, Debug)]
pub(super) struct Metrics {
    pub(super) commit_seconds: Histogram,
    pub(super) commit_rows: Histogram,
    pub(super) corrections: IntCounter,
    pub(super) read_seconds: Histogram,
    pub(super) queue_calls: IntGauge,
}

impl Metrics {
    /// Metrics that nobody sees until they are registered.
    pub(super) fn new() -> prometheus::Result<Self> {
        let seconds = prometheus::exponential_buckets(0.000_25, 2.0, 16)?;
        let rows = prometheus::exponential_buckets(1.0, 4.0, 9)?;
        let histogram = |name, help, buckets| Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets));
        Ok(Self {
            commit_seconds: histogram(
                STORE_COMMIT_SECONDS,
                "Time of a commit in the store, from its start to the disk.",
                seconds.clone(),
            )?,
            commit_rows: histogram(STORE_COMMIT_ROWS, "Decisions in a commit.", rows)?,
            corrections: IntCounter::new(STORE_CORRECTIONS, "Decisions that the store turned into refusals.")?,
            read_seconds: histogram(STORE_READ_SECONDS, "Time of a read in the store, waits included.", seconds)?,
            queue_calls: IntGauge::new(STORE_QUEUE_CALLS, "Calls that wait for the store's writer.")?,
        })
    }

    /// Shows them.
    pub(super) fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.commit_seconds.clone()))?;
        registry.register(Box::new(self.commit_rows.clone()))?;
        registry.register(Box::new(self.corrections.clone()))?;
        registry.register(Box::new(self.read_seconds.clone()))?;
        registry.register(Box::new(self.queue_calls.clone()))
    }
}

/// A store whose metrics cannot be shown is not opened.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
pub(super) fn unregistered(error: prometheus::Error) -> port::Error {
    port::Error::DidNotHappen(format!("metrics: {error}; open one store for each registry"))
}
