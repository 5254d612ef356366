//! Bookings over HTTP: as fast as they go, or at a steady rate.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, StatusCode};
use orderly_domain::clock::System;
use orderly_domain::{Clock as _, Timestamp};
use tokio::time::Instant;

use crate::api::{Api, Role, Submission, Ticket};
use crate::client::Client;
use crate::latency::{Latencies, Summary};
use crate::pace;

const PATIENTS: usize = 2_000;
/// How long one look waits for a decision.
const SETTLE_STEP: Duration = Duration::from_secs(5);
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Tickets a second whose outcome is waited for on a stream of their own.
const FOLLOWED_PER_S: f64 = 200.0;

/// Who books, and what.
pub(super) struct Crowd {
    bearers: Vec<HeaderValue>,
    bodies: Vec<Bytes>,
    /// The next Idempotency-Key.
    next: AtomicU64,
}

impl Crowd {
    /// Tokens for patients, and a body for every open session.
    pub(super) async fn gather(url: &str) -> anyhow::Result<Self> {
        let api = Api::new(Client::new(url, 8, ANSWER_MAX)?);
        let mut bearers = Vec::with_capacity(PATIENTS);
        for patient in 0..PATIENTS {
            bearers.push(api.token(&format!("patient-{patient}"), Role::Patient).await?);
        }
        let sessions = api.sessions().await?;
        let open = sessions.iter().filter(|session| session.state == "open");
        let bodies: Vec<_> =
            open.map(|session| Bytes::from(format!(r#"{{"session_id":"{}"}}"#, session.session_id))).collect();
        ensure!(!bodies.is_empty(), "the server has no open session; start it with --demo");
        Ok(Self { bearers, bodies, next: AtomicU64::new(0) })
    }

    /// The next booking: never the same twice.
    pub(super) fn next(&self) -> Option<(HeaderValue, HeaderValue, Bytes)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let index = usize::try_from(number).ok()?;
        let key = HeaderValue::from_str(&format!("key-{number}")).ok()?;
        // A stride without a common factor spreads neighbours over sessions.
        let body = self.bodies[index * 7_919 % self.bodies.len()].clone();
        Some((self.bearers[index % self.bearers.len()].clone(), key, body))
    }
}

/// What went in.
pub(super) struct Accepted {
    pub count: u64,
    pub rate_per_s: f64,
    /// From a request to its 202.
    pub latency: Summary,
    /// What did not.
    pub refused: Refused,
}

/// Requests that were sent and not accepted.
#[derive(Clone, Debug, Default)]
pub(super) struct Refused {
    /// 503: overload is an honest answer.
    pub shed: u64,
    /// Any other answer, or none.
    pub failed: u64,
    /// What the first of them was answered.
    pub first: Option<String>,
}

impl Refused {
    /// Notes an answer that is no 202.
    fn note(&mut self, status: Option<StatusCode>, what: impl FnOnce() -> String) {
        let count = if status == Some(StatusCode::SERVICE_UNAVAILABLE) { &mut self.shed } else { &mut self.failed };
        *count += 1;
        self.first.get_or_insert_with(what);
    }

    /// Fails where something else than overload was answered.
    fn ensure_honest(&self) -> anyhow::Result<()> {
        ensure!(self.failed == 0, "{} bookings failed: {}", self.failed, self.first.as_deref().unwrap_or_default());
        Ok(())
    }
}

/// Every connection sends as soon as it is answered, for `length`.
pub(super) async fn saturate(
    url: &str,
    connections: usize,
    length: Duration,
    crowd: &Crowd,
) -> anyhow::Result<Accepted> {
    let accepted = saturate_anyhow(url, connections, length, crowd).await?;
    accepted.refused.ensure_honest()?;
    Ok(accepted)
}

/// The same, and counts what is refused, whatever it is answered.
pub(super) async fn saturate_anyhow(
    url: &str,
    connections: usize,
    length: Duration,
    crowd: &Crowd,
) -> anyhow::Result<Accepted> {
    let start = Instant::now();
    let (latencies, refused) = closed_loop(url, connections, crowd, || start.elapsed() < length).await?;
    let count = latencies.count();
    let rate_per_s = count as f64 / start.elapsed().as_secs_f64();
    Ok(Accepted { count, rate_per_s, latency: latencies.summary(), refused })
}

/// Sends that many bookings, as fast as they go.
pub(super) async fn send(url: &str, connections: usize, count: u64, crowd: &Crowd) -> anyhow::Result<u64> {
    let begun = AtomicU64::new(0);
    let go_on = || begun.fetch_add(1, Ordering::Relaxed) < count;
    let (latencies, refused) = closed_loop(url, connections, crowd, go_on).await?;
    refused.ensure_honest()?;
    Ok(latencies.count())
}

/// Every connection sends as soon as it is answered, while `go_on` says so. Tells what the accepted ones took, and what was
/// refused.
async fn closed_loop(
    url: &str,
    connections: usize,
    crowd: &Crowd,
    go_on: impl Fn() -> bool,
) -> anyhow::Result<(Latencies, Refused)> {
    let client = Client::new(url, connections, ANSWER_MAX)?;
    let tally = RefCell::new((Latencies::default(), Refused::default()));
    let one = async || -> anyhow::Result<()> {
        while go_on() {
            let (bearer, key, body) = crowd.next().context("there are enough keys")?;
            let request = Request::post("/v1/bookings")
                .header(CONTENT_TYPE, "application/json")
                .header(AUTHORIZATION, bearer)
                .header("idempotency-key", key);
            let sent = Instant::now();
            let answer = client.send(request.body(body)?).await;
            let (latencies, refused) = &mut *tally.borrow_mut();
            match answer {
                Ok(answer) if answer.status == StatusCode::ACCEPTED => latencies.record(sent.elapsed()),
                Ok(answer) => refused.note(Some(answer.status), || {
                    format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))
                }),
                Err(error) => refused.note(None, || error.to_string()),
            }
        }
        Ok(())
    };
    futures::future::try_join_all((0..connections).map(|_| one())).await?;
    Ok(tally.into_inner())
}

