//! The throttle's metrics.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

/// Counter by `limit`: requests that were refused.
pub const THROTTLED_TOTAL: &str = "orderly_ingress_throttled_total";
/// Gauge by `limit`: keys that have an allowance of their own.
pub const KEYS: &str = "orderly_ingress_throttle_keys";
/// Counter by `limit`: times that a key was not remembered because the limit had `keys_max` already.
pub const KEYS_OVERFLOWED_TOTAL: &str = "orderly_ingress_throttle_keys_overflowed_total";

#[derive(Clone, Debug)]
pub(super) struct Metrics {
    pub(super) throttled: IntCounterVec,
    pub(super) keys: IntGaugeVec,
    pub(super) overflowed: IntCounterVec,
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let by_limit = &["limit"];
        let metrics = Self {
            throttled: IntCounterVec::new(Opts::new(THROTTLED_TOTAL, "Requests refused, by limit."), by_limit)?,
            keys: IntGaugeVec::new(Opts::new(KEYS, "Keys with an allowance of their own, by limit."), by_limit)?,
            overflowed: IntCounterVec::new(
                Opts::new(KEYS_OVERFLOWED_TOTAL, "Requests whose key shared an allowance, by limit."),
                by_limit,
            )?,
        };
        registry.register(Box::new(metrics.throttled.clone()))?;
        registry.register(Box::new(metrics.keys.clone()))?;
        registry.register(Box::new(metrics.overflowed.clone()))?;
        Ok(metrics)
    }
}
