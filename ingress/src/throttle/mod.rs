//! The throttle: who may ask how often. It follows a [`Policy`] that ops can change while requests pass.
//!
//! A request is measured from the narrowest limit to the widest, and costs nothing when it is refused: what the narrower
//! limits gave is given back. So a throttled patient does not use up the campus, nor a sold-out doctor's crowd the hospital.

mod cells;
mod limits;
mod metrics;
mod past;
mod policy;
mod pools;
mod rehearsal;
mod share;
mod succession;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock, Reference as _};
use orderly_domain::{CampusId, DepartmentId, DoctorId, PatientId, Timestamp};

use crate::sync::ArcSwap;

pub use cells::SHARED_CELLS;
use limits::Make;
pub use past::past;
pub use policy::{
    BURST, Day, Exception, KEYS_MAX, Kind, LANES_SHARE_MAX, Lane, Limits, OfAddress, OfPatient, Phase, Phases, Policy,
    RATE_PER_S, Rate, Scheduled, Shed, Suspicion, Weight, Work,
};
pub use rehearsal::{Affected, Arrival, Refused, Rehearsal, most_affected, not_recorded, rehearse};

/// How often one of the keyed limits, in turn, forgets the keys that are idle. A limit of 200,000 keys takes some
/// milliseconds to do so, of the request that finds it due.
const SWEEP_INTERVAL: Duration = Duration::from_secs(2);

/// Who asks, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The client's address; `None` where it is not known, and then not limited.
    pub address: Option<IpAddr>,
    /// The patient: the subject of the token.
    pub patient: &'a PatientId,
    /// The program that asks for the patient, as the token names it.
    pub client: Option<&'a str>,
    /// The patient's member level, as the token names it.
    pub level: Option<&'a str>,
    /// The doctor whose session is asked for.
    pub doctor: &'a DoctorId,
    /// The session's department.
    pub department: &'a DepartmentId,
    /// The session's campus; `None` for a session that is past.
    pub campus: Option<&'a CampusId>,
    /// When the session is released; `None` for one that is past.
    pub release_at: Option<Timestamp>,
    /// The time.
    pub now: Timestamp,
}

/// A request that may go on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Admitted {
    /// What the patient may still ask for; `None` when patients are not limited.
    pub patient: Option<Allowance>,
}

/// What is left of a limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowance {
    /// The limit.
    pub rate: Rate,
    /// Requests that may come at once now.
    pub remaining: u32,
}

/// A request that came too early. Nothing was counted against it.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("the {} limit of {rate_per_s} requests a second is reached; try again in {} ms", limit.as_str(), retry_after.as_micros().div_ceil(1_000))]
pub struct Throttled {
    /// Which limit.
    pub limit: Kind,
    /// Requests a second that it allows, on all nodes together where it is shared.
    pub rate_per_s: f64,
    /// Requests that it allows at once.
    pub burst: u32,
    /// How long until it would admit one request.
    pub retry_after: Duration,
}

/// A throttle that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The policy breaks its rules.
    #[error("the throttle policy cannot be used: {}", .0.join("; "))]
    Policy(Vec<String>),
    /// The metrics are registered already.
    #[error("the throttle's metrics cannot be registered; make one throttle a registry")]
    Metrics(#[from] prometheus::Error),
}

/// The throttle.
pub struct Throttle<C: Clock = DefaultClock> {
    limits: ArcSwap<limits::Limits<C>>,
    /// Keys are kept as keyed hashes: a patient's identity does not lie about here, and nobody can choose keys that
    /// collide.
    hasher: RandomState,
    clock: C,
    start: C::Instant,
    /// Nanoseconds since `start`.
    next_sweep: AtomicU64,
    sweeps: AtomicUsize,
    metrics: metrics::Metrics,
    /// Requests that were measured.
    asked: AtomicU64,
    share: Arc<share::Share>,
}