/// Waits until what was sent before is decided: a booking of every body is.
pub(super) async fn settle(url: &str, crowd: &Crowd) -> anyhow::Result<()> {
    let api = Api::new(Client::new(url, 64, ANSWER_MAX)?);
    let bookings = stream::iter(0..crowd.bodies.len()).map(|_| async {
        let (bearer, key, body) = crowd.next().context("there are enough keys")?;
        let booking = loop {
            match api.book(&bearer, &key, &body, Some(SETTLE_STEP)).await? {
                Submission::Accepted(ticket) if ticket.decided() => return anyhow::Ok(()),
                Submission::Accepted(_) | Submission::Throttled(_) | Submission::Shed(_) => {}
                Submission::Refused(why) => break why,
            }
        };
        anyhow::bail!(booking)
    });
    bookings.buffer_unordered(64).try_collect().await
}

/// What a patient waits, from the 202 to the pushed outcome.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// Bookings that were accepted.
    pub accepted: u64,
    /// From the 202 to the outcome on the ticket's stream, for a sample of them. Opening the stream is in it.
    pub latency: Summary,
    /// From the decision, just before its commit, to the outcome on the stream, for those whose stream was open by then.
    pub push: Summary,
}

/// Sends at a steady rate, whatever the answers take, and follows some tickets.
pub(super) async fn steady(url: &str, crowd: &Crowd, rate_per_s: f64, length: Duration) -> anyhow::Result<Outcome> {
    let booking = Arc::new(Api::new(Client::new(url, 512, ANSWER_MAX)?));
    let following = Arc::new(Api::new(Client::new(url, 512, ANSWER_MAX)?));
    let follow_every = (rate_per_s / FOLLOWED_PER_S).max(1.0);
    let mut followed = 0_u64;
    let mut answers = Vec::new();
    let call = |sent: u64, _| {
        let (bearer, key, body) = crowd.next().context("there are enough keys")?;
        let follow = sent as f64 >= followed as f64 * follow_every;
        followed += u64::from(follow);
        let (booking, following) = (Arc::clone(&booking), Arc::clone(&following));
        Ok(async move {
            let Submission::Accepted(ticket) = booking.book(&bearer, &key, &body, None).await? else {
                return Ok((false, None));
            };
            if !follow {
                return Ok((true, None));
            }
            let answered = Instant::now();
            let pushed = pushed(&following, &bearer, &ticket.ticket).await?;
            Ok((true, pushed.map(|pushed| (answered.elapsed(), pushed))))
        })
    };
    let note = |answer| {
        answers.push(answer);
        Ok(())
    };
    pace::open_loop(pace::steady(rate_per_s, length), call, note).await?;
    let accepted = answers.iter().filter(|(accepted, _)| *accepted).count() as u64;
    let followed = || answers.iter().filter_map(|(_, followed)| *followed);
    let latency = followed().map(|(latency, _)| latency).collect::<Latencies>().summary();
    let push = followed().filter_map(|(_, pushed)| pushed.since_decision).collect::<Latencies>().summary();
    Ok(Outcome { accepted, latency, push })
}

