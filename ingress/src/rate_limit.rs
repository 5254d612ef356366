//! How throttling is told: the problem, and the `RateLimit` headers (draft-ietf-httpapi-ratelimit-headers).

use std::fmt::Write as _;
use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use orderly_domain::Session;

use crate::auth::Identity;
use crate::jitter;
use crate::problem::{Problem, kind};
use crate::state::State;
use crate::throttle::{Allowance, Kind, Subject, Throttled};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// Room for most values, so that it is made once.
const VALUE_BYTES: usize = 48;

const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// Measures a request. Answers with what the patient may still ask for, when patients are limited.
pub(crate) fn check(
    state: &State,
    caller: &Identity,
    address: IpAddr,
    session: &Session,
) -> Result<Option<Allowance>, Problem> {
    let subject = Subject {
        address: Some(address),
        patient: &caller.subject,
        client: caller.client.as_deref(),
        level: caller.level.as_deref(),
        doctor: &session.doctor_id,
        department: &session.department,
        campus: Some(&session.campus),
        release_at: Some(session.release_at),
        now: state.ports.clock.now(),
    };
    state.arrivals.note(&subject);
    let measured = state.policy.throttle.check(subject);
    state.heat.note(&session.doctor_id, measured.is_ok());
    measured.map(|admitted| admitted.patient).map_err(|hit| problem(&hit))
}

fn problem(hit: &Throttled) -> Problem {
    let limit = hit.limit.as_str();
    // Many stand behind every limit but the patient's own: they would all come back at once.
    let alone = hit.limit == Kind::Patient;
    let retry_after = if alone { hit.retry_after } else { jitter::spread(hit.retry_after) };
    Problem::new(&kind::RATE_LIMITED)
        .detail(format!("Nothing was taken: {}", Throttled { retry_after, ..*hit }))
        .member("limit", limit)
        .retry_after(retry_after)
        .header(POLICY, &policy(limit, hit.rate_per_s, hit.burst))
        .header(STATE, &format!("\"{limit}\";r=0;t={}", retry_after.as_millis().div_ceil(1_000)))
}

/// Tells what is left.
pub(crate) fn tell(headers: &mut HeaderMap, allowance: &Allowance) {
    let Allowance { rate, remaining } = allowance;
    let refill_s = f64::from(rate.burst.saturating_sub(*remaining)) / rate.rate_per_s;
    let mut left = String::with_capacity(VALUE_BYTES);
    // Writing to a text does not fail.
    let _ = write!(left, "\"patient\";r={remaining};t={}", whole(refill_s));
    let values = [(POLICY, policy("patient", rate.rate_per_s, rate.burst)), (STATE, left)];
    for (name, value) in values {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

/// A bucket of `burst` that refills in a window of `burst / rate` seconds.
fn policy(limit: &str, rate_per_s: f64, burst: u32) -> String {
    let mut text = String::with_capacity(VALUE_BYTES);
    // Writing to a text does not fail.
    let _ = write!(text, "\"{limit}\";q={burst};w={}", whole(f64::from(burst) / rate_per_s).max(1));
    text
}

/// Seconds, rounded up to whole ones. Whole numbers are written many times faster than fractions.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts of floats saturate")]
fn whole(seconds: f64) -> u64 {
    seconds.ceil() as u64
}
