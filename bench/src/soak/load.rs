//! What goes on in a hospital all day: bookings, most of which come too late, some who wait for the outcome on a stream or by
//! poll while others look it up later, numbers that are given back, and people who watch the list of sessions.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use http_body_util::Full;
use hyper::Request;
use hyper::header::HeaderValue;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::api::{Api, Role, Status, Submission, Ticket};
use crate::client::Client;
use crate::pace::{open_loop, steady};

pub(super) const ANSWER_MAX: Duration = Duration::from_secs(30);
const PATIENTS: usize = 2_000;
const TOKENS_AT_ONCE: usize = 32;
const CONNECTIONS: usize = 256;
/// Streams of tickets at once. With those of sessions they must stay below what one address may have.
const TICKET_STREAMS: usize = 400;
/// How long one poll waits.
const POLL_WAIT: Duration = Duration::from_secs(5);
/// Tickets that are looked up later: the oldest, when there are so many.
const LEFT_MAX: usize = 1_000;
/// One in so many bookings is made by somebody who gives a number back first, so that some are free all day.
const GIVES_BACK: u64 = 50;
/// How soon one who was disturbed watches again.
const WATCH_AGAIN: Duration = Duration::from_secs(1);

/// What was asked, and what came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Bookings that were sent.
    pub(super) sent: u64,
    /// Bookings that were taken.
    pub(super) accepted: u64,
    /// Bookings that were turned away because there were too many.
    pub(super) turned_away: u64,
    /// Outcomes that came on a stream.
    pub(super) pushed: u64,
    /// Outcomes that came by poll, or were looked up.
    pub(super) polled: u64,
    /// Of these outcomes, those with a number.
    pub(super) booked: u64,
    /// Numbers that were given back.
    pub(super) cancelled: u64,
    /// Answers that nobody should get, and calls without one.
    pub(super) errors: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.accepted += other.accepted;
        self.turned_away += other.turned_away;
        self.pushed += other.pushed;
        self.polled += other.polled;
        self.booked += other.booked;
        self.cancelled += other.cancelled;
        self.errors += other.errors;
    }
}

/// Patients, and what there is to book.
pub(super) struct Crowd {
    pub(super) bearers: Vec<HeaderValue>,
    pub(super) bodies: Vec<Bytes>,
    pub(super) doctors: Vec<String>,
    next: AtomicU64,
}