/// An outcome on a ticket's stream.
#[derive(Clone, Copy)]
struct Pushed {
    /// `None` when the stream was opened after the decision.
    since_decision: Option<Duration>,
}

/// Waits for the outcome on the ticket's stream; `None` when no stream was free.
async fn pushed(api: &Api, bearer: &HeaderValue, ticket: &str) -> anyhow::Result<Option<Pushed>> {
    let Some(mut stream) = api.events(bearer, ticket).await? else { return Ok(None) };
    ensure!(stream.status() == StatusCode::OK, "the ticket's stream answered {}", stream.status());
    let opened = System.now();
    let mut text = String::new();
    while let Some(piece) = stream.next().await {
        text.push_str(&String::from_utf8_lossy(&piece));
        let Some((_, event)) = text.split_once("event: outcome") else { continue };
        let Some((event, _)) = event.split_once("\n\n") else { continue };
        let data = event.lines().find_map(|line| line.strip_prefix("data:")).context("an outcome has data")?;
        let ticket: Ticket = serde_json::from_str(data).context("an outcome is a ticket")?;
        let decided = ticket.decided_at.context("an outcome tells when it was decided")?;
        return Ok(Some(Pushed { since_decision: (opened < decided).then(|| since(decided)) }));
    }
    anyhow::bail!("a ticket's stream ended without an outcome")
}

/// How long ago that was; both ends are on one machine.
fn since(moment: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(System.now().as_micros() - moment.as_micros()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::{get, post};
    use serde_json::json;

    use super::*;

    /// Answers bookings in turns by 202, 503 and 500.
    async fn server() -> String {
        let turn = Arc::new(AtomicU64::new(0));
        let book = async move || {
            let statuses = [StatusCode::ACCEPTED, StatusCode::SERVICE_UNAVAILABLE, StatusCode::INTERNAL_SERVER_ERROR];
            statuses[usize::try_from(turn.fetch_add(1, Ordering::Relaxed) % 3).expect("below three")]
        };
        let session = json!({ "session_id": "s", "doctor_id": "d", "department": "e", "day": "2030-01-01",
            "capacity": 1, "remaining": 1, "state": "open" });
        let list = json!({ "sessions": [session], "next_cursor": null }).to_string();
        let router = Router::new()
            .route("/v1/demo/token", post(async || json!({ "access_token": "t" }).to_string()))
            .route("/v1/sessions", get(async || list))
            .route("/v1/bookings", post(book));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    #[tokio::test]
    async fn what_is_refused_is_counted_by_what_it_means() {
        let url = server().await;
        let crowd = Crowd::gather(&url).await.expect("a crowd");
        let begun = AtomicU64::new(0);
        let go_on = || begun.fetch_add(1, Ordering::Relaxed) < 9;
        let (latencies, refused) = closed_loop(&url, 1, &crowd, go_on).await.expect("answers");
        assert_eq!((latencies.count(), refused.shed, refused.failed), (3, 3, 3));
        assert!(refused.first.as_deref().is_some_and(|first| first.starts_with("503")), "{refused:?}");
        assert!(refused.ensure_honest().is_err(), "a 500 is no honest answer");
        assert!(Refused { failed: 0, ..refused }.ensure_honest().is_ok(), "overload is one");
    }
}
