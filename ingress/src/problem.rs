//! Problems: RFC 9457 answers, each with a stable `type`.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use orderly_domain::port;
use serde_json::{Map, Value};

use crate::jitter;

/// The soonest that a client is asked to come back to an open breaker.
const BREAKER_RETRY_MIN: Duration = Duration::from_secs(1);

/// The soonest that a client is asked to come back after a failure that passes by itself, or that a retry settles.
pub(crate) const RETRY: Duration = Duration::from_secs(1);

/// The soonest that it is asked to come back to a full disk, which somebody has to see to.
const FULL_RETRY: Duration = Duration::from_secs(30);

/// What the `type` of every problem starts with. The rest is the kind's name, which never changes.
pub const TYPE_BASE: &str = "https://orderly.dev/problems/";

/// A kind of problem.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// The end of its `type`.
    pub name: &'static str,
    /// The answer's status.
    pub status: StatusCode,
    /// The same for every occurrence.
    pub title: &'static str,
}

/// Every kind of problem there is.
pub mod kind {
    use super::{Kind, StatusCode};

    macro_rules! kinds {
        ($($constant:ident $name:literal $status:ident $title:literal)*) => {
            $(
                #[doc = $title]
                pub const $constant: Kind = Kind { name: $name, status: StatusCode::$status, title: $title };
            )*
            /// All of them.
            pub const ALL: &[&Kind] = &[$(&$constant),*];
        };
    }

    kinds! {
        MALFORMED_REQUEST "malformed-request" BAD_REQUEST "The request cannot be read"
        IDEMPOTENCY_KEY_MISSING "idempotency-key-missing" BAD_REQUEST "An Idempotency-Key header is needed"
        IDEMPOTENCY_KEY_INVALID "idempotency-key-invalid" BAD_REQUEST "The Idempotency-Key cannot be used"
        UNAUTHENTICATED "unauthenticated" UNAUTHORIZED "A valid bearer token is needed"
        FORBIDDEN "forbidden" FORBIDDEN "The token's role may not do this"
        NO_SUCH_ROUTE "no-such-route" NOT_FOUND "There is nothing at this address"
        UNKNOWN_SESSION "unknown-session" NOT_FOUND "There is no such session"
        UNKNOWN_TICKET "unknown-ticket" NOT_FOUND "There is no such ticket"
        UNKNOWN_APPOINTMENT "unknown-appointment" NOT_FOUND "There is no such appointment"
        UNKNOWN_BREAKER "unknown-breaker" NOT_FOUND "There is no such breaker"
        UNKNOWN_REPORT "unknown-report" NOT_FOUND "There is no such report"
        METHOD_NOT_ALLOWED "method-not-allowed" METHOD_NOT_ALLOWED "This address does not take this method"
        SLOW_REQUEST "slow-request" REQUEST_TIMEOUT "The request's body did not arrive in time"
        NOT_BOOKED "not-booked" CONFLICT "The ticket holds no appointment"
        SESSION_OVER "session-over" CONFLICT "The session is over"
        SESSION_CLOSED "session-closed" CONFLICT "The session is closed"
        SESSION_CONFLICT "session-conflict" CONFLICT "A session of this id exists with another doctor, department or day"
        BELOW_BOOKED "below-booked" CONFLICT "The capacity is below what is booked"
        POLICY_CHANGED "policy-changed" PRECONDITION_FAILED "The policy has another version by now"
        TOO_LARGE "too-large" PAYLOAD_TOO_LARGE "The request's body is too large"
        UNSUPPORTED_MEDIA_TYPE "unsupported-media-type" UNSUPPORTED_MEDIA_TYPE "The body is not in a format that is taken here"
        IDEMPOTENCY_KEY_REUSED "idempotency-key-reused" UNPROCESSABLE_ENTITY "The Idempotency-Key was used for another request"
        INVALID_PATIENT "invalid-patient" UNPROCESSABLE_ENTITY "The patient's data cannot be used"
        INVALID_SESSIONS "invalid-sessions" UNPROCESSABLE_ENTITY "Some sessions cannot be opened; none was"
        INVALID_POLICY "invalid-policy" UNPROCESSABLE_ENTITY "The policy cannot be used"
        CHALLENGE_REQUIRED "challenge-required" PRECONDITION_REQUIRED "A challenge has to be answered first"
        RATE_LIMITED "rate-limited" TOO_MANY_REQUESTS "Too many requests"
        INTERNAL "internal" INTERNAL_SERVER_ERROR "A fault in the server"
        OVERLOADED "overloaded" SERVICE_UNAVAILABLE "Too much to do at the moment; nothing was taken"
        SESSION_FROZEN "session-frozen" SERVICE_UNAVAILABLE "The session takes no bookings while it is looked into; nothing was taken"
        BREAKER_OPEN "breaker-open" SERVICE_UNAVAILABLE "A part that this needs is out of order at the moment; nothing was taken"
        STORAGE_FULL "storage-full" SERVICE_UNAVAILABLE "The server has no space left; nothing was taken"
        OUTCOME_UNKNOWN "outcome-unknown" SERVICE_UNAVAILABLE "It is not known whether this was taken"
        AUDIT_UNAVAILABLE "audit-unavailable" SERVICE_UNAVAILABLE "The audit trail cannot be written"
        UNAVAILABLE "unavailable" SERVICE_UNAVAILABLE "The server cannot answer this at the moment"
        STOPPING "stopping" SERVICE_UNAVAILABLE "The server is stopping"
    }
}

