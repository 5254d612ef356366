//! What the ledger measures.

use orderly_domain::port;
use prometheus::{Histogram, HistogramOpts, IntGauge, Registry};

use crate::metrics::{LEDGER_CALL_COMMANDS, LEDGER_CALL_SECONDS, LEDGER_KNOWN_SESSIONS};

#[derive(Clone, Debug)]
pub(super) struct Metrics {
    pub(super) call_seconds: Histogram,
    pub(super) call_commands: Histogram,
    pub(super) known_sessions: IntGauge,
}

impl Metrics {
    /// Metrics that are shown on `registry`.
    pub(super) fn register(registry: &Registry) -> port::Result<Self> {
        let open = || {
            let seconds = prometheus::exponential_buckets(0.000_1, 2.0, 16)?;
            let commands = prometheus::exponential_buckets(1.0, 2.0, 9)?;
            let histogram = |name, help, buckets| Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets));
            let metrics = Self {
                call_seconds: histogram(
                    LEDGER_CALL_SECONDS,
                    "Time of a call of the ledger's scripts in Redis, waits included.",
                    seconds,
                )?,
                call_commands: histogram(LEDGER_CALL_COMMANDS, "Commands in a call of the ledger in Redis.", commands)?,
                known_sessions: IntGauge::new(LEDGER_KNOWN_SESSIONS, "Sessions whose version is remembered.")?,
            };
            registry.register(Box::new(metrics.call_seconds.clone()))?;
            registry.register(Box::new(metrics.call_commands.clone()))?;
            registry.register(Box::new(metrics.known_sessions.clone()))?;
            Ok(metrics)
        };
        open().map_err(|error: prometheus::Error| {
            port::Error::DidNotHappen(format!("metrics: {error}; open one ledger for each registry"))
        })
    }
}
