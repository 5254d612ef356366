//! How throttling is told: the problem, and the `RateLimit` headers (draft-ietf-httpapi-ratelimit-headers).

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use orderly_domain::{DoctorId, PatientId};

use crate::problem::{Problem, kind};
use crate::throttle::{Allowance, Subject, Throttle, Throttled};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// Measures a request. Answers with what the patient may still ask for, when patients are limited.
pub(crate) fn check(
    throttle: &Throttle,
    address: IpAddr,
    patient: &PatientId,
    doctor: &DoctorId,
) -> Result<Option<Allowance>, Problem> {
    throttle.check(Subject { address, patient, doctor }).map(|admitted| admitted.patient).map_err(|hit| problem(&hit))
}

fn problem(hit: &Throttled) -> Problem {
    Problem::new(&kind::RATE_LIMITED)
        .detail(format!("The {hit}. Nothing was taken."))
        .member("limit", hit.limit)
        .retry_after(hit.retry_after)
        .header(POLICY, &policy(hit.limit, hit.rate_per_s, hit.burst))
        .header(STATE, &format!("{:?};r=0;t={}", hit.limit, hit.retry_after.as_millis().div_ceil(1_000)))
}

/// Tells what is left.
pub(crate) fn tell(headers: &mut HeaderMap, allowance: &Allowance) {
    let Allowance { rate, remaining } = allowance;
    let refill_s = f64::from(rate.burst.saturating_sub(*remaining)) / rate.rate_per_s;
    let values = [
        (POLICY, policy("patient", rate.rate_per_s, rate.burst)),
        (STATE, format!("\"patient\";r={remaining};t={}", whole(refill_s))),
    ];
    for (name, value) in values {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

/// A bucket of `burst` that refills in a window of `burst / rate` seconds.
fn policy(limit: &str, rate_per_s: f64, burst: u32) -> String {
    format!("\"{limit}\";q={burst};w={}", whole(f64::from(burst) / rate_per_s).max(1))
}

/// Seconds, rounded up to whole ones. Whole numbers are written many times faster than fractions.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts of floats saturate")]
fn whole(seconds: f64) -> u64 {
    seconds.ceil() as u64
}
