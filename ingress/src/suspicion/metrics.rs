//! What suspicion and its challenges measure.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::signal::{Signal, Who};
use crate::metrics::{
    SUSPICION_ANSWERS, SUSPICION_CHALLENGES_TOTAL, SUSPICION_EVICTED_TOTAL, SUSPICION_KEYS, SUSPICION_SIGNALS_TOTAL,
};

pub(crate) struct Metrics {
    signals: [[IntCounter; Signal::COUNT]; 2],
    keys: IntGaugeVec,
    evicted: IntCounterVec,
    challenges: IntCounterVec,
    pub(crate) answers: IntGauge,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let of_whom = &["of"];
        let opts = Opts::new(SUSPICION_SIGNALS_TOTAL, "Signals counted, by whom they are of and what they are.");
        let signals = IntCounterVec::new(opts, &["of", "signal"])?;
        let opts = Opts::new(SUSPICION_KEYS, "Patients and addresses that have a meter of their own.");
        let keys = IntGaugeVec::new(opts, of_whom)?;
        let opts = Opts::new(SUSPICION_EVICTED_TOTAL, "Meters that made room while they counted something.");
        let evicted = IntCounterVec::new(opts, of_whom)?;
        let opts = Opts::new(SUSPICION_CHALLENGES_TOTAL, "Challenges, by what became of them.");
        let challenges = IntCounterVec::new(opts, &["outcome"])?;
        let answers = IntGauge::new(SUSPICION_ANSWERS, "Answers remembered, so that none is taken twice.")?;
        registry.register(Box::new(signals.clone()))?;
        registry.register(Box::new(keys.clone()))?;
        registry.register(Box::new(evicted.clone()))?;
        registry.register(Box::new(challenges.clone()))?;
        registry.register(Box::new(answers.clone()))?;
        let of = |who: Who| who.signals().map(|signal| signals.with_label_values(&[who.as_str(), signal.as_str(who)]));
        Ok(Self { signals: [of(Who::Patient), of(Who::Address)], keys, evicted, challenges, answers })
    }

    pub(super) fn signal(&self, who: Who, signal: Signal) {
        self.signals[who as usize][signal.index()].inc();
    }

    pub(super) fn keys(&self, who: Who) -> IntGauge {
        self.keys.with_label_values(&[who.as_str()])
    }

    pub(super) fn evicted(&self, who: Who) -> IntCounter {
        self.evicted.with_label_values(&[who.as_str()])
    }

    /// `issued`, `passed`, or why an answer was refused.
    pub(crate) fn challenge(&self, outcome: &str) {
        self.challenges.with_label_values(&[outcome]).inc();
    }
}
