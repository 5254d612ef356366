//! The breakers' metrics, read when they are asked for: a state may change by time alone.

use orderly_domain::breaker::{Breakers, State};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

/// Gauge by `dependency`: 0 while its breaker is closed, 1 half-open, 2 open.
pub const BREAKER_STATE: &str = "orderly_breaker_state";
/// Counter by `dependency`: times that its breaker opened after it was closed.
pub const BREAKER_OPENED_TOTAL: &str = "orderly_breaker_opened_total";
/// Counter by `dependency`: calls that its breaker refused.
pub const BREAKER_REFUSED_TOTAL: &str = "orderly_breaker_refused_total";

const DEPENDENCY: &[&str] = &["dependency"];

struct Metrics {
    breakers: Breakers,
    state: IntGaugeVec,
    opened: IntCounterVec,
    refused: IntCounterVec,
}

pub(super) fn register(breakers: Breakers, registry: &Registry) -> Result<(), prometheus::Error> {
    let counters = |name: &str, help: &str| IntCounterVec::new(Opts::new(name, help), DEPENDENCY);
    let help = "0 while the breaker of a dependency is closed, 1 half-open, 2 open.";
    registry.register(Box::new(Metrics {
        breakers,
        state: IntGaugeVec::new(Opts::new(BREAKER_STATE, help), DEPENDENCY)?,
        opened: counters(BREAKER_OPENED_TOTAL, "Times that the breaker of a dependency opened.")?,
        refused: counters(BREAKER_REFUSED_TOTAL, "Calls that the breaker of a dependency refused.")?,
    }))
}

impl Collector for Metrics {
    fn desc(&self) -> Vec<&Desc> {
        [self.state.desc(), self.opened.desc(), self.refused.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for breaker in self.breakers.iter() {
            let now = breaker.snapshot();
            let state = match now.state {
                State::Closed => 0,
                State::HalfOpen => 1,
                State::Open => 2,
            };
            let name = &[now.name];
            self.state.with_label_values(name).set(state);
            for (counters, value) in [(&self.opened, now.opened_total), (&self.refused, now.refused_total)] {
                let counter = counters.with_label_values(name);
                counter.inc_by(value.saturating_sub(counter.get()));
            }
        }
        [self.state.collect(), self.opened.collect(), self.refused.collect()].concat()
    }
}
