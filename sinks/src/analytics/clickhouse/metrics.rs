//! What analytics measure.

use orderly_domain::port;
use prometheus::{Histogram, HistogramOpts, IntCounter, Registry};

use crate::metrics::{ANALYTICS_APPEND_SECONDS, ANALYTICS_APPENDED_ROWS, ANALYTICS_REPORT_SECONDS};

#[derive(Clone, Debug)]
pub(super) struct Metrics {
    pub(super) append_seconds: Histogram,
    pub(super) appended_rows: IntCounter,
    pub(super) report_seconds: Histogram,
}

impl Metrics {
    /// Makes the metrics and shows them on a registry.
    pub(super) fn register(registry: &Registry) -> port::Result<Self> {
        let show = || -> prometheus::Result<Self> {
            let buckets = prometheus::exponential_buckets(0.001, 2.0, 17)?;
            let histogram = |name, help| Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.clone()));
            let metrics = Self {
                append_seconds: histogram(ANALYTICS_APPEND_SECONDS, "Time of an append to analytics.")?,
                appended_rows: IntCounter::new(ANALYTICS_APPENDED_ROWS, "Rows that arrived in analytics.")?,
                report_seconds: histogram(ANALYTICS_REPORT_SECONDS, "Time of a report, waits included.")?,
            };
            registry.register(Box::new(metrics.append_seconds.clone()))?;
            registry.register(Box::new(metrics.appended_rows.clone()))?;
            registry.register(Box::new(metrics.report_seconds.clone()))?;
            Ok(metrics)
        };
        show().map_err(|error| {
            port::Error::DidNotHappen(format!("metrics: {error}; open analytics once for each registry"))
        })
    }
}
