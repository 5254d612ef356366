//! Bookings over HTTP: as fast as they go, or at a steady rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, StatusCode};
use tokio::time::{Instant, MissedTickBehavior};

use crate::api::{Api, Role, Submission};
use crate::client::Client;
use crate::latency::{Latencies, Summary};

const PATIENTS: usize = 2_000;
const ANSWER_MAX: Duration = Duration::from_secs(30);
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
    fn next(&self) -> Option<(HeaderValue, HeaderValue, Bytes)> {
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
}

/// Every connection sends as soon as it is answered, for `length`.
pub(super) async fn saturate(
    url: &str,
    connections: usize,
    length: Duration,
    crowd: &Crowd,
) -> anyhow::Result<Accepted> {
    let start = Instant::now();
    let count = closed_loop(url, connections, crowd, |_| start.elapsed() < length).await?;
    Ok(Accepted { count, rate_per_s: count as f64 / start.elapsed().as_secs_f64() })
}

/// Sends that many bookings, as fast as they go.
pub(super) async fn send(url: &str, connections: usize, count: u64, crowd: &Crowd) -> anyhow::Result<u64> {
    let begun = AtomicU64::new(0);
    closed_loop(url, connections, crowd, |_| begun.fetch_add(1, Ordering::Relaxed) < count).await
}

async fn closed_loop(
    url: &str,
    connections: usize,
    crowd: &Crowd,
    go_on: impl Fn(usize) -> bool,
) -> anyhow::Result<u64> {
    let client = Client::new(url, connections, ANSWER_MAX)?;
    let one = async |connection: usize| -> anyhow::Result<u64> {
        let mut accepted = 0;
        while go_on(connection) {
            let (bearer, key, body) = crowd.next().context("there are enough keys")?;
            let request = Request::post("/v1/bookings")
                .header(CONTENT_TYPE, "application/json")
                .header(AUTHORIZATION, bearer)
                .header("idempotency-key", key);
            let answer = client.send(request.body(Full::new(body))?).await?;
            match answer.status {
                StatusCode::ACCEPTED => accepted += 1,
                // Overload is an honest answer; it does not count.
                StatusCode::SERVICE_UNAVAILABLE => {}
                status => anyhow::bail!("{status} {}", String::from_utf8_lossy(&answer.body)),
            }
        }
        Ok(accepted)
    };
    let counts = futures::future::try_join_all((0..connections).map(one)).await?;
    Ok(counts.into_iter().sum())
}

/// What a patient waits, from the 202 to the pushed outcome.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Outcome {
    /// Bookings that were accepted.
    pub accepted: u64,
    /// From the 202 to the outcome on the ticket's stream, for a sample of them. Opening the stream is in it.
    pub latency: Summary,
}

/// Sends at a steady rate, whatever the answers take, and follows some tickets.
pub(super) async fn steady(url: &str, crowd: &Crowd, rate_per_s: f64, length: Duration) -> anyhow::Result<Outcome> {
    let booking = Arc::new(Api::new(Client::new(url, 512, ANSWER_MAX)?));
    let following = Arc::new(Api::new(Client::new(url, 512, ANSWER_MAX)?));
    let follow_every = (rate_per_s / FOLLOWED_PER_S).max(1.0);
    let (mut sent, mut followed) = (0_u64, 0_u64);
    let mut calls = tokio::task::JoinSet::new();
    let start = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while start.elapsed() < length {
        ticks.tick().await;
        while (sent as f64) < start.elapsed().as_secs_f64() * rate_per_s {
            let (bearer, key, body) = crowd.next().context("there are enough keys")?;
            let follow = sent as f64 >= followed as f64 * follow_every;
            followed += u64::from(follow);
            sent += 1;
            let (booking, following) = (Arc::clone(&booking), Arc::clone(&following));
            calls.spawn(async move {
                let Submission::Accepted(ticket) = booking.book(&bearer, &key, &body, None).await? else {
                    return Ok((false, None));
                };
                if !follow {
                    return Ok((true, None));
                }
                let answered = Instant::now();
                let outcome = pushed(&following, &bearer, &ticket.ticket).await?;
                anyhow::Ok((true, outcome.then(|| answered.elapsed())))
            });
        }
        while calls.len() > 10_000 {
            calls.join_next().await;
        }
    }
    let answers = calls.join_all().await.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let accepted = answers.iter().filter(|(accepted, _)| *accepted).count() as u64;
    let latency = answers.into_iter().filter_map(|(_, latency)| latency).collect::<Latencies>().summary();
    Ok(Outcome { accepted, latency })
}

/// Waits for the outcome on the ticket's stream; false when no stream was free.
async fn pushed(api: &Api, bearer: &HeaderValue, ticket: &str) -> anyhow::Result<bool> {
    let Some(mut stream) = api.events(bearer, ticket).await? else { return Ok(false) };
    ensure!(stream.status() == StatusCode::OK, "the ticket's stream answered {}", stream.status());
    let mut text = Vec::new();
    while let Some(piece) = stream.next().await {
        text.extend_from_slice(&piece);
        if String::from_utf8_lossy(&text).contains("event: outcome") {
            return Ok(true);
        }
    }
    anyhow::bail!("a ticket's stream ended without an outcome")
}
