//! Suspicion: counts of what programs do often and people seldom, by patient and by client address. It follows the section
//! `suspicion` of the policy, and is off without it: then it keeps nothing and costs one look at a pointer.

mod meter;
mod meters;
mod metrics;
mod signal;
pub(crate) mod suspects;

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::Response;
use orderly_domain::{PatientId, SessionId, Timestamp};
use quick_cache::sync::Cache;

use crate::auth::Caller;
use crate::challenge::Demand;
use crate::problem::{self, kind};
use crate::request::Peer;
use crate::throttle::{self, network};

use meters::Meters;
pub(crate) use metrics::Metrics;
pub(crate) use signal::{Signal, Who};

/// How many suspects are remembered by name, for those who look.
const NAMES_MAX: usize = 4_096;

/// Counts signals and tells who is suspicious.
pub(crate) struct Suspicion {
    active: ArcSwapOption<Active>,
    /// Meters lie under keyed hashes: nobody can choose keys that collide.
    hasher: RandomState,
    /// Names for people, of those who have a score: of patients masked ones.
    names: Cache<u64, Arc<str>>,
    pub(crate) metrics: Metrics,
}

struct Active {
    policy: throttle::Suspicion,
    patients: Arc<Meters>,
    addresses: Arc<Meters>,
}

impl Active {
    fn meters(&self, who: Who) -> &Meters {
        match who {
            Who::Patient => &self.patients,
            Who::Address => &self.addresses,
        }
    }
}

/// Who asks from where, when that matters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Witness {
    pub(crate) address: Option<IpAddr>,
    /// Whether a token was sent: without one it cannot have been refused.
    pub(crate) has_token: bool,
}

impl Witness {
    pub(crate) fn of(request: &Request) -> Self {
        let address = request.extensions().get::<Peer>().map(|peer| peer.0);
        Self { address, has_token: request.headers().contains_key(header::AUTHORIZATION) }
    }
}

impl Suspicion {
    /// Off, until it follows a policy.
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { active: ArcSwapOption::empty(), hasher: RandomState::new(), names: Cache::new(NAMES_MAX), metrics }
    }

    /// Follows another policy. What is counted stays, unless another number of keys is told apart.
    pub(crate) fn follow(&self, policy: Option<&throttle::Suspicion>) {
        let before = self.active.load();
        let next = policy.map(|policy| {
            let meters = |who: Who| Meters::new(policy.keys_max, self.metrics.keys(who), self.metrics.evicted(who));
            let same = before.as_ref().filter(|before| before.policy.keys_max == policy.keys_max);
            let (patients, addresses) = match same {
                Some(before) => (Arc::clone(&before.patients), Arc::clone(&before.addresses)),
                None => (Arc::new(meters(Who::Patient)), Arc::new(meters(Who::Address))),
            };
            Arc::new(Active { policy: policy.clone(), patients, addresses })
        });
        self.active.store(next);
    }

    pub(crate) fn is_on(&self) -> bool {
        self.active.load().is_some()
    }

    /// Counts one of a signal, of a patient and of an address, where they are known.
    pub(crate) fn note(&self, signal: Signal, patient: Option<&PatientId>, address: Option<IpAddr>, now: Timestamp) {
        let Some(active) = &*self.active.load() else { return };
        if let Some(patient) = patient {
            self.count(active, Who::Patient, signal, None, self.patient_key(patient), now, || masked(patient.as_str()));
        }
        if let Some(address) = address {
            self.count(active, Who::Address, signal, None, self.address_key(address), now, || shown(address));
        }
    }

    /// Counts what an answer tells of who asked.
    pub(crate) fn witnessed(&self, witness: Witness, caller: Option<&Caller>, answer: &Response, now: Timestamp) {
        let signal = match answer.extensions().get::<&'static problem::Kind>() {
            Some(&&kind::RATE_LIMITED) => Signal::Throttled,
            Some(&&kind::UNKNOWN_TICKET) => Signal::UnknownTicket,
            Some(kind) if kind.status == StatusCode::UNAUTHORIZED && witness.has_token => Signal::Refused,
            Some(&&kind::FORBIDDEN) => Signal::Refused,
            _ => return,
        };
        self.note(signal, caller.map(|caller| &caller.0.subject), witness.address, now);
    }

    /// Counts a booking, and tells how hard it is to be challenged, if at all.
    pub(crate) fn booking(
        &self,
        patient: &PatientId,
        address: IpAddr,
        session: &SessionId,
        now: Timestamp,
    ) -> Option<Demand> {
        let active = self.active.load();
        let active = active.as_ref()?;
        let (by_patient, by_address) = (self.patient_key(patient), self.address_key(address));
        let different = Some(self.hasher.hash_one(session.as_str()));
        let of_patient =
            self.count(active, Who::Patient, Signal::Spread, different, by_patient, now, || masked(patient.as_str()));
        let of_address =
            self.count(active, Who::Address, Signal::Spread, Some(by_patient), by_address, now, || shown(address));
        let bits = active.policy.bits(of_patient + of_address)?;
        Some(Demand { bits, valid_for: active.policy.valid_for() })
    }

    /// Counts one, and answers with the score.
    #[expect(clippy::too_many_arguments, reason = "one place where all of them meet")]
    fn count(
        &self,
        active: &Active,
        who: Who,
        signal: Signal,
        different: Option<u64>,
        key: u64,
        now: Timestamp,
        name: impl FnOnce() -> String,
    ) -> f64 {
        let policy = &active.policy;
        let (counted, score) = active.meters(who).with(key, now.as_millis(), policy.half_life_s, |meter| {
            let counted = match different {
                Some(hash) => meter.add_different(signal, hash, policy.half_life_s),
                None => {
                    meter.add(signal);
                    true
                }
            };
            (counted, meter.score(who, policy))
        });
        if counted {
            self.metrics.signal(who, signal);
        }
        if score > 0.0 && self.names.get(&key).is_none() {
            self.names.insert(key, name().into());
        }
        score
    }

    fn patient_key(&self, patient: &PatientId) -> u64 {
        self.hasher.hash_one(patient.as_str())
    }

    fn address_key(&self, address: IpAddr) -> u64 {
        self.hasher.hash_one(network(address))
    }
}