/// A problem, on its way to the client. `?` in a handler answers with it.
#[derive(Clone, Debug)]
pub struct Problem(Box<Parts>);

/// Goes with the answer to a request that was not taken: when to ask again. A browser gets a page that does so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ComeBack(pub(crate) Duration);

#[derive(Clone, Debug)]
struct Parts {
    kind: &'static Kind,
    retry_after: Option<Duration>,
    detail: Cow<'static, str>,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of that kind.
    #[must_use]
    pub fn new(kind: &'static Kind) -> Self {
        Self(Box::new(Parts {
            kind,
            retry_after: None,
            detail: kind.title.into(),
            members: Map::new(),
            headers: Vec::new(),
        }))
    }

    /// With what is wrong here, and what to do about it.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// With a further member.
    #[must_use]
    pub fn member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.to_owned(), value.into());
        self
    }

    /// With a header. A value that no header can hold is left out.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers.push((name, value));
        }
        self
    }

    /// With `Retry-After`, in whole seconds rounded up, and `retry_after_ms`.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        let millis = u64::try_from(after.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
        self.member("retry_after_ms", millis).header(header::RETRY_AFTER, &millis.div_ceil(1_000).max(1).to_string())
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> &'static Kind {
        self.0.kind
    }

    /// What an append that failed says to the one who asked for it.
    #[must_use]
    pub fn from_append(error: &port::Error) -> Self {
        match error {
            port::Error::Overloaded(_) => Self::new(&kind::OVERLOADED)
                .detail("This request was not taken. Ask again with the same Idempotency-Key.")
                .retry_after(jitter::spread(RETRY)),
            port::Error::StorageFull(_) => Self::new(&kind::STORAGE_FULL)
                .detail("This request was not taken. Ask again later with the same Idempotency-Key.")
                .retry_after(jitter::spread(FULL_RETRY)),
            port::Error::MayHaveHappened(_) => Self::new(&kind::OUTCOME_UNKNOWN)
                .detail("It may have been taken. Ask again with the same Idempotency-Key: it is taken once at most.")
                .retry_after(jitter::spread(RETRY)),
            port::Error::DidNotHappen(_)
            | port::Error::Lost(_)
            | port::Error::Held { .. }
            | port::Error::Fenced { .. }
            | port::Error::Conflict { .. } => Self::new(&kind::UNAVAILABLE)
                .detail("This request was not taken. Ask again with the same Idempotency-Key.")
                .retry_after(jitter::spread(RETRY)),
            port::Error::BreakerOpen { breaker, retry_after, .. } => Self::breaker(breaker, *retry_after)
                .detail("The part that takes requests is out of order. This request was not taken. Ask again later with the same Idempotency-Key."),
            port::Error::Corrupt(_) => Self::internal("append", error),
        }
    }

    /// What an open breaker says. The cause is for ops, not for clients.
    fn breaker(breaker: &'static str, retry_after: Duration) -> Self {
        Self::new(&kind::BREAKER_OPEN)
            .member("breaker", breaker)
            .retry_after(jitter::later(retry_after.max(BREAKER_RETRY_MIN)))
    }

    /// What a failed read says. The cause goes to the server's own log, not to the client.
    #[must_use]
    pub fn from_read(what: &'static str, error: &port::Error) -> Self {
        match error {
            port::Error::Corrupt(_) => return Self::internal(what, error),
            // Its opening was logged; every refusal would be too much.
            port::Error::BreakerOpen { breaker, retry_after, .. } => {
                return Self::breaker(breaker, *retry_after)
                    .detail("What this is read from is out of order. Nothing was changed; ask again later.");
            }
            _ => {}
        }
        tracing::warn!(%error, what, "a read failed");
        Self::new(&kind::UNAVAILABLE)
            .detail("The answer could not be read. Nothing was changed; ask again.")
            .retry_after(jitter::spread(RETRY))
    }

    /// A fault of the server: the cause goes to its log.
    #[must_use]
    pub fn internal(what: &'static str, error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, what, "a fault in the server");
        Self::new(&kind::INTERNAL).detail("This is a fault of the server, not of the request. Ask again later.")
    }
}

