//! What a policy would have done to arrivals that are past.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use governor::clock::FakeRelativeClock;
use orderly_domain::{CampusId, DepartmentId, DoctorId, PatientId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Error, Kind, Policy, Subject, Throttle};

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
            }
        }
    }
    for (limit, refused) in &mut rehearsal.refused {
        refused.patients = patients.get(limit).map_or(0, |patients| patients.len() as u64);
    }
    Ok(rehearsal)
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
