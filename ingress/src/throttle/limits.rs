//! The limits in force, each with its state.

use std::num::NonZeroU32;
use std::sync::Arc;

use governor::clock::{Clock, Reference as _};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::{NotUntil, RateLimiter};
use rustc_hash::FxHashMap;

use super::cells::Cells;
use super::metrics::Metrics;
use super::policy::{Kind, Phase, Policy, Rate};
use super::pools::Pools;
use super::share::{Share, UNITS};
use super::succession::{Bucket, Replaced, Succession};
use super::{Allowance, Throttled};

/// The limit of each key of a kind.
pub(super) struct Keyed<C: Clock> {
    kind: Kind,
    pub(super) rate: Rate,
    keys_max: u32,
    /// Units that a request costs with all of the share.
    units: u32,
    bucket: Bucket,
    cells: Cells,
    start: C::Instant,
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
    /// A limit that takes the place of others; `None` for a rate that no policy may have.
    pub(super) fn new(
        kind: Kind,
        rate: Rate,
        keys_max: u32,
        replaced: &[Arc<Self>],
        make: &Make<'_, C>,
    ) -> Option<Arc<Self>> {
        let units = if kind.is_shared() { UNITS } else { 1 };
        let quota = rate.quota(units)?;
        let bucket = Bucket { interval: quota.replenish_interval().into(), burst: quota.burst_size().get() };
        for limit in replaced {
            // Otherwise each change would keep all limits that ever were.
            limit.cells.settle(limit.now());
        }
        let name = kind.as_str();
        let cells = Cells::new(
            keys_max as usize,
            Succession::of(replaced.iter().map(|limit| limit.replaced()).collect(), bucket),
            make.metrics.keys.with_label_values(&[name]),
            make.metrics.overflowed.with_label_values(&[name]),
        );
        let limiter = RateLimiter::new(quota, cells.clone(), make.clock.clone());
        let (start, share) = (make.clock.now(), Arc::clone(make.share));
        Some(Arc::new(Self { kind, rate, keys_max, units, bucket, cells, start, limiter, share }))
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
        self.cells.give_back(key, self.bucket.interval * u64::from(drawn.units));
    }

    /// Takes over at once what a key owes to a limit that no longer holds for it.
    pub(super) fn take_over(&self, key: u64, from: &Self) {
        let missing = from.replaced().handed_to(self.bucket, key);
        if missing > Nanos::default() {
            self.cells.owe(key, self.now() + missing);
        }
    }

    /// The same of every key that is known there.
    fn take_over_all(&self, from: &Self) {
        // Who has not come since that one began owes to those before it.
        from.cells.settle(from.now());
        from.cells.known().into_iter().for_each(|key| self.take_over(key, from));
    }

    /// Begins without anything left.
    pub(super) fn empty(&self, key: u64) {
        self.cells.owe(key, self.now() + self.bucket.filled_in());
    }

    /// Forgets the keys whose allowance is full again.
    pub(super) fn sweep(&self) {
        self.limiter.retain_recent();
        self.cells.let_go(self.now());
    }

    /// The time on its own clock.
    fn now(&self) -> Nanos {
        self.limiter.clock().now().duration_since(self.start)
    }

