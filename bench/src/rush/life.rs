//! One intent's life, from its intended start to its known outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::HeaderValue;
use orderly_domain::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::calls::Wish;
use super::history::History;
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
    /// Where every call is written down.
    pub(super) history: History,
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

/// What a look told of a ticket whose outcome had been pushed.
#[derive(Clone, Debug)]
pub(super) enum Look {
    /// An outcome.
    Told(Ticket),
    /// None, within the time.
    Nothing,
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
    /// The same outcome looked up, where it was pushed.
    pub(super) looked: Option<Look>,
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
        let wish = Wish::new(&self.run, index, &intent);
        let submit = || self.submit(&wish);
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
                self.outcome_of(&mut life, &wish, ticket, at).await;
                return life;
            }
        };
        self.outcome_of(&mut life, &wish, ticket, first.at).await;
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
                Ok(ticket) => self.poll(&wish, ticket).await.map_or(Repeat::Unknown, Repeat::Decided),
            });
        }
        if intent.cancel
            && let Some(ticket) = life.outcome.as_ref().filter(|ticket| ticket.status == Status::Booked).cloned()
        {
            life.cancellation = Some(self.cancel(&mut life.answers, &wish, ticket).await);
        }
        life
    }

    /// Until when something that begins now is waited for.
    pub(super) fn deadline(&self) -> Instant {
        let now = Instant::now();
        let from = if *self.arrivals_over.borrow() { now } else { self.arrivals_end.max(now) };
        from + self.drain
    }

    /// Submits until it is accepted, refused or tried often enough.
    async fn submit(&self, wish: &Wish<'_>) -> Submitted {
        let deadline = self.deadline();
        let mut answers = Answers::default();
        for _ in 0..ATTEMPTS_MAX {
            let pause = match self.book(wish).await {
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

    async fn outcome_of(&self, life: &mut Life, wish: &Wish<'_>, ticket: Ticket, accepted: Duration) {
        self.tally.accepted.fetch_add(1, Ordering::Relaxed);
        life.accepted = Some(accepted);
        if wish.intent.follow == Follow::Push {
            life.outcome = self.pushed(wish, &ticket.ticket).await;
            if life.outcome.is_some() {
                life.pushed = Some(self.start.elapsed().saturating_sub(accepted));
                // As it was accepted, and so not decided: it is looked up for certain.
                life.looked = Some(self.poll(wish, ticket.clone()).await.map_or(Look::Nothing, Look::Told));
            } else {
                // An error would mean that nobody can set it any more.
                let _ = self.arrivals_over.subscribe().wait_for(|over| *over).await;
            }
        }
        if life.outcome.is_none() {
            life.outcome = self.poll(wish, ticket).await;
        }
        if life.outcome.is_some() {
            self.tally.decided.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Long-polls a ticket until it is decided; `None` when it was not in time.
    async fn poll(&self, wish: &Wish<'_>, ticket: Ticket) -> Option<Ticket> {
        let deadline = self.deadline();
        let mut known = ticket;
        while !known.decided() {
            let left = deadline.checked_duration_since(Instant::now())?;
            match self.look(wish, &known.ticket, POLL_WAIT.min(left)).await {
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

    /// Asks for a cancellation until it is answered: one that was not answered may have been accepted.
    async fn cancel(&self, answers: &mut Answers, wish: &Wish<'_>, ticket: Ticket) -> Cancellation {
        let deadline = self.deadline();
        while Instant::now() < deadline {
            let pause = match self.give_back(wish, &ticket.ticket, POLL_WAIT).await {
                Ok(Submission::Accepted(known)) if known.status == Status::Cancelled => return Cancellation::Done,
                Ok(Submission::Accepted(_)) => return self.cancelled(wish, &ticket).await,
                Ok(Submission::Refused(_)) => return Cancellation::NotAccepted,
                other => answers.pause(&other),
            };
            tokio::time::sleep(pause).await;
        }
        Cancellation::Unknown
    }

    /// Looks a booked ticket up until it is cancelled. A long poll would not wait: the booking is decided.
    async fn cancelled(&self, wish: &Wish<'_>, ticket: &Ticket) -> Cancellation {
        let deadline = self.deadline();
        let mut pause = Duration::from_millis(20);
        while Instant::now() < deadline {
            let answer = self.look(wish, &ticket.ticket, Duration::ZERO).await;
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
