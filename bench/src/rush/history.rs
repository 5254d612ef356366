//! What patients sent and what they were told: a line of JSON a call, for whoever compares it with what was decided.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use orderly_domain::Timestamp;
use serde::Serialize;

use crate::api::{Place, Reply, Status, Submission, Ticket};
use crate::client::Error;

/// What a patient asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Asked {
    /// A number.
    Book,
    /// To give it back.
    Cancel,
    /// What became of the ticket.
    Look,
    /// The same, to be pushed.
    Follow,
}

impl Asked {
    /// By what an outcome is told that is in the answer.
    const fn by(self) -> &'static str {
        match self {
            Self::Book => "answer",
            Self::Cancel => "cancel",
            Self::Look => "poll",
            Self::Follow => "push",
        }
    }
}

/// A call that was sent.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// The token's `sub`.
    pub(super) patient: &'a str,
    /// The booking's Idempotency-Key, also in calls about its ticket.
    pub(super) key: &'a str,
    /// The session that is asked for.
    pub(super) session: &'a str,
    pub(super) asked: Asked,
    /// For how long the server was asked to wait for the outcome.
    pub(super) wait: Duration,
    /// When its time had come; it may have waited for a connection.
    pub(super) sent_at: Timestamp,
}

/// What came back.
#[derive(Debug, Default)]
pub(super) struct Answered<'a> {
    /// The HTTP status; `None` when there is no answer.
    pub(super) status: Option<u16>,
    /// Why there is no answer, or none that says what was asked.
    pub(super) failure: Option<String>,
    /// The ticket, as it was told.
    pub(super) ticket: Option<&'a Ticket>,
}

impl<'a> From<&'a Result<Reply, Error>> for Answered<'a> {
    fn from(reply: &'a Result<Reply, Error>) -> Self {
        let Reply { status, submission } = match reply {
            Ok(reply) => reply,
            Err(error) => return Self { failure: Some(error.to_string()), ..Self::default() },
        };
        let (ticket, failure) = match submission {
            Submission::Accepted(ticket) => (Some(ticket), None),
            Submission::Refused(why) => (None, Some(why.clone())),
            Submission::Throttled(_) | Submission::Shed(_) => (None, None),
        };
        Self { status: Some(status.as_u16()), failure, ticket }
    }
}

/// What a patient was told of a ticket.
#[derive(Debug, Serialize)]
struct Outcome<'a> {
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    by: &'static str,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    sent_at: Timestamp,
    answered_at: Timestamp,
    patient: &'a str,
    key: &'a str,
    session: &'a str,
    asked: Asked,
    wait_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancellation: Option<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome<'a>>,
}

impl<'a> Line<'a> {
    fn new(call: &Call<'a>, answered_at: Timestamp, answered: &'a Answered<'_>) -> Self {
        let Call { patient, key, session, asked, wait, sent_at } = *call;
        let ticket = answered.ticket;
        let outcome = ticket.filter(|ticket| ticket.decided()).map(|ticket| Outcome {
            status: ticket.status,
            number: ticket.number,
            reason: ticket.reason.as_deref(),
            by: asked.by(),
        });
        Self {
            sent_at,
            answered_at,
            patient,
            key,
            session,
            asked,
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            status: answered.status,
            failure: answered.failure.as_deref(),
            log: ticket.and_then(|ticket| ticket.log),
            cancellation: ticket.and_then(|ticket| ticket.cancellation),
            outcome,
        }
    }
}

/// Writes calls down as they are answered. What is in memory is a buffer of fixed size.
#[derive(Debug, Default)]
pub(super) struct History(Option<Mutex<Writer>>);

#[derive(Debug)]
struct Writer {
    path: PathBuf,
    out: BufWriter<File>,
    /// What could not be written first; nothing is written after it.
    failed: Option<io::Error>,
}