/// A problem as clients read it.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Shape {
    /// `https://orderly.dev/problems/` and the kind's name; stable.
    #[serde(rename = "type")]
    #[schema(example = "https://orderly.dev/problems/rate-limited")]
    uri: String,
    /// The same for every occurrence of the kind.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong here, and what to do about it.
    detail: String,
    /// More, by kind: `limit` and `retry_after_ms` of `rate-limited`, `challenge` of `challenge-required`, `breaker` of `breaker-open`, `errors` of
    /// `invalid-sessions` and `invalid-patient`.
    #[serde(flatten)]
    members: Map<String, Value>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Parts { kind, retry_after, detail, members, headers } = *self.0;
        let shape = Shape {
            uri: format!("{TYPE_BASE}{}", kind.name),
            title: kind.title.to_owned(),
            status: kind.status.as_u16(),
            detail: detail.into_owned(),
            members,
        };
        let body = serde_json::to_vec(&shape).expect("text, numbers and JSON values are always JSON");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = kind.status;
        // For the audit trail.
        response.extensions_mut().insert(kind);
        let answered = response.headers_mut();
        answered.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        answered.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if kind.status == StatusCode::UNAUTHORIZED {
            answered.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="orderly""#));
        }
        answered.extend(headers);
        if let Some(after) = retry_after
            && [&kind::OVERLOADED, &kind::BREAKER_OPEN].contains(&kind)
        {
            response.extensions_mut().insert(ComeBack(after));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_names_of_their_own() {
        let names: std::collections::HashSet<_> = kind::ALL.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), kind::ALL.len());
        assert!(kind::ALL.iter().all(|kind| kind.status.is_client_error() || kind.status.is_server_error()));
    }

    #[test]
    fn waits_are_rounded_up_to_whole_seconds() {
        let response = Problem::new(&kind::RATE_LIMITED).retry_after(Duration::from_millis(850)).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    }

    /// What fails for all at once must not have all come back at once.
    #[test]
    fn whoever_is_refused_by_what_all_share_comes_back_at_a_time_of_their_own() {
        let appended = |error: port::Error| Problem::from_append(&error);
        let failures: [(&dyn Fn() -> Problem, Duration); 5] = [
            (&|| appended(port::Error::Overloaded("full".into())), RETRY),
            (&|| appended(port::Error::StorageFull("full".into())), FULL_RETRY),
            (&|| appended(port::Error::MayHaveHappened("away".into())), RETRY),
            (&|| appended(port::Error::DidNotHappen("away".into())), RETRY),
            (&|| Problem::from_read("a test", &port::Error::DidNotHappen("away".into())), RETRY),
        ];
        for (failure, soonest) in failures {
            let waits: std::collections::BTreeSet<_> = (0..100).filter_map(|_| failure().0.retry_after).collect();
            assert!(waits.len() > 90, "{waits:?}");
            assert!(waits.iter().all(|wait| *wait >= soonest), "{waits:?}");
            let header = |wait: &Duration| wait.as_millis().div_ceil(1_000);
            assert!(waits.first().map(header) < waits.last().map(header), "whole seconds differ too: {waits:?}");
        }
    }
}
