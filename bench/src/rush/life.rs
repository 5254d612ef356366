//! One intent's life, from its intended start to its known outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use orderly_domain::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::api::{Api, Session, Status, Submission, Ticket};
use crate::client::Error;
use crate::demand::{Follow, Intent, Retry};

/// How often one submission is tried: the first time, and again after a 429, a 503 or a broken connection.
const ATTEMPTS_MAX: u32 = 8;
/// How long one look at a ticket waits for its outcome.
const POLL_WAIT: Duration = Duration::from_secs(5);
/// The pause before another look, so that a server that doesn't wait is not asked without end.
const QUEUED_PAUSE: Duration = Duration::from_millis(10);
/// The pause after a broken connection.
const RECONNECT_PAUSE: Duration = Duration::from_millis(250);

/// What all intents of a run share.
#[derive(Debug)]
pub(super) struct Hospital {
    /// For submissions.
    pub(super) desk: Api,
    /// For long polls, so that they don't take connections from submissions.
    pub(super) polls: Api,
    /// For event streams.
    pub(super) streams: Api,
    /// By patient: the `Authorization` header.
    pub(super) bearers: Vec<HeaderValue>,
    /// Those that can be asked for.
    pub(super) sessions: Vec<Session>,
    /// By session: the body that asks for it.
    pub(super) bodies: Vec<Bytes>,
    /// What tells this run's Idempotency-Keys from another's.
    pub(super) run: String,
    /// When it started.
    pub(super) start: Instant,
    /// When it started, by the wall clock.
    pub(super) start_wall: Timestamp,
    /// When arrivals end, unless they are ended early.
    pub(super) arrivals_end: Instant,
    /// Set when arrivals have ended; from then on those that had no stream look their tickets up.
    pub(super) arrivals_over: watch::Sender<bool>,
    /// How long an answer may take from then on.
    pub(super) drain: Duration,
    /// For the progress bar.
    pub(super) tally: Tally,
}

/// How far a run is.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) offered: AtomicU64,
    pub(super) accepted: AtomicU64,
    pub(super) decided: AtomicU64,
}

/// How many answers of each kind there were.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Answers {
    pub(super) throttled: u64,
    pub(super) shed: u64,
    pub(super) errors: u64,
}

/// What became of a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancellation {
    /// The number was given back.
    Done,
    /// It was not accepted, so the number is still held.
    NotAccepted,
    /// It was accepted and its outcome was not learnt.
    Unknown,
}

/// What became of a retry.
#[derive(Clone, Debug)]
pub(super) enum Repeat {
    /// It got an outcome.
    Decided(Ticket),
    /// It was not accepted, so there is nothing to compare.
    NotAccepted,
    /// It was accepted and its outcome was not learnt.
    Unknown,
}

/// What is known of an intent at the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Life {
    pub(super) index: usize,
    pub(super) answers: Answers,
    /// When the acceptance was read, from the start of the run.
    pub(super) accepted: Option<Duration>,
    /// The decided ticket.
    pub(super) outcome: Option<Ticket>,
    /// From the acceptance to the pushed outcome, where it was pushed.
    pub(super) pushed: Option<Duration>,
    pub(super) cancellation: Option<Cancellation>,
    pub(super) repeat: Option<Repeat>,
    /// An answer that was neither an acceptance nor a request to come back.
    pub(super) refused: Option<String>,
}

struct Submitted {
    answers: Answers,
    result: Result<Ticket, Option<String>>,
    at: Duration,
}