impl Throttle {
    /// A throttle that follows this policy.
    ///
    /// # Errors
    /// When the policy breaks its rules, or the registry has a throttle already.
    pub fn new(policy: Policy, now: Timestamp, registry: &prometheus::Registry) -> Result<Self, Error> {
        Self::with_clock(policy, now, registry, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Throttle<C> {
    fn with_clock(policy: Policy, now: Timestamp, registry: &prometheus::Registry, clock: C) -> Result<Self, Error> {
        policy.validate().map_err(Error::Policy)?;
        let metrics = metrics::Metrics::register(registry)?;
        let (hasher, share) = (RandomState::new(), Arc::default());
        let hash = |key: &str| hasher.hash_one(key);
        let make = Make { clock: &clock, metrics: &metrics, share: &share, hash: &hash };
        let scheduled = policy.scheduled(now);
        let limits = ArcSwap::from_pointee(limits::Limits::new(Arc::new(policy), scheduled, None, &make));
        Ok(Self {
            limits,
            hasher,
            start: clock.now(),
            clock,
            next_sweep: AtomicU64::new(nanos(SWEEP_INTERVAL)),
            sweeps: AtomicUsize::new(0),
            metrics,
            asked: AtomicU64::new(0),
            share,
        })
    }

    /// Measures a request.
    ///
    /// # Errors
    /// The first limit that it is beyond of; then it has cost nothing.
    pub fn check(&self, subject: Subject<'_>) -> Result<Admitted, Throttled> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let limits = self.limits.load();
        self.sweep_when_due(&limits);
        self.measure(&limits, subject).inspect_err(|throttled| {
            self.metrics.throttled.with_label_values(&[throttled.limit.as_str()]).inc();
        })
    }

    /// Replaces the policy at once. Limits whose numbers stay the same keep their state; in the others everybody has what
    /// they had left, up to the new burst.
    ///
    /// # Errors
    /// [`Error::Policy`] when it breaks its rules; then nothing changes.
    pub fn swap(&self, policy: Policy, now: Timestamp) -> Result<(), Error> {
        policy.validate().map_err(Error::Policy)?;
        let policy = Arc::new(policy);
        self.replace(|_| Arc::clone(&policy), now);
        Ok(())
    }

    /// Lets what the policy has scheduled begin and end. Returns the names of what holds now, if that has changed.
    pub fn keep_time(&self, now: Timestamp) -> Option<Vec<String>> {
        let limits = self.limits.load();
        if limits.policy.scheduled(now) == limits.scheduled {
            return None;
        }
        // Of whatever policy is in force when it is replaced: another may be set at the same moment.
        self.replace(|before| Arc::clone(&before.policy), now);
        Some(self.scheduled())
    }

    /// The policy that was set.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.limits.load().policy)
    }

    /// What holds now: the policy that was set, with what its schedule puts in its place at this time of the day.
    pub fn in_force(&self) -> Arc<Policy> {
        Arc::clone(&self.limits.load().in_force)
    }

    /// The names of the policy's scheduled entries that hold.
    pub fn scheduled(&self) -> Vec<String> {
        let limits = self.limits.load();
        let entries = limits.scheduled.iter().filter_map(|index| limits.policy.schedule.get(*index));
        entries.map(|entry| entry.name.clone()).collect()
    }

    /// How many requests were measured since the start, whatever became of them.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Sets how much of what the policy gives all ingress nodes together is this node's: 0 to 1.
    pub fn set_share(&self, share: f64) {
        self.share.set(share);
        self.metrics.share.set(share);
    }

    /// Replaces the limits in force by those of a policy, at that time of the day.
    fn replace(&self, policy: impl Fn(&limits::Limits<C>) -> Arc<Policy>, now: Timestamp) {
        let hash = |key: &str| self.hasher.hash_one(key);
        let make = Make { clock: &self.clock, metrics: &self.metrics, share: &self.share, hash: &hash };
        self.limits.rcu(|before| {
            let policy = policy(before);
            let scheduled = policy.scheduled(now);
            limits::Limits::new(policy, scheduled, Some(before), &make)
        });
    }

    fn measure(&self, limits: &limits::Limits<C>, subject: Subject<'_>) -> Result<Admitted, Throttled> {
        let phase = subject.release_at.map_or(Phase::After, |at| limits.policy.phases.of(at, subject.now));
        let text = |text: &str| self.hasher.hash_one(text);
        // In the order of `Kind::KEYED`.
        let keys = [
            Some(text(subject.patient.as_str())),
            subject.address.map(|address| self.hasher.hash_one(network(address))),
            Some(text(subject.doctor.as_str())),
            Some(text(subject.department.as_str())),
            subject.campus.map(|campus| text(campus.as_str())),
            subject.client.map(text),
        ];
        let mut drawn = [None; Kind::KEYED.len()];
        let give_back = |drawn: &[Option<_>]| {
            for ((tier, key), drawn) in limits.tiers.iter().zip(keys).zip(drawn) {
                if let (Some(key), Some(drawn)) = (key, *drawn)
                    && let Some(limit) = tier.of(key, phase)
                {
                    limit.give_back(key, drawn);
                }
            }
        };
        for (index, (tier, key)) in limits.tiers.iter().zip(keys).enumerate() {
            if let Some(key) = key
                && let Some(limit) = tier.of(key, phase)
            {
                drawn[index] = Some(limit.take(key).inspect_err(|_| give_back(&drawn))?);
            }
        }
        if let Some(global) = &limits.global {
            global.take(subject.level).inspect_err(|_| give_back(&drawn))?;
        }
        Ok(Admitted { patient: drawn[0].map(|drawn| drawn.allowance) })
    }

    /// Sweeps one of the keyed limits, the next each time, when the interval is over.
    fn sweep_when_due(&self, limits: &limits::Limits<C>) {
        let now = self.clock.now().duration_since(self.start).as_u64();
        let due = self.next_sweep.load(Ordering::Relaxed);
        let next = now.saturating_add(nanos(SWEEP_INTERVAL));
        if now < due || self.next_sweep.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let turn = self.sweeps.fetch_add(1, Ordering::Relaxed);
        if let Some(limit) = limits.swept.get(turn % limits.swept.len().max(1)) {
            limit.sweep();
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What an address counts as: an IPv4 address as itself, an IPv6 address as its /64, of which one client has all.
pub(crate) fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}
