//! What the fan-out measures.

use orderly_domain::port;
use prometheus::{Histogram, HistogramOpts, IntCounter, Registry};

use crate::metrics::{FANOUT_GAPS_TOTAL, FANOUT_PUBLISH_SECONDS};

#[derive(Clone, Debug)]
pub(super) struct Metrics {
    pub(super) publish_seconds: Histogram,
    pub(super) gaps: IntCounter,
}

impl Metrics {
    /// Metrics that are shown on `registry`.
    pub(super) fn register(registry: &Registry) -> port::Result<Self> {
        let open = || {
            let seconds = prometheus::exponential_buckets(0.000_1, 2.0, 16)?;
            let publish = HistogramOpts::new(FANOUT_PUBLISH_SECONDS, "Time until Redis has a batch, waits included.");
            let metrics = Self {
                publish_seconds: Histogram::with_opts(publish.buckets(seconds))?,
                gaps: IntCounter::new(
                    FANOUT_GAPS_TOTAL,
                    "Times that the reader of the fan-out may have missed something.",
                )?,
            };
            registry.register(Box::new(metrics.publish_seconds.clone()))?;
            registry.register(Box::new(metrics.gaps.clone()))?;
            Ok(metrics)
        };
        open().map_err(|error: prometheus::Error| {
            port::Error::DidNotHappen(format!("metrics: {error}; open one fan-out for each registry"))
        })
    }
}
