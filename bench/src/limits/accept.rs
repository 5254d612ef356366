//! Bookings over HTTP: as fast as they go, or at a steady rate.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http_body_util::Full;
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
}

/// Every connection sends as soon as it is answered, for `length`.
pub(super) async fn saturate(
    url: &str,
    connections: usize,
    length: Duration,
    crowd: &Crowd,
) -> anyhow::Result<Accepted> {
    let start = Instant::now();
    let latencies = closed_loop(url, connections, crowd, || start.elapsed() < length).await?;
    let count = latencies.count();
    Ok(Accepted { count, rate_per_s: count as f64 / start.elapsed().as_secs_f64(), latency: latencies.summary() })
}

/// Sends that many bookings, as fast as they go.
pub(super) async fn send(url: &str, connections: usize, count: u64, crowd: &Crowd) -> anyhow::Result<u64> {
    let begun = AtomicU64::new(0);
    let latencies = closed_loop(url, connections, crowd, || begun.fetch_add(1, Ordering::Relaxed) < count).await?;
    Ok(latencies.count())
}

/// Every connection sends as soon as it is answered, while `go_on` says so. Tells what the accepted ones took.
async fn closed_loop(
    url: &str,
    connections: usize,
    crowd: &Crowd,
    go_on: impl Fn() -> bool,
) -> anyhow::Result<Latencies> {
    let client = Client::new(url, connections, ANSWER_MAX)?;
    let latencies = RefCell::new(Latencies::default());
    let one = async || -> anyhow::Result<()> {
        while go_on() {
            let (bearer, key, body) = crowd.next().context("there are enough keys")?;
            let request = Request::post("/v1/bookings")
                .header(CONTENT_TYPE, "application/json")
                .header(AUTHORIZATION, bearer)
                .header("idempotency-key", key);
            let sent = Instant::now();
            let answer = client.send(request.body(Full::new(body))?).await?;
            match answer.status {
                StatusCode::ACCEPTED => latencies.borrow_mut().record(sent.elapsed()),
                // Overload is an honest answer; it does not count.
                StatusCode::SERVICE_UNAVAILABLE => {}
                status => anyhow::bail!("{status} {}", String::from_utf8_lossy(&answer.body)),
            }
        }
        Ok(())
    };
    futures::future::try_join_all((0..connections).map(|_| one())).await?;
    Ok(latencies.into_inner())
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