impl Crowd {
    pub(super) async fn gather(url: &str) -> anyhow::Result<Self> {
        let api = &Api::new(Client::new(url, TOKENS_AT_ONCE, ANSWER_MAX)?);
        let bearers = futures::stream::iter(0..PATIENTS)
            .map(|patient| async move { api.token(&format!("patient-{patient}"), Role::Patient).await })
            .buffered(TOKENS_AT_ONCE)
            .try_collect()
            .await?;
        let mut sessions = api.sessions().await?;
        sessions.retain(|session| session.state == "open");
        ensure!(!sessions.is_empty(), "the server has no open session; start it with --demo");
        let body = |id: &str| Bytes::from(format!(r#"{{"session_id":"{id}"}}"#));
        let bodies = sessions.iter().map(|session| body(&session.session_id)).collect();
        let mut doctors: Vec<_> = sessions.into_iter().map(|session| session.doctor_id).collect();
        doctors.sort_unstable();
        doctors.dedup();
        Ok(Self { bearers, bodies, doctors, next: AtomicU64::new(0) })
    }

    /// The next wish: who, under which key, and what.
    pub(super) fn wish(&self) -> anyhow::Result<(HeaderValue, HeaderValue, Bytes)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let index = usize::try_from(number)?;
        // A stride without a common factor spreads neighbours over sessions.
        let body = self.bodies[index * 7_919 % self.bodies.len()].clone();
        let key = HeaderValue::from_str(&format!("soak-{number}"))?;
        Ok((self.bearers[index % self.bearers.len()].clone(), key, body))
    }
}

/// What a server takes in at most, a second: every connection asks as soon as it is answered.
pub(super) async fn most(url: &str, crowd: &Crowd, length: Duration) -> anyhow::Result<f64> {
    let api = Api::new(Client::new(url, CONNECTIONS, ANSWER_MAX)?);
    let (start, accepted) = (Instant::now(), AtomicU64::new(0));
    let one = async || -> anyhow::Result<()> {
        while start.elapsed() < length {
            let (bearer, key, body) = crowd.wish()?;
            match api.book(&bearer, &key, &body, None).await? {
                Submission::Accepted(_) => {
                    accepted.fetch_add(1, Ordering::Relaxed);
                }
                Submission::Throttled(pause) | Submission::Shed(pause) => tokio::time::sleep(pause).await,
                Submission::Refused(why) => anyhow::bail!("a booking was answered {why}"),
            }
        }
        Ok(())
    };
    futures::future::try_join_all((0..CONNECTIONS).map(|_| one())).await?;
    Ok(accepted.into_inner() as f64 / start.elapsed().as_secs_f64())
}

/// Those who ask, with their connections.
struct Desk {
    bookings: Api,
    polls: Api,
    streams: Api,
    /// Whose outcome nobody knows yet.
    left: Mutex<VecDeque<Held>>,
    /// Which hold a number: as many as there are numbers, at most.
    booked: Mutex<VecDeque<Held>>,
}

/// A ticket, and whose it is.
struct Held {
    bearer: HeaderValue,
    ticket: Ticket,
}

/// Adds one, and takes the oldest out if there are more than so many.
fn turn(held: &Mutex<VecDeque<Held>>, one: Option<Held>, most: usize) -> Option<Held> {
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    held.extend(one);
    if held.len() > most { held.pop_front() } else { None }
}

/// Books at a steady rate, whatever the answers are. Each of `watchers` has a stream of sessions open meanwhile.
pub(super) async fn play(
    url: &str,
    crowd: &Arc<Crowd>,
    rate_per_s: f64,
    length: Duration,
    watchers: usize,
) -> anyhow::Result<Tally> {
    let api = |connections| anyhow::Ok(Api::new(Client::new(url, connections, ANSWER_MAX)?));
    let desk = Arc::new(Desk {
        bookings: api(CONNECTIONS)?,
        polls: api(CONNECTIONS)?,
        streams: api(TICKET_STREAMS)?,
        left: Mutex::default(),
        booked: Mutex::default(),
    });
    let (over, _) = watch::channel(false);
    let watching = (0..watchers)
        .map(|number| watch_sessions(url, &crowd.doctors[number % crowd.doctors.len()], over.subscribe()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let watching = tokio::spawn(futures::future::join_all(watching));
    let mut tally = Tally::default();
    let call = |number, _| {
        let desk = Arc::clone(&desk);
        let wish = crowd.wish()?;
        Ok(async move { Ok(desk.one(number, wish).await) })
    };
    let note = |one: Tally| {
        tally.add(&one);
        Ok(())
    };
    open_loop(steady(rate_per_s, length), call, note).await?;
    over.send_replace(true);
    watching.await.context("those who watch do not panic")?;
    Ok(tally)
}

impl Desk {
    /// One wish, and what its patient does next: a fifth wait on a stream, three tenths by poll, the others look later.
    async fn one(&self, number: u64, (bearer, key, body): (HeaderValue, HeaderValue, Bytes)) -> Tally {
        let mut tally = Tally { sent: 1, ..Tally::default() };
        if number.is_multiple_of(GIVES_BACK)
            && let Some(Held { bearer, ticket }) = turn(&self.booked, None, 0)
        {
            self.cancel(&bearer, &ticket, &mut tally).await;
        }
        let ticket = match self.bookings.book(&bearer, &key, &body, None).await {
            Ok(Submission::Accepted(ticket)) => ticket,
            Ok(Submission::Throttled(_) | Submission::Shed(_)) => return Tally { turned_away: 1, ..tally },
            Ok(Submission::Refused(_)) | Err(_) => return Tally { errors: tally.errors + 1, ..tally },
        };
        tally.accepted = 1;
        let held = Held { bearer, ticket };
        let (held, outcome) = match number % 10 {
            0..=1 => {
                let outcome = self.pushed(&held, &mut tally).await;
                (held, outcome)
            }
            2..=4 => {
                let outcome = self.polled(&held, POLL_WAIT, &mut tally).await;
                (held, outcome)
            }
            _ => {
                let Some(held) = turn(&self.left, Some(held), LEFT_MAX) else { return tally };
                let outcome = self.polled(&held, Duration::ZERO, &mut tally).await;
                (held, outcome)
            }
        };
        if outcome == Some(Status::Booked) {
            tally.booked = 1;
            turn(&self.booked, Some(held), usize::MAX);
        }
        tally
    }

    async fn pushed(&self, Held { bearer, ticket }: &Held, tally: &mut Tally) -> Option<Status> {
        let stream = match self.streams.events(bearer, &ticket.ticket).await {
            Ok(stream) => stream,
            Err(_) => {
                tally.errors += 1;
                return None;
            }
        };
        // Without room for a stream nobody waits.
        let mut stream = stream?;
        let mut text = String::new();
        while let Some(piece) = stream.next().await {
            text.push_str(&String::from_utf8_lossy(&piece));
            if let Some(status) = outcome_in(&text) {
                tally.pushed += 1;
                return Some(status);
            }
        }
        tally.errors += 1;
        None
    }

    async fn polled(&self, Held { bearer, ticket }: &Held, wait: Duration, tally: &mut Tally) -> Option<Status> {
        match self.polls.ticket(bearer, &ticket.ticket, wait).await {
            Ok(Submission::Accepted(known)) if known.decided() => {
                tally.polled += 1;
                Some(known.status)
            }
            // It waits for longer than this one does.
            Ok(Submission::Accepted(_) | Submission::Throttled(_) | Submission::Shed(_)) => None,
            Ok(Submission::Refused(_)) | Err(_) => {
                tally.errors += 1;
                None
            }
        }
    }

    async fn cancel(&self, bearer: &HeaderValue, ticket: &Ticket, tally: &mut Tally) {
        match self.bookings.cancel(bearer, &ticket.ticket, POLL_WAIT).await {
            Ok(Submission::Accepted(_)) => tally.cancelled += 1,
            Ok(Submission::Throttled(_) | Submission::Shed(_)) => tally.turned_away += 1,
            Ok(Submission::Refused(_)) | Err(_) => tally.errors += 1,
        }
    }
}

/// The status in a stream's `outcome`, once it is whole.
fn outcome_in(text: &str) -> Option<Status> {
    let (event, _) = text.split_once("event: outcome")?.1.split_once("\n\n")?;
    let data = event.lines().find_map(|line| line.strip_prefix("data:"))?;
    serde_json::from_str::<Ticket>(data).ok().map(|ticket| ticket.status)
}

/// Reads a doctor's sessions as they change, and comes again when the stream ends.
fn watch_sessions(
    url: &str,
    doctor: &str,
    mut over: watch::Receiver<bool>,
) -> anyhow::Result<impl Future<Output = ()> + Send + use<>> {
    let client = Client::new(url, 1, ANSWER_MAX)?;
    let path = format!("/v1/sessions/events?doctor={doctor}");
    Ok(async move {
        let read = async {
            loop {
                if let Ok(request) = Request::get(&path).body(Full::default())
                    && let Ok(Some(mut stream)) = client.stream(request).await
                {
                    while stream.next().await.is_some() {}
                }
                tokio::time::sleep(WATCH_AGAIN).await;
            }
        };
        tokio::select! {
            () = read => {}
            _ = over.wait_for(|over| *over) => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_an_outcome_once_it_is_whole() {
        let text = "event: position\ndata: {}\n\nevent: outcome\nid: booked\ndata: {\"ticket\":\"t\",\"status\":\"booked\"}\n\n";
        assert_eq!(outcome_in(text), Some(Status::Booked));
        assert_eq!(outcome_in(&text[..text.len() - 1]), None);
        assert_eq!(outcome_in("event: position\ndata: {}\n\n"), None);
    }
}
