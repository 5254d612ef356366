//! The throttle: who may ask how often. It follows a [`Policy`] that ops can change while requests pass.
//!
//! A request is measured by patient, then address, then doctor, then all together, from the narrowest to the widest, and
//! costs nothing when it is refused: what the narrower limits gave is given back. So a throttled patient does not use up
//! the campus, nor a sold-out doctor's crowd the hospital.

mod cells;
mod limits;
mod metrics;
mod policy;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::clock::{Clock, DefaultClock, Reference as _};
use orderly_domain::{DoctorId, PatientId};

pub use cells::SHARED_CELLS;
pub use policy::{BURST, KEYS_MAX, Limits, Policy, RATE_PER_S, Rate};

/// How often one of the keyed limits, in turn, forgets the keys that are idle. A limit of 200,000 keys takes some
/// milliseconds to do so, of the request that finds it due.
const SWEEP_INTERVAL: Duration = Duration::from_secs(2);

/// Who asks, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The client's address.
    pub address: IpAddr,
    /// The patient: the subject of the token.
    pub patient: &'a PatientId,
    /// The doctor whose session is asked for.
    pub doctor: &'a DoctorId,
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
#[error("the {limit} limit of {rate_per_s} requests a second is reached; try again in {} ms", retry_after.as_millis())]
pub struct Throttled {
    /// Which limit: `global`, `address`, `doctor` or `patient`.
    pub limit: &'static str,
    /// Requests a second that it allows.
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
}

impl Throttle {
    /// A throttle that follows this policy.
    ///
    /// # Errors
    /// When the policy breaks its rules, or the registry has a throttle already.
    pub fn new(policy: Policy, registry: &prometheus::Registry) -> Result<Self, Error> {
        Self::with_clock(policy, registry, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Throttle<C> {
    fn with_clock(policy: Policy, registry: &prometheus::Registry, clock: C) -> Result<Self, Error> {
        policy.validate().map_err(Error::Policy)?;
        let metrics = metrics::Metrics::register(registry)?;
        Ok(Self {
            limits: ArcSwap::from_pointee(limits::Limits::new(Arc::new(policy), None, &clock, &metrics)),
            hasher: RandomState::new(),
            start: clock.now(),
            clock,
            next_sweep: AtomicU64::new(nanos(SWEEP_INTERVAL)),
            sweeps: AtomicUsize::new(0),
            metrics,
        })
    }

    /// Measures a request.
    ///
    /// # Errors
    /// The first limit that it is beyond of; then it has cost nothing.
    pub fn check(&self, subject: Subject<'_>) -> Result<Admitted, Throttled> {
        let limits = self.limits.load();
        self.sweep_when_due(&limits);
        self.measure(&limits, subject).inspect_err(|throttled| {
            self.metrics.throttled.with_label_values(&[throttled.limit]).inc();
        })
    }

    /// Replaces the policy at once. Limits whose numbers stay the same keep their state; the others start full.
    ///
    /// # Errors
    /// [`Error::Policy`] when it breaks its rules; then nothing changes.
    pub fn swap(&self, policy: Policy) -> Result<(), Error> {
        policy.validate().map_err(Error::Policy)?;
        let policy = Arc::new(policy);
        self.limits.rcu(|before| limits::Limits::new(Arc::clone(&policy), Some(before), &self.clock, &self.metrics));
        Ok(())
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.limits.load().policy)
    }

    fn measure(&self, limits: &limits::Limits<C>, subject: Subject<'_>) -> Result<Admitted, Throttled> {
        let keyed = [
            (limits.patient.as_deref(), self.hasher.hash_one(subject.patient.as_str())),
            (limits.address.as_deref(), self.hasher.hash_one(network(subject.address))),
            (limits.doctor.as_deref(), self.hasher.hash_one(subject.doctor.as_str())),
        ];
        let give_back = |count: usize| {
            for (limit, key) in &keyed[..count] {
                limit.inspect(|limit| limit.give_back(*key));
            }
        };
        let mut allowances = [None; 3];
        for (index, (limit, key)) in keyed.iter().enumerate() {
            if let Some(limit) = limit {
                allowances[index] = Some(limit.take(*key).inspect_err(|_| give_back(index))?);
            }
        }
        if let Some(global) = &limits.global {
            global.take().inspect_err(|_| give_back(keyed.len()))?;
        }
        Ok(Admitted { patient: allowances[0] })
    }

    /// Sweeps one of the keyed limits, the next each time, when the interval is over.
    fn sweep_when_due(&self, limits: &limits::Limits<C>) {
        let now = self.clock.now().duration_since(self.start).as_u64();
        let due = self.next_sweep.load(Ordering::Relaxed);
        let next = now.saturating_add(nanos(SWEEP_INTERVAL));
        if now < due || self.next_sweep.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let keyed = [&limits.patient, &limits.address, &limits.doctor];
        if let Some(limit) = keyed[self.sweeps.fetch_add(1, Ordering::Relaxed) % keyed.len()] {
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
