//! What the throttle measures.

use prometheus::{Gauge, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::metrics::{THROTTLE_KEYS, THROTTLE_KEYS_OVERFLOWED_TOTAL, THROTTLE_SHARE_RATIO, THROTTLED_TOTAL};

#[derive(Clone, Debug)]
pub(super) struct Metrics {
    pub(super) throttled: IntCounterVec,
    pub(super) keys: IntGaugeVec,
    pub(super) overflowed: IntCounterVec,
    pub(super) share: Gauge,
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let by_limit = &["limit"];
        let metrics = Self {
            throttled: IntCounterVec::new(Opts::new(THROTTLED_TOTAL, "Requests refused, by limit."), by_limit)?,
            keys: IntGaugeVec::new(
                Opts::new(THROTTLE_KEYS, "Keys with an allowance of their own, by limit."),
                by_limit,
            )?,
            overflowed: IntCounterVec::new(
                Opts::new(THROTTLE_KEYS_OVERFLOWED_TOTAL, "Requests whose key shared an allowance, by limit."),
                by_limit,
            )?,
            share: Gauge::new(
                THROTTLE_SHARE_RATIO,
                "This node's share of the limits that hold for all nodes together.",
            )?,
        };
        metrics.share.set(1.0);
        registry.register(Box::new(metrics.throttled.clone()))?;
        registry.register(Box::new(metrics.keys.clone()))?;
        registry.register(Box::new(metrics.overflowed.clone()))?;
        registry.register(Box::new(metrics.share.clone()))?;
        Ok(metrics)
    }
}
