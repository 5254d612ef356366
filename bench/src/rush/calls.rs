//! The calls of patients, each of which is written down.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use orderly_domain::Timestamp;

use super::events::EventReader;
use super::history::{Answered, Asked, Call};
use super::life::Hospital;
use crate::api::{Reply, Submission, Ticket};
use crate::client::{Error, Stream};
use crate::demand::Intent;

/// A patient's wish, under the key by which it is asked for.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    pub(super) intent: &'a Intent,
    patient: String,
    key: String,
}

impl<'a> Wish<'a> {
    /// The `index`-th wish of a run.
    pub(super) fn new(run: &str, index: usize, intent: &'a Intent) -> Self {
        Self { intent, patient: super::patient(intent.patient), key: format!("{run}-{index}") }
    }
}

/// What came over a stream.
#[derive(Debug, Default)]
struct Heard {
    status: Option<u16>,
    failure: Option<String>,
    outcome: Option<Ticket>,
}

impl Heard {
    fn failed(status: Option<StatusCode>, why: impl Into<String>) -> Self {
        Self { status: status.map(|status| status.as_u16()), failure: Some(why.into()), outcome: None }
    }
}

impl Hospital {
    /// Asks for a number.
    pub(super) async fn book(&self, wish: &Wish<'_>) -> Result<Submission, Error> {
        let call = self.call(wish, Asked::Book, Duration::ZERO);
        let key = HeaderValue::from_str(&wish.key).expect("letters, digits and dashes");
        let body = &self.bodies[wish.intent.session];
        let reply = self.desk.reply_to_booking(self.bearer(wish), &key, body, None).await;
        self.noted(&call, reply)
    }

    /// Looks a ticket up, and waits up to `wait` for its outcome.
    pub(super) async fn look(&self, wish: &Wish<'_>, ticket: &str, wait: Duration) -> Result<Submission, Error> {
        let call = self.call(wish, Asked::Look, wait);
        let reply = self.polls.reply_to_look(self.bearer(wish), ticket, wait).await;
        self.noted(&call, reply)
    }

    /// Asks for a cancellation, and to be answered when it is decided, within `wait`.
    pub(super) async fn give_back(&self, wish: &Wish<'_>, ticket: &str, wait: Duration) -> Result<Submission, Error> {
        let call = self.call(wish, Asked::Cancel, wait);
        let reply = self.polls.reply_to_cancellation(self.bearer(wish), ticket, wait).await;
        self.noted(&call, reply)
    }

    /// The outcome that the server pushes; `None` when all streams are in use, in which case nothing was sent, or the stream
    /// ended without one.
    pub(super) async fn pushed(&self, wish: &Wish<'_>, ticket: &str) -> Option<Ticket> {
        let call = self.call(wish, Asked::Follow, Duration::ZERO);
        let listened = async {
            match self.streams.events(self.bearer(wish), ticket).await {
                Ok(None) => None,
                Ok(Some(stream)) => Some(heard(stream).await),
                Err(error) => Some(Heard::failed(None, error.to_string())),
            }
        };
        let listened = tokio::time::timeout_at(self.deadline(), listened).await;
        let heard = listened.unwrap_or_else(|_| Some(Heard::failed(None, "no outcome in time")))?;
        let Heard { status, failure, outcome } = heard;
        self.history.note(&call, self.now(), &Answered { status, failure, ticket: outcome.as_ref() });
        outcome
    }

    fn bearer(&self, wish: &Wish<'_>) -> &HeaderValue {
        &self.bearers[wish.intent.patient]
    }

    fn call<'a>(&'a self, wish: &'a Wish<'_>, asked: Asked, wait: Duration) -> Call<'a> {
        let session = &self.sessions[wish.intent.session].session_id;
        Call { patient: &wish.patient, key: &wish.key, session, asked, wait, sent_at: self.now() }
    }

    fn noted(&self, call: &Call<'_>, reply: Result<Reply, Error>) -> Result<Submission, Error> {
        self.history.note(call, self.now(), &Answered::from(&reply));
        reply.map(|reply| reply.submission)
    }

    /// The wall clock as it was at the start, carried on by the steady one.
    fn now(&self) -> Timestamp {
        self.start_wall.plus(self.start.elapsed())
    }
}

/// Reads a stream up to the outcome, or to its end.
async fn heard(mut stream: Stream) -> Heard {
    let status = stream.status();
    if status != StatusCode::OK {
        return Heard::failed(Some(status), "no stream");
    }
    let mut events = EventReader::default();
    while let Some(piece) = stream.next().await {
        if let Some(outcome) = events.outcome(&piece) {
            return match serde_json::from_str(&outcome) {
                Ok(ticket) => Heard { status: Some(status.as_u16()), failure: None, outcome: Some(ticket) },
                Err(error) => Heard::failed(Some(status), format!("an outcome that is no ticket: {error}")),
            };
        }
    }
    Heard::failed(Some(status), "the stream ended without an outcome")
}