    fn replaced(&self) -> Replaced {
        Replaced { cells: self.cells.clone(), bucket: self.bucket, at: self.now() }
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
    /// The limits of one kind under a policy. Those whose numbers are the same in `before` are taken over with their state;
    /// the others begin with what is left of those that they replace.
    fn new(kind: Kind, policy: &Policy, before: Option<&Self>, make: &Make<'_, C>) -> Self {
        let keys_max = policy.keys_max;
        let rates = [Phase::Before, Phase::Rush, Phase::After]
            .map(|phase| policy.phases.get(phase).get(kind).or(policy.limits.get(kind)));
        let old = before.map(|before| &before.phases);
        let mut made: Vec<Arc<Keyed<C>>> = Vec::new();
        let phases = [0, 1, 2].map(|phase| {
            let rate = rates[phase]?;
            // Phases of the same numbers share one limit, so that what was drawn in one is drawn in the next.
            let own = old.and_then(|old| old[phase].clone());
            let others = old.into_iter().flatten().flatten().cloned();
            let mut same = own.into_iter().chain(made.iter().cloned()).chain(others);
            let limit = same.find(|limit| limit.is_of(rate, keys_max)).or_else(|| {
                let sharing = (0..Phase::COUNT).filter(|other| rates[*other] == Some(rate));
                let replaced = distinct(sharing.filter_map(|other| old?[other].as_ref()));
                Keyed::new(kind, rate, keys_max, &replaced, make)
            })?;
            made.push(Arc::clone(&limit));
            Some(limit)
        });
        if let Some(old) = old {
            for new in phases.iter().flatten() {
                let is_new = !old.iter().flatten().any(|old| Arc::ptr_eq(old, new));
                // What is drawn later on a limit that goes on elsewhere is no debt of the one that was parted from it.
                if is_new && old.iter().flatten().any(|old| phases.iter().flatten().any(|new| Arc::ptr_eq(old, new))) {
                    new.cells.settle(new.now());
                }
            }
            let is_kept = |limit: &Arc<Keyed<C>>| old.iter().flatten().any(|old| Arc::ptr_eq(old, limit));
            for (old, new) in old.iter().zip(&phases) {
                if let (Some(old), Some(new)) = (old, new)
                    && !Arc::ptr_eq(old, new)
                    && is_kept(new)
                {
                    new.take_over_all(old);
                }
            }
        }
        let mut exceptions = FxHashMap::default();
        for exception in policy.exceptions.iter().filter(|exception| exception.limit == kind) {
            let key = (make.hash)(&exception.key);
            let (rate, old_one) = (exception.rate(), before.and_then(|before| before.exceptions.get(&key)));
            let same = old_one.filter(|limit| limit.is_of(rate, 1)).cloned();
            let limit = same.or_else(|| {
                let limit = Keyed::new(kind, rate, 1, &[], make)?;
                match old_one {
                    Some(old_one) => limit.take_over(key, old_one),
                    None => old.into_iter().flatten().flatten().for_each(|old| limit.take_over(key, old)),
                }
                Some(limit)
            });
            exceptions.extend(limit.map(|limit| (key, limit)));
        }
        let ended = before.into_iter().flat_map(|before| &before.exceptions);
        for (key, exception) in ended.filter(|(key, _)| !exceptions.contains_key(key)) {
            phases.iter().flatten().for_each(|limit| limit.take_over(*key, exception));
        }
        Self { phases, exceptions }
    }
}

/// Each limit once.
fn distinct<'a, C: Clock + 'a>(limits: impl Iterator<Item = &'a Arc<Keyed<C>>>) -> Vec<Arc<Keyed<C>>> {
    let mut distinct: Vec<Arc<Keyed<C>>> = Vec::new();
    for limit in limits {
        if !distinct.iter().any(|known| Arc::ptr_eq(known, limit)) {
            distinct.push(Arc::clone(limit));
        }
    }
    distinct
}

/// A policy and its limits.
pub(super) struct Limits<C: Clock> {
    /// The document.
    pub(super) policy: Arc<Policy>,
    /// Which entries of its schedule hold.
    pub(super) scheduled: Vec<usize>,
    /// What the document amounts to while they do.
    pub(super) in_force: Arc<Policy>,
    /// In the order of [`Kind::KEYED`].
    pub(super) tiers: [Tier<C>; Kind::KEYED.len()],
    pub(super) global: Option<Pools<C>>,
    /// Those that forget idle keys, in turn.
    pub(super) swept: Vec<Arc<Keyed<C>>>,
}

impl<C: Clock + Clone> Limits<C> {
    /// The limits of a valid policy, some of whose schedule holds. Nobody gains by the change from `before`.
    pub(super) fn new(policy: Arc<Policy>, scheduled: Vec<usize>, before: Option<&Self>, make: &Make<'_, C>) -> Self {
        let in_force = if scheduled.is_empty() { Arc::clone(&policy) } else { Arc::new(policy.during(&scheduled)) };
        let mut index = 0;
        let tiers = Kind::KEYED.map(|kind| {
            let tier = Tier::new(kind, &in_force, before.map(|before| &before.tiers[index]), make);
            index += 1;
            tier
        });
        let global = Pools::new(&in_force, before.and_then(|before| before.global.as_ref()), make);
        let swept = distinct(tiers.iter().flat_map(|tier| tier.phases.iter().flatten()));
        Self { policy, scheduled, in_force, tiers, global, swept }
    }
}