impl Hospital {
    /// Lives the life of an intent whose time has come.
    pub(super) async fn live(self: Arc<Self>, index: usize, intent: Intent) -> Life {
        self.tally.offered.fetch_add(1, Ordering::Relaxed);
        let mut life = Life { index, ..Life::default() };
        let submit = || self.submit(index, &intent);
        let (first, second) = if intent.retry == Retry::AtOnce {
            let (first, second) = tokio::join!(submit(), submit());
            (first, Some(second))
        } else {
            (submit().await, None)
        };
        life.answers = first.answers;
        let ticket = match first.result {
            Ok(ticket) => ticket,
            Err(refused) => {
                life.refused = refused;
                // The double click's other half may have been accepted: then it is the one that counts.
                let Some(Submitted { answers, result: Ok(ticket), at }) = second else { return life };
                life.answers.add(answers);
                self.outcome_of(&mut life, &intent, ticket, at).await;
                return life;
            }
        };
        self.outcome_of(&mut life, &intent, ticket, first.at).await;
        let second = match (second, intent.retry) {
            (None, Retry::After(pause)) => {
                tokio::time::sleep(pause).await;
                Some(submit().await)
            }
            (second, _) => second,
        };
        if let Some(second) = second {
            life.answers.add(second.answers);
            life.repeat = Some(match second.result {
                Err(_) => Repeat::NotAccepted,
                Ok(ticket) => self.poll(&intent, ticket).await.map_or(Repeat::Unknown, Repeat::Decided),
            });
        }
        if intent.cancel
            && let Some(ticket) = life.outcome.as_ref().filter(|ticket| ticket.status == Status::Booked).cloned()
        {
            life.cancellation = Some(self.cancel(&mut life.answers, &intent, ticket).await);
        }
        life
    }

    /// Until when something that begins now is waited for.
    fn deadline(&self) -> Instant {
        let now = Instant::now();
        let from = if *self.arrivals_over.borrow() { now } else { self.arrivals_end.max(now) };
        from + self.drain
    }

    /// Submits until it is accepted, refused or tried often enough.
    async fn submit(&self, index: usize, intent: &Intent) -> Submitted {
        let key = HeaderValue::from_str(&format!("{}-{index}", self.run)).expect("digits and dashes");
        let bearer = &self.bearers[intent.patient];
        let body = &self.bodies[intent.session];
        let deadline = self.deadline();
        let mut answers = Answers::default();
        for _ in 0..ATTEMPTS_MAX {
            let pause = match self.desk.book(bearer, &key, body, None).await {
                Ok(Submission::Accepted(ticket)) => {
                    return Submitted { answers, result: Ok(ticket), at: self.start.elapsed() };
                }
                Ok(Submission::Refused(why)) => {
                    answers.errors += 1;
                    return Submitted { answers, result: Err(Some(why)), at: self.start.elapsed() };
                }
                other => answers.pause(&other),
            };
            if Instant::now() + pause >= deadline {
                break;
            }
            tokio::time::sleep(pause).await;
        }
        Submitted { answers, result: Err(None), at: self.start.elapsed() }
    }

