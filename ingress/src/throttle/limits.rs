//! The limits in force, each with its state.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::{NotUntil, RateLimiter};
use rustc_hash::FxHashMap;

use super::cells::Cells;
use super::metrics::Metrics;
use super::policy::{Exception, Kind, Phase, Policy, Rate};
use super::pools::Pools;
use super::share::{Share, UNITS};
use super::{Allowance, Throttled};

/// The limit of each key of a kind.
pub(super) struct Keyed<C: Clock> {
    kind: Kind,
    pub(super) rate: Rate,
    keys_max: u32,
    /// Units that a request costs with all of the share.
    units: u32,
    /// How long one unit takes to refill.
    interval: Duration,
    cells: Cells,
    limiter: RateLimiter<u64, Cells, C, StateInformationMiddleware>,
    share: Arc<Share>,
}

/// What was drawn, and can be given back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drawn {
    pub(super) allowance: Allowance,
    units: u32,
}

impl<C: Clock + Clone> Keyed<C> {
    /// `None` for a rate that no policy may have.
    pub(super) fn new(kind: Kind, rate: Rate, keys_max: u32, make: &Make<'_, C>) -> Option<Arc<Self>> {
        let units = if kind.is_shared() { UNITS } else { 1 };
        let quota = rate.quota(units)?;
        let name = kind.as_str();
        let cells = Cells::new(
            keys_max as usize,
            make.metrics.keys.with_label_values(&[name]),
            make.metrics.overflowed.with_label_values(&[name]),
        );
        let limiter = RateLimiter::new(quota, cells.clone(), make.clock.clone());
        let (interval, share) = (quota.replenish_interval(), Arc::clone(make.share));
        Some(Arc::new(Self { kind, rate, keys_max, units, interval, cells, limiter, share }))
    }
}

impl<C: Clock> Keyed<C> {
    pub(super) fn take(&self, key: u64) -> Result<Drawn, Throttled> {
        let most = self.rate.burst.saturating_mul(self.units);
        // A burst smaller than the number of nodes cannot be divided: one request draws all of it.
        let units = if self.units == 1 { 1 } else { self.share.cost().min(most) };
        let cost = NonZeroU32::new(units).expect("a share costs at least its units");
        let checked = self.limiter.check_key_n(&key, cost).expect("a request costs at most the burst");
        match checked {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity() / units;
                Ok(Drawn { allowance: Allowance { rate: self.rate, remaining }, units })
            }
            Err(until) => Err(self.refusal(&until)),
        }
    }

    pub(super) fn give_back(&self, key: u64, drawn: Drawn) {
        self.cells.give_back(key, (self.interval * drawn.units).into());
    }

    /// Forgets the keys whose allowance is full again.
    pub(super) fn sweep(&self) {
        self.limiter.retain_recent();
    }

    fn is_of(&self, rate: Rate, keys_max: u32) -> bool {
        self.rate == rate && self.keys_max == keys_max
    }

    fn refusal(&self, until: &NotUntil<C::Instant>) -> Throttled {
        let Rate { rate_per_s, burst } = self.rate;
        let retry_after = until.wait_time_from(self.limiter.clock().now());
        Throttled { limit: self.kind, rate_per_s, burst, retry_after }
    }
}

/// What limits are made with.
pub(super) struct Make<'a, C> {
    pub(super) clock: &'a C,
    pub(super) metrics: &'a Metrics,
    pub(super) share: &'a Arc<Share>,
    /// Hashes a key of a kind.
    pub(super) hash: &'a dyn Fn(&str) -> u64,
}

/// The limits of one kind.
pub(super) struct Tier<C: Clock> {
    phases: [Option<Arc<Keyed<C>>>; Phase::COUNT],
    exceptions: FxHashMap<u64, Arc<Keyed<C>>>,
}

