//! One request of a booking, in the words of the system that it is for, and its answer.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, StatusCode};
use serde::Deserialize;

use super::workload::Wish;
use crate::api::{Status, pause};
use crate::client::{Answer, Client};
use crate::limits::offer::address;

/// In whose words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Words {
    /// Orderly's, answered when it is decided (`Prefer: wait`).
    Wait,
    /// Orderly's, answered when it is accepted.
    Accept,
    /// The baselines'.
    Plain,
}

/// What an attempt was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// A number.
    Booked(u32),
    /// A final refusal; whether it was for want of places.
    Refused {
        /// Nothing else was in the way.
        sold_out: bool,
    },
    /// Accepted, not decided.
    Queued,
    /// Come back later.
    Away(Duration),
    /// No answer, or none that was expected.
    Broken(String),
}

/// A system under load.
pub(super) struct Target {
    pub(super) client: Client,
    pub(super) words: Words,
    /// By patient; only Orderly asks who it is.
    pub(super) bearers: Vec<HeaderValue>,
    pub(super) session_ids: Vec<String>,
}

impl Target {
    /// One attempt; those with the same number have the same Idempotency-Key.
    pub(super) async fn ask(&self, number: u64, wish: Wish) -> Reply {
        let request = match self.request(number, wish) {
            Ok(request) => request,
            Err(error) => return Reply::Broken(error.to_string()),
        };
        match self.client.send(request).await {
            Ok(answer) => reply(&answer),
            Err(error) => Reply::Broken(error.to_string()),
        }
    }

    fn request(&self, number: u64, wish: Wish) -> anyhow::Result<Request<Bytes>> {
        let session = &self.session_ids[wish.session];
        let path = if self.words == Words::Plain { "/bookings" } else { "/v1/bookings" };
        let request = Request::post(path)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header("idempotency-key", HeaderValue::from(number))
            .header("x-forwarded-for", address(number)?);
        let (request, body) = match self.words {
            Words::Plain => {
                (request, format!(r#"{{"session_id":"{session}","patient_id":"patient-{}"}}"#, wish.patient))
            }
            words => {
                let request = request.header(AUTHORIZATION, self.bearers[wish.patient].clone());
                let wait = HeaderValue::from_static("wait=10");
                let request = if words == Words::Wait { request.header("prefer", wait) } else { request };
                (request, format!(r#"{{"session_id":"{session}"}}"#))
            }
        };
        Ok(request.body(body.into())?)
    }
}

fn reply(answer: &Answer) -> Reply {
    #[derive(Deserialize)]
    struct Ticket {
        status: Status,
        number: Option<u32>,
        reason: Option<String>,
    }
    let broken = || Reply::Broken(format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)));
    match answer.status {
        StatusCode::OK | StatusCode::ACCEPTED => match serde_json::from_slice(&answer.body) {
            Ok(Ticket { status: Status::Booked, number: Some(number), .. }) => Reply::Booked(number),
            Ok(Ticket { status: Status::Rejected, reason, .. }) => {
                Reply::Refused { sold_out: reason.as_deref() == Some("sold_out") }
            }
            Ok(Ticket { status: Status::Queued, .. }) => Reply::Queued,
            _ => broken(),
        },
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Reply::Away(pause(answer)),
        _ => broken(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_systems_are_understood() {
        let of = |status: u16, body: &'static str| {
            let status = StatusCode::from_u16(status).expect("a status");
            reply(&Answer::of(status, "", body))
        };
        assert_eq!(of(200, r#"{"status":"booked","number":7}"#), Reply::Booked(7));
        assert_eq!(of(202, r#"{"ticket":"t","status":"queued","number":null}"#), Reply::Queued);
        assert_eq!(of(200, r#"{"status":"rejected","reason":"sold_out"}"#), Reply::Refused { sold_out: true });
        assert_eq!(of(200, r#"{"status":"rejected","reason":"already_booked"}"#), Reply::Refused { sold_out: false });
        assert!(matches!(of(503, "busy"), Reply::Away(_)));
        assert!(matches!(of(500, "no"), Reply::Broken(_)));
        assert!(matches!(of(200, r#"{"status":"booked"}"#), Reply::Broken(_)), "booked without a number");
    }
}
