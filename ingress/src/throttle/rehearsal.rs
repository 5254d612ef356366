//! What a policy would have done to arrivals that are past.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use governor::clock::FakeRelativeClock;
use orderly_domain::{CampusId, DepartmentId, DoctorId, PatientId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Error, Kind, Policy, Subject, Throttle, network};

/// How many are named of those whom a limit refuses most.
const AFFECTED_MAX: usize = 10;

/// A request that arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrival {
    /// When.
    pub at: Timestamp,
    /// For whom.
    pub patient: PatientId,
    /// The doctor whose session was asked for.
    pub doctor: DoctorId,
    /// The session's department.
    pub department: DepartmentId,
    /// The session's campus, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campus: Option<CampusId>,
    /// When the session was released, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_at: Option<Timestamp>,
    /// From where, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The API client, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The patient's member level, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
}

/// What a limit refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = RehearsalRefused)]
pub struct Refused {
    /// Requests.
    pub requests: u64,
    /// Patients who asked for them.
    pub patients: u64,
    /// Patients, addresses, doctors, …, whatever the limit counts by, who were beyond it.
    pub keys: u64,
    /// The longest that one was told to wait, in milliseconds.
    pub retry_after_max_ms: u64,
}

/// What a policy does to arrivals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Rehearsal {
    /// Requests that arrived.
    pub arrived: u64,
    /// Requests that would have been let in.
    pub admitted: u64,
    /// Requests that would not, by limit.
    #[schema(value_type = std::collections::HashMap<String, Refused>)]
    pub refused: BTreeMap<Kind, Refused>,
    /// The same by limit and key. Not told as it is: some of them are people.
    #[serde(skip)]
    by_key: BTreeMap<Kind, HashMap<String, u64>>,
}

/// Whom a limit refuses under two policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = RehearsalAffected)]
pub struct Affected {
    /// The id of a doctor, department, campus or API client.
    pub key: String,
    /// Requests that the limit refuses under the policy in force.
    pub in_force: u64,
    /// Requests that it refuses under the other one.
    pub rehearsed: u64,
}

/// Those whom each limit refuses most under one policy or the other, over the same arrivals; at most ten a limit. Patients and
/// addresses are people, and only counted.
#[must_use]
pub fn most_affected(in_force: &Rehearsal, rehearsed: &Rehearsal) -> BTreeMap<Kind, Vec<Affected>> {
    let named = [Kind::Doctor, Kind::Department, Kind::Campus, Kind::Client];
    let of = |kind: Kind| {
        let mut affected: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
        for (side, rehearsal) in [in_force, rehearsed].into_iter().enumerate() {
            for (key, requests) in rehearsal.by_key.get(&kind).into_iter().flatten() {
                affected.entry(key).or_default()[side] = *requests;
            }
        }
        let mut affected: Vec<_> = affected.into_iter().collect();
        affected.sort_by_key(|(_, [before, after])| std::cmp::Reverse(*before.max(after)));
        let affected = affected.into_iter().take(AFFECTED_MAX);
        let affected =
            affected.map(|(key, [in_force, rehearsed])| Affected { key: key.to_owned(), in_force, rehearsed });
        (kind, affected.collect::<Vec<_>>())
    };
    named.map(of).into_iter().filter(|(_, affected)| !affected.is_empty()).collect()
}

/// What no arrival tells, of what policies go by: limits of these count nothing, and without `member_level` everybody is a
/// stranger to every lane.
#[must_use]
pub fn not_recorded(arrivals: &[Arrival]) -> Vec<&'static str> {
    let recorded = [
        ("address", arrivals.iter().any(|arrival| arrival.address.is_some())),
        ("client", arrivals.iter().any(|arrival| arrival.client.is_some())),
        ("member_level", arrivals.iter().any(|arrival| arrival.level.is_some())),
    ];
    recorded.into_iter().filter(|(_, recorded)| !recorded).map(|(name, _)| name).collect()
}

/// Lets arrivals, ascending by time, pass a policy. Nobody comes back: a request that is refused is not asked again.
///
/// # Errors
/// When the policy breaks its rules.
pub fn rehearse<'a>(policy: &Policy, arrivals: impl IntoIterator<Item = &'a Arrival>) -> Result<Rehearsal, Error> {
    let mut arrivals = arrivals.into_iter().peekable();
    let start = arrivals.peek().map_or(Timestamp::from_millis(0), |first| first.at);
    let clock = FakeRelativeClock::default();
    let throttle = Throttle::with_clock(policy.clone(), start, &prometheus::Registry::new(), clock.clone())?;
    let mut rehearsal = Rehearsal::default();
    let mut patients: BTreeMap<Kind, HashSet<&PatientId>> = BTreeMap::new();
    let mut now = start;
    for arrival in arrivals {
        if arrival.at > now {
            clock.advance(arrival.at.since(now));
            now = arrival.at;
            throttle.keep_time(now);
        }
        rehearsal.arrived += 1;
        match throttle.check(subject(arrival, now)) {
            Ok(_) => rehearsal.admitted += 1,
            Err(throttled) => {
                let refused = rehearsal.refused.entry(throttled.limit).or_default();
                refused.requests += 1;
                refused.retry_after_max_ms = refused.retry_after_max_ms.max(millis(throttled.retry_after));
                patients.entry(throttled.limit).or_default().insert(&arrival.patient);
                *rehearsal
                    .by_key
                    .entry(throttled.limit)
                    .or_default()
                    .entry(key(arrival, throttled.limit))
                    .or_default() += 1;
            }
        }
    }
    for (limit, refused) in &mut rehearsal.refused {
        refused.patients = patients.get(limit).map_or(0, |patients| patients.len() as u64);
        refused.keys = rehearsal.by_key.get(limit).map_or(0, |keys| keys.len() as u64);
    }
    Ok(rehearsal)
}

/// What a limit knows an arrival by.
fn key(arrival: &Arrival, limit: Kind) -> String {
    match limit {
        Kind::Patient => arrival.patient.to_string(),
        Kind::Address => arrival.address.map(|address| network(address).to_string()).unwrap_or_default(),
        Kind::Doctor => arrival.doctor.to_string(),
        Kind::Department => arrival.department.to_string(),
        Kind::Campus => arrival.campus.as_ref().map(ToString::to_string).unwrap_or_default(),
        Kind::Client => arrival.client.clone().unwrap_or_default(),
        Kind::Global => String::new(),
    }
}

pub(super) fn subject(arrival: &Arrival, now: Timestamp) -> Subject<'_> {
    Subject {
        address: arrival.address,
        patient: &arrival.patient,
        client: arrival.client.as_deref(),
        level: arrival.level.as_deref(),
        doctor: &arrival.doctor,
        department: &arrival.department,
        campus: arrival.campus.as_ref(),
        release_at: arrival.release_at,
        now,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