impl<C: Clock> Tier<C> {
    /// The one that holds for a key.
    pub(super) fn of(&self, key: u64, phase: Phase) -> Option<&Keyed<C>> {
        // Most policies have no exceptions; the map is not asked then.
        let exception = if self.exceptions.is_empty() { None } else { self.exceptions.get(&key) };
        exception.or(self.phases[phase.index()].as_ref()).map(|limit| &**limit)
    }
}

impl<C: Clock + Clone> Tier<C> {
    fn new(kind: Kind, plan: &Plan<'_>, before: Option<&Self>, make: &Make<'_, C>) -> Self {
        let keys_max = plan.policy.keys_max;
        let mut made: Vec<Arc<Keyed<C>>> = Vec::new();
        let old = |phase: usize| before.and_then(|before| before.phases[phase].clone());
        let phases = [Phase::Before, Phase::Rush, Phase::After].map(|phase| {
            let rate = plan.policy.phases.get(phase).get(kind).or(plan.limits.get(kind))?;
            // Phases of the same numbers share one limit, so that what was drawn in one is drawn in the next.
            let mut same =
                old(phase.index()).into_iter().chain(made.iter().cloned()).chain((0..Phase::COUNT).filter_map(old));
            let limit =
                same.find(|limit| limit.is_of(rate, keys_max)).or_else(|| Keyed::new(kind, rate, keys_max, make))?;
            made.push(Arc::clone(&limit));
            Some(limit)
        });
        let of_kind = plan.policy.exceptions.iter().filter(|exception| exception.limit == kind);
        let exception = |exception: &Exception| {
            let key = (make.hash)(&exception.key);
            let same =
                before.and_then(|before| before.exceptions.get(&key)).filter(|limit| limit.is_of(exception.rate(), 1));
            let limit = same.cloned().or_else(|| Keyed::new(kind, exception.rate(), 1, make))?;
            Some((key, limit))
        };
        Self { phases, exceptions: of_kind.filter_map(exception).collect() }
    }
}

/// What a policy amounts to at some time of the day.
pub(super) struct Plan<'a> {
    pub(super) policy: &'a Policy,
    /// The policy's limits, with those of its schedule that hold.
    pub(super) limits: super::policy::Limits,
}

/// A policy and its limits.
pub(super) struct Limits<C: Clock> {
    pub(super) policy: Arc<Policy>,
    /// Which entries of the schedule hold.
    pub(super) scheduled: Vec<usize>,
    /// In the order of [`Kind::KEYED`].
    pub(super) tiers: [Tier<C>; Kind::KEYED.len()],
    pub(super) global: Option<Pools<C>>,
    /// Those that forget idle keys, in turn.
    pub(super) swept: Vec<Arc<Keyed<C>>>,
}

impl<C: Clock + Clone> Limits<C> {
    /// The limits of a valid policy. Those whose numbers are the same in `before` are taken over with their state.
    pub(super) fn new(policy: Arc<Policy>, scheduled: Vec<usize>, before: Option<&Self>, make: &Make<'_, C>) -> Self {
        let overlay = |limits: super::policy::Limits, index: &usize| {
            policy.schedule.get(*index).map_or(limits.clone(), |entry| limits.overlaid(&entry.limits))
        };
        let limits = scheduled.iter().fold(policy.limits.clone(), overlay);
        let plan = Plan { policy: &policy, limits };
        let mut index = 0;
        let tiers = Kind::KEYED.map(|kind| {
            let tier = Tier::new(kind, &plan, before.map(|before| &before.tiers[index]), make);
            index += 1;
            tier
        });
        let global = Pools::new(&plan, before.and_then(|before| before.global.as_ref()), make);
        let mut swept: Vec<Arc<Keyed<C>>> = Vec::new();
        for limit in tiers.iter().flat_map(|tier| tier.phases.iter().flatten()) {
            if !swept.iter().any(|known| Arc::ptr_eq(known, limit)) {
                swept.push(Arc::clone(limit));
            }
        }
        Self { scheduled, tiers, global, swept, policy }
    }
}