/// A patient's id, so that whoever knows it recognises it and nobody else learns it.
fn masked(id: &str) -> String {
    let length = id.chars().count();
    let (head, tail) = if length >= 11 { (3, 4) } else { (1, usize::from(length >= 6)) };
    let (head, tail): (String, String) = (id.chars().take(head).collect(), id.chars().skip(length - tail).collect());
    format!("{head}****{tail}")
}

/// What an address counts as, for people.
fn shown(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{}/64", std::net::Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_those_who_know_and_nobody_else() {
        assert_eq!(masked("13812341234"), "138****1234");
        assert_eq!(masked("patient-12"), "p****2");
        assert_eq!(masked("ann"), "a****");
        assert_eq!(masked("李"), "李****");
        assert_eq!(shown("::ffff:10.0.0.7".parse().expect("valid")), "10.0.0.7");
        assert_eq!(shown("2001:db8:1:2:3::4".parse().expect("valid")), "2001:db8:1:2::/64");
    }

    #[test]
    fn off_it_keeps_nothing_and_a_change_of_weights_keeps_all() {
        let suspicion = Suspicion::new(Metrics::register(&prometheus::Registry::new()).expect("new"));
        let (patient, session) = ("ann".parse().expect("valid"), "s".parse().expect("valid"));
        let (address, now) = ("10.0.0.7".parse().expect("valid"), Timestamp::from_millis(1_000));
        assert!(suspicion.booking(&patient, address, &session, now).is_none() && !suspicion.is_on());
        let mut policy = throttle::Suspicion::default();
        suspicion.follow(Some(&policy));
        for _ in 0..8 {
            suspicion.note(Signal::Cancellation, Some(&patient), Some(address), now);
        }
        assert!(suspicion.booking(&patient, address, &session, now).is_none(), "3 beyond 5, of 2 points each");
        policy.challenge_score = 6.0;
        suspicion.follow(Some(&policy));
        let demand = suspicion.booking(&patient, address, &session, now).expect("6 points");
        assert_eq!(demand.bits, policy.work.bits_min);
        suspicion.follow(None);
        suspicion.follow(Some(&policy));
        assert!(suspicion.booking(&patient, address, &session, now).is_none());
    }
}