impl History {
    /// Begins a file, in the place of what was there; without a path nothing is written down.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub(super) fn create(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let writer = Writer { path: path.to_owned(), out: BufWriter::new(file), failed: None };
        Ok(Self(Some(Mutex::new(writer))))
    }

    /// Writes a call down that was answered, or not. What goes wrong is told by [`Self::finish`].
    pub(super) fn note(&self, call: &Call<'_>, answered_at: Timestamp, answered: &Answered<'_>) {
        let Some(writer) = &self.0 else { return };
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.failed.is_none() {
            writer.failed = writer.write(&Line::new(call, answered_at, answered)).err();
        }
    }

    /// Makes sure that everything is in the file.
    ///
    /// # Errors
    /// When it is not.
    pub(super) fn finish(&self) -> anyhow::Result<()> {
        let Some(writer) = &self.0 else { return Ok(()) };
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        let written = writer.failed.take().map_or_else(|| writer.out.flush(), Err);
        written.with_context(|| format!("cannot write {}", writer.path.display()))
    }
}

impl Writer {
    fn write(&mut self, line: &Line<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;
    use serde_json::{Value, json};

    use super::*;

    fn call(asked: Asked) -> Call<'static> {
        let sent_at = Timestamp::from_millis(1_795_132_800_000);
        Call { patient: "patient-1", key: "k-1", session: "s", asked, wait: Duration::from_millis(20), sent_at }
    }

    fn line(asked: Asked, reply: &Result<Reply, Error>) -> Value {
        let call = call(asked);
        let answered = Answered::from(reply);
        serde_json::to_value(Line::new(&call, call.sent_at.plus(Duration::from_secs(1)), &answered)).unwrap()
    }

    fn reply(status: StatusCode, submission: Submission) -> Result<Reply, Error> {
        Ok(Reply { status, submission })
    }

    #[test]
    fn a_line_has_what_was_sent_and_what_was_told() {
        let told = json!({ "ticket": "t", "status": "cancelled", "number": 7, "log": { "partition": 1, "offset": 2 },
            "cancellation": { "partition": 1, "offset": 9 } });
        let told = reply(StatusCode::ACCEPTED, Submission::Accepted(serde_json::from_value(told).unwrap()));
        let expected = json!({
            "sent_at": "2026-11-20T00:00:00Z", "answered_at": "2026-11-20T00:00:01Z", "patient": "patient-1", "key": "k-1",
            "session": "s", "asked": "cancel", "wait_ms": 20, "status": 202, "log": { "partition": 1, "offset": 2 },
            "cancellation": { "partition": 1, "offset": 9 },
            "outcome": { "status": "cancelled", "number": 7, "by": "cancel" },
        });
        assert_eq!(line(Asked::Cancel, &told), expected);
    }

    #[test]
    fn a_call_without_a_ticket_has_no_outcome() {
        let of = |reply| {
            let line = line(Asked::Look, &reply);
            assert_eq!((line.get("outcome"), line.get("log")), (None, None));
            (line["status"].as_u64(), line["failure"].as_str().map(str::to_owned))
        };
        let pause = Duration::ZERO;
        assert_eq!(of(reply(StatusCode::TOO_MANY_REQUESTS, Submission::Throttled(pause))), (Some(429), None));
        let gone = Submission::Refused("404 Not Found".to_owned());
        assert_eq!(of(reply(StatusCode::NOT_FOUND, gone)), (Some(404), Some("404 Not Found".to_owned())));
        let (status, failure) = of(Err(Error::Timeout(Duration::from_secs(3))));
        assert!(status.is_none() && failure.is_some_and(|why| why.contains("no answer within 3 s")));
    }

    #[test]
    fn what_cannot_be_written_is_told_at_the_end() {
        let history = History::create(Some(Path::new("/dev/full"))).unwrap();
        history.note(&call(Asked::Book), Timestamp::from_micros(0), &Answered::default());
        let error = history.finish().unwrap_err();
        assert!(format!("{error:#}").contains("cannot write /dev/full"), "{error:#}");
        assert!(History::create(Some(Path::new("/no/such/folder/file"))).is_err());
        assert!(History::default().finish().is_ok());
    }
}
