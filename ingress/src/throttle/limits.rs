//! The limits in force, each with its state.

use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::{NoOpMiddleware, StateInformationMiddleware};
use governor::state::{InMemoryState, NotKeyed};
use governor::{NotUntil, RateLimiter};

use super::cells::Cells;
use super::metrics::Metrics;
use super::policy::{Policy, Rate};
use super::{Allowance, Throttled};

/// The limit of all requests together.
pub(super) struct Global<C: Clock> {
    rate: Rate,
    limiter: RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>,
}

impl<C: Clock> Global<C> {
    pub(super) fn take(&self) -> Result<(), Throttled> {
        self.limiter.check().map_err(|until| refusal("global", self.rate, &until, self.limiter.clock()))
    }
}

/// The limit of each key of a kind.
pub(super) struct Keyed<C: Clock> {
    name: &'static str,
    rate: Rate,
    keys_max: u32,
    interval: Duration,
    cells: Cells,
    limiter: RateLimiter<u64, Cells, C, StateInformationMiddleware>,
}

impl<C: Clock> Keyed<C> {
    pub(super) fn take(&self, key: u64) -> Result<Allowance, Throttled> {
        match self.limiter.check_key(&key) {
            Ok(state) => Ok(Allowance { rate: self.rate, remaining: state.remaining_burst_capacity() }),
            Err(until) => Err(refusal(self.name, self.rate, &until, self.limiter.clock())),
        }
    }

    pub(super) fn give_back(&self, key: u64) {
        self.cells.give_back(key, self.interval.into());
    }

    /// Forgets the keys whose allowance is full again.
    pub(super) fn sweep(&self) {
        self.limiter.retain_recent();
    }
}

fn refusal<C: Clock>(limit: &'static str, rate: Rate, until: &NotUntil<C::Instant>, clock: &C) -> Throttled {
    Throttled { limit, rate_per_s: rate.rate_per_s, burst: rate.burst, retry_after: until.wait_time_from(clock.now()) }
}

/// A policy and its limits; `None` where the policy has none.
pub(super) struct Limits<C: Clock> {
    pub(super) policy: Arc<Policy>,
    pub(super) global: Option<Arc<Global<C>>>,
    pub(super) address: Option<Arc<Keyed<C>>>,
    pub(super) doctor: Option<Arc<Keyed<C>>>,
    pub(super) patient: Option<Arc<Keyed<C>>>,
}

impl<C: Clock + Clone> Limits<C> {
    /// The limits of a valid policy. Those whose numbers are the same in `before` are taken over with their state.
    pub(super) fn new(policy: Arc<Policy>, before: Option<&Self>, clock: &C, metrics: &Metrics) -> Self {
        let keyed = |name: &'static str, rate: Option<Rate>, before: Option<&Arc<Keyed<C>>>| {
            let rate = rate?;
            if let Some(same) = before.filter(|old| old.rate == rate && old.keys_max == policy.keys_max) {
                return Some(Arc::clone(same));
            }
            let quota = rate.quota()?;
            let cells = Cells::new(
                policy.keys_max as usize,
                metrics.keys.with_label_values(&[name]),
                metrics.overflowed.with_label_values(&[name]),
            );
            Some(Arc::new(Keyed {
                name,
                rate,
                keys_max: policy.keys_max,
                interval: quota.replenish_interval(),
                cells: cells.clone(),
                limiter: RateLimiter::new(quota, cells, clock.clone()),
            }))
        };
        let global = |rate: Option<Rate>, before: Option<&Arc<Global<C>>>| {
            let rate = rate?;
            if let Some(same) = before.filter(|old| old.rate == rate) {
                return Some(Arc::clone(same));
            }
            let limiter = RateLimiter::direct_with_clock(rate.quota()?, clock.clone());
            Some(Arc::new(Global { rate, limiter }))
        };
        let limits = &policy.limits;
        Self {
            global: global(limits.global, before.and_then(|before| before.global.as_ref())),
            address: keyed("address", limits.address, before.and_then(|before| before.address.as_ref())),
            doctor: keyed("doctor", limits.doctor, before.and_then(|before| before.doctor.as_ref())),
            patient: keyed("patient", limits.patient, before.and_then(|before| before.patient.as_ref())),
            policy,
        }
    }
}