    async fn outcome_of(&self, life: &mut Life, intent: &Intent, ticket: Ticket, accepted: Duration) {
        self.tally.accepted.fetch_add(1, Ordering::Relaxed);
        life.accepted = Some(accepted);
        if intent.follow == Follow::Push {
            life.outcome = self.pushed(intent, &ticket).await;
            if life.outcome.is_some() {
                life.pushed = Some(self.start.elapsed().saturating_sub(accepted));
            } else {
                // An error would mean that nobody can set it any more.
                let _ = self.arrivals_over.subscribe().wait_for(|over| *over).await;
            }
        }
        if life.outcome.is_none() {
            life.outcome = self.poll(intent, ticket).await;
        }
        if life.outcome.is_some() {
            self.tally.decided.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Long-polls a ticket until it is decided; `None` when it was not in time.
    async fn poll(&self, intent: &Intent, ticket: Ticket) -> Option<Ticket> {
        let bearer = &self.bearers[intent.patient];
        let deadline = self.deadline();
        let mut known = ticket;
        while !known.decided() {
            let left = deadline.checked_duration_since(Instant::now())?;
            let answer = self.polls.ticket(bearer, &known.ticket, POLL_WAIT.min(left)).await;
            match answer {
                Ok(Submission::Accepted(ticket)) if ticket.decided() => return Some(ticket),
                Ok(Submission::Accepted(ticket)) => {
                    known = ticket;
                    tokio::time::sleep(QUEUED_PAUSE).await;
                }
                Ok(Submission::Refused(_)) => return None,
                other => tokio::time::sleep(Answers::default().pause(&other)).await,
            }
        }
        Some(known)
    }

    /// The outcome that the server pushes; `None` when all streams are in use or the stream ended without one.
    async fn pushed(&self, intent: &Intent, ticket: &Ticket) -> Option<Ticket> {
        let read = async {
            let mut stream = self.streams.events(&self.bearers[intent.patient], &ticket.ticket).await.ok()??;
            if stream.status() != StatusCode::OK {
                return None;
            }
            let mut events = EventReader::default();
            while let Some(piece) = stream.next().await {
                if let Some(outcome) = events.outcome(&piece) {
                    return serde_json::from_str(&outcome).ok();
                }
            }
            None
        };
        tokio::time::timeout_at(self.deadline(), read).await.ok()?
    }

    /// Asks for a cancellation until it is answered: one that was not answered may have been accepted.
    async fn cancel(&self, answers: &mut Answers, intent: &Intent, ticket: Ticket) -> Cancellation {
        let deadline = self.deadline();
        while Instant::now() < deadline {
            let answer = self.polls.cancel(&self.bearers[intent.patient], &ticket.ticket, POLL_WAIT).await;
            let pause = match answer {
                Ok(Submission::Accepted(known)) if known.status == Status::Cancelled => return Cancellation::Done,
                Ok(Submission::Accepted(_)) => return self.cancelled(intent, &ticket).await,
                Ok(Submission::Refused(_)) => return Cancellation::NotAccepted,
                other => answers.pause(&other),
            };
            tokio::time::sleep(pause).await;
        }
        Cancellation::Unknown
    }

    /// Looks a booked ticket up until it is cancelled. A long poll would not wait: the booking is decided.
    async fn cancelled(&self, intent: &Intent, ticket: &Ticket) -> Cancellation {
        let deadline = self.deadline();
        let mut pause = Duration::from_millis(20);
        while Instant::now() < deadline {
            let answer = self.polls.ticket(&self.bearers[intent.patient], &ticket.ticket, Duration::ZERO).await;
            if matches!(&answer, Ok(Submission::Accepted(known)) if known.status == Status::Cancelled) {
                return Cancellation::Done;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
        Cancellation::Unknown
    }
}

impl Answers {
    fn add(&mut self, other: Self) {
        self.throttled += other.throttled;
        self.shed += other.shed;
        self.errors += other.errors;
    }

    /// Counts an answer that asks to come back, and says when to.
    fn pause(&mut self, answer: &Result<Submission, Error>) -> Duration {
        match answer {
            Ok(Submission::Throttled(pause)) => {
                self.throttled += 1;
                *pause
            }
            Ok(Submission::Shed(pause)) => {
                self.shed += 1;
                *pause
            }
            _ => {
                self.errors += 1;
                RECONNECT_PAUSE
            }
        }
    }
}

/// The longest part of an event that is kept, in bytes; a ticket is much shorter.
const EVENT_BYTES_MAX: usize = 64 * 1024;

/// Finds the `outcome` in a stream of server-sent events that comes in pieces.
#[derive(Debug, Default)]
struct EventReader {
    unread: Vec<u8>,
    is_outcome: bool,
    data: String,
}

impl EventReader {
    /// Takes a piece in; the data of the `outcome` event once it is complete.
    fn outcome(&mut self, piece: &[u8]) -> Option<String> {
        self.unread.extend_from_slice(piece);
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end();
            if let Some(name) = line.strip_prefix("event:") {
                self.is_outcome = name.trim() == "outcome";
            } else if let Some(data) = line.strip_prefix("data:") {
                data.trim().clone_into(&mut self.data);
            } else if line.is_empty() {
                let data = std::mem::take(&mut self.data);
                if std::mem::take(&mut self.is_outcome) {
                    return Some(data);
                }
            }
        }
        self.unread.truncate(EVENT_BYTES_MAX);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_outcome_however_it_is_cut() {
        let stream = b": hello\n\nid: 1\nevent: position\ndata: {\"position\":3}\n\nid: 2\nevent: outcome\ndata: {\"ticket\":\"t\"}\n\n";
        for size in 1..stream.len() {
            let mut reader = EventReader::default();
            let found = stream.chunks(size).find_map(|piece| reader.outcome(piece));
            assert_eq!(found.as_deref(), Some("{\"ticket\":\"t\"}"), "pieces of {size}");
        }
        assert_eq!(EventReader::default().outcome(b"event: position\ndata: {}\n\n"), None);
    }
}
