//! The global limit, divided into lanes.

use std::sync::Arc;

use governor::clock::Clock;

use super::Throttled;
use super::limits::{Keyed, Make};
use super::policy::{Kind, Lane, Policy, Rate};

/// The key of a pool, which has only one.
const ONLY: u64 = 0;

/// What everybody draws on, and what is kept for members. Together they are the global limit: whatever is drawn where, no
/// more than that is let in.
pub(super) struct Pools<C: Clock> {
    whole: Rate,
    common: Arc<Keyed<C>>,
    lanes: Vec<(Lane, Arc<Keyed<C>>)>,
}

impl<C: Clock + Clone> Pools<C> {
    /// The pools of a policy: those of `before` where their numbers are the same, else with what those have left. A lane that
    /// is new among them begins empty: what it would have was given to everybody.
    pub(super) fn new(policy: &Policy, before: Option<&Self>, make: &Make<'_, C>) -> Option<Self> {
        let whole = policy.limits.global?;
        let lanes = &policy.lanes;
        let kept: f64 = lanes.iter().map(|lane| lane.share).sum();
        let pool = |rate: Rate, old: Option<&Arc<Keyed<C>>>| {
            if let Some(same) = old.filter(|old| old.rate == rate) {
                return Some(Arc::clone(same));
            }
            let pool = Keyed::new(Kind::Global, rate, 1, &[], make)?;
            match old {
                Some(old) => pool.take_over(ONLY, old),
                None if before.is_some() => pool.empty(ONLY),
                None => {}
            }
            Some(pool)
        };
        let common = pool(whole.part(1.0 - kept), before.map(|before| &before.common))?;
        let lane = |lane: &Lane| {
            let old = before.and_then(|before| before.lanes.iter().find(|(known, _)| known.name == lane.name));
            Some((lane.clone(), pool(whole.part(lane.share), old.map(|(_, pool)| pool))?))
        };
        Some(Self { whole, common, lanes: lanes.iter().map(lane).collect::<Option<_>>()? })
    }
}

impl<C: Clock> Pools<C> {
    /// Draws on the member's own lane, then on what is everybody's, then on what lanes leave unused.
    pub(super) fn take(&self, level: Option<&str>) -> Result<(), Throttled> {
        let mut own = None;
        if let Some(level) = level {
            own = self.lanes.iter().position(|(lane, _)| lane.levels.iter().any(|known| known == level));
        }
        if own.is_some_and(|own| self.lanes[own].1.take(ONLY).is_ok()) {
            return Ok(());
        }
        let refused = match self.common.take(ONLY) {
            Ok(_) => return Ok(()),
            Err(refused) => refused,
        };
        let others = self.lanes.iter().enumerate().filter(|(index, _)| Some(*index) != own);
        for (_, (_, pool)) in others {
            // Half of the burst stays: members who come now find a lane that was lent to be theirs.
            if let Ok(drawn) = pool.take(ONLY) {
                if drawn.allowance.remaining >= pool.rate.burst / 2 {
                    return Ok(());
                }
                pool.give_back(ONLY, drawn);
            }
        }
        Err(Throttled { rate_per_s: self.whole.rate_per_s, burst: self.whole.burst, ..refused })
    }
}
