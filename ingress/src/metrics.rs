//! The ingress's metrics: every name in one place.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::routes;

/// Requests answered, by method, route and status class.
pub const REQUESTS_TOTAL: &str = "orderly_ingress_requests_total";
/// From a booking's arrival to its 202: what the durable log takes.
pub const ACCEPT_SECONDS: &str = "orderly_ingress_accept_seconds";
/// From the log's taking a record to the moment this node heard its outcome.
pub const DECISION_SECONDS: &str = "orderly_ingress_decision_seconds";
/// Requests and streams that wait for a decision.
pub const WAITERS: &str = "orderly_ingress_waiters";
/// Server-sent event streams that are open.
pub const STREAMS: &str = "orderly_ingress_streams";
/// Connections that are open.
pub const CONNECTIONS: &str = "orderly_ingress_connections";
/// Connections that were cut before their first request was read.
pub const CONNECTIONS_CUT_TOTAL: &str = "orderly_ingress_connections_cut_total";
/// Times that the fan-out said this node missed something.
pub const GAPS_TOTAL: &str = "orderly_ingress_fanout_gaps_total";
/// Retries that were answered without a new record.
pub const RETRIES_TOTAL: &str = "orderly_ingress_retries_total";
/// Requests whose handler panicked.
pub const PANICS_TOTAL: &str = "orderly_ingress_panics_total";
/// Sessions that this node knows.
pub const SESSIONS: &str = "orderly_ingress_sessions";

const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

const SECONDS: [f64; 14] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 10.0, 60.0];

/// The ingress's metrics.
pub(crate) struct Metrics {
    /// By index in [`routes::TABLE`], then by class.
    requests: Vec<[IntCounter; 4]>,
    pub(crate) accept: Histogram,
    pub(crate) decision: Histogram,
    pub(crate) waiters: IntGauge,
    pub(crate) streams: IntGauge,
    pub(crate) connections: IntGauge,
    pub(crate) connections_cut: IntCounter,
    pub(crate) gaps: IntCounter,
    pub(crate) retries: IntCounter,
    pub(crate) panics: IntCounter,
    pub(crate) sessions: IntGauge,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = Opts::new(REQUESTS_TOTAL, "Requests answered, by method, route and status class.");
        let requests = IntCounterVec::new(opts, &["method", "route", "class"])?;
        registry.register(Box::new(requests.clone()))?;
        let counters = |route: &routes::Route| {
            CLASSES.map(|class| requests.with_label_values(&[route.method.as_str(), route.path, class]))
        };
        let histogram = |name: &str, help: &str| -> Result<Histogram, prometheus::Error> {
            let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok(histogram)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        Ok(Self {
            requests: routes::TABLE.iter().map(counters).collect(),
            accept: histogram(ACCEPT_SECONDS, "From a booking's arrival to its 202.")?,
            decision: histogram(DECISION_SECONDS, "From the log's taking a record to hearing its outcome.")?,
            waiters: gauge(WAITERS, "Requests and streams that wait for a decision.")?,
            streams: gauge(STREAMS, "Server-sent event streams that are open.")?,
            connections: gauge(CONNECTIONS, "Connections that are open.")?,
            connections_cut: counter(CONNECTIONS_CUT_TOTAL, "Connections cut before a first request was read.")?,
            gaps: counter(GAPS_TOTAL, "Times that this node missed published decisions and read the store.")?,
            retries: counter(RETRIES_TOTAL, "Retries that were answered without a new record.")?,
            panics: counter(PANICS_TOTAL, "Requests whose handler panicked.")?,
            sessions: gauge(SESSIONS, "Sessions that this node knows.")?,
        })
    }

    pub(crate) fn answered(&self, route: usize, status: axum::http::StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(2, 5) - 2;
        if let Some(counters) = self.requests.get(route) {
            counters[class].inc();
        }
    }
}
