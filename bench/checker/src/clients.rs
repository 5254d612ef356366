//! Compares what clients were told with what was decided.
//!
//! A history has a line of JSON for each call: when it was sent and answered, who asked under which Idempotency-Key for which
//! session, the answer's status, the places in the log that it named, and the outcome that it told. Whoever makes one shares
//! no code with this; `bench/README.md` names the members.

mod compare;

use std::collections::BTreeMap;
use std::io::BufRead;

use orderly_domain::command::Kind;
use orderly_domain::port::{IntentLog, Store};
use orderly_domain::{Offset, Partition, PatientId, Position, SessionId, Timestamp, ticket};
use serde::Deserialize;

use crate::history::History;
use crate::report::Report;
use crate::{Error, Options};
use compare::Comparison;

/// A line of a history. Members that are not named here are not looked at.
#[derive(Debug, Deserialize)]
struct Call {
    sent_at: Timestamp,
    answered_at: Timestamp,
    patient: PatientId,
    key: String,
    session: SessionId,
    asked: Asked,
    #[serde(default)]
    wait_ms: u64,
    status: Option<u16>,
    log: Option<Place>,
    cancellation: Option<Place>,
    outcome: Option<Told>,
}

/// What a call asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Asked {
    Book,
    Cancel,
    Look,
    Follow,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Place {
    partition: Partition,
    offset: Offset,
}

impl From<Place> for Position {
    fn from(Place { partition, offset }: Place) -> Self {
        Self { partition, offset }
    }
}

/// An outcome, as a client was told it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Told {
    status: String,
    number: Option<u32>,
    reason: Option<String>,
    by: String,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { status, number, reason, by } = self;
        f.write_str(status)?;
        number.map_or(Ok(()), |number| write!(f, " {number}"))?;
        reason.as_ref().map_or(Ok(()), |reason| write!(f, " ({reason})"))?;
        write!(f, " by {by}")
    }
}

/// The same outcome, told once or several times.
#[derive(Clone, Debug)]
struct Telling {
    told: Told,
    /// When it had been told first.
    first_at: Timestamp,
    /// When it was asked for last by a call that looks the booking up as it is then. One that waits is told what it waited
    /// for, and by then that may be past.
    looked_at: Option<Timestamp>,
}

/// What clients say that a place in the log holds, and what they were told of it.
#[derive(Clone, Debug)]
struct Claim {
    kind: Kind,
    ticket: ticket::Id,
    patient_id: PatientId,
    session_id: SessionId,
    told: Vec<Telling>,
}

impl Claim {
    fn is_of(&self, kind: Kind, ticket: ticket::Id) -> bool {
        (self.kind, self.ticket) == (kind, ticket)
    }

    fn note(&mut self, told: &Told, call: &Call) {
        // A stream waits, and so does a call with a wait.
        let looked_at = (call.asked != Asked::Follow && call.wait_ms == 0).then_some(call.sent_at);
        match self.told.iter_mut().find(|telling| telling.told == *told) {
            Some(telling) => {
                telling.first_at = telling.first_at.min(call.answered_at);
                telling.looked_at = telling.looked_at.max(looked_at);
            }
            None => self.told.push(Telling { told: told.clone(), first_at: call.answered_at, looked_at }),
        }
    }
}

/// What clients sent, and what they were told. Memory grows with the places in the log that they were told of (about 200 bytes
/// each), not with the calls.
#[derive(Debug, Default)]
pub struct Clients {
    calls: u64,
    claims: BTreeMap<Position, Vec<Claim>>,
    /// When a cancellation was first asked for, by the client's clock.
    cancelled_at: BTreeMap<ticket::Id, Timestamp>,
    /// Answers that say that a request was taken and not where it lies.
    unplaced: Vec<String>,
}

impl Clients {
    /// Reads a history. `name` is what an error calls it.
    ///
    /// # Errors
    /// [`Error::History`] when it cannot be read, or a line of it is not a call.
    pub fn read(&mut self, name: &str, history: impl BufRead) -> Result<(), Error> {
        for (index, line) in history.lines().enumerate() {
            let unread = |cause: String| Error::History { name: name.to_owned(), line: index + 1, cause };
            let line = line.map_err(|error| unread(error.to_string()))?;
            let call: Call = serde_json::from_str(&line).map_err(|error| unread(error.to_string()))?;
            self.note(&call);
        }
        Ok(())
    }

    fn note(&mut self, call: &Call) {
        self.calls += 1;
        let ticket = ticket::Id::derive(&call.patient, &call.key);
        if call.asked == Asked::Cancel {
            let first = self.cancelled_at.entry(ticket).or_insert(call.sent_at);
            *first = call.sent_at.min(*first);
        }
        if let Some(place) = call.cancellation {
            self.claim(place.into(), Kind::Cancel, ticket, call);
        }
        match (call.log, &call.outcome) {
            (Some(place), told) => {
                let claim = self.claim(place.into(), Kind::Book, ticket, call);
                told.iter().for_each(|told| claim.note(told, call));
            }
            (None, Some(told)) => {
                self.unplaced.push(format!("{}: a client was told {told}, and not of which place", call.session));
            }
            (None, None) if call.asked == Asked::Book && matches!(call.status, Some(200 | 202)) => {
                self.unplaced.push(format!("{}: a booking was taken, and the answer names no place", call.session));
            }
            (None, None) => {}
        }
    }

    fn claim(&mut self, place: Position, kind: Kind, ticket: ticket::Id, call: &Call) -> &mut Claim {
        let claims = self.claims.entry(place).or_default();
        let known = claims.iter().position(|claim| claim.is_of(kind, ticket) && claim.session_id == call.session);
        let index = known.unwrap_or_else(|| {
            let (patient_id, session_id) = (call.patient.clone(), call.session.clone());
            claims.push(Claim { kind, ticket, patient_id, session_id, told: Vec::new() });
            claims.len() - 1
        });
        &mut claims[index]
    }
}

/// Compares what clients were told with log and store, which are read only: every place that an answer named must hold that
/// patient's request for that session, every outcome that was told must be the decision there, and nobody who was told that a
/// request is taken may be without a decision, with `options.idle` at all, else below the store's progress; nor may the log end before it.
///
/// A booking may be told as cancelled from its cancellation or its session's closing on. Once that was told, no later look may
/// tell it as booked; what waited for the outcome (a stream, a long poll) may still be told it as it was made.
///
/// # Errors
/// When log or store cannot be read, or hold records of a newer version.
pub async fn check(
    log: &dyn IntentLog,
    store: &dyn Store,
    clients: &Clients,
    options: Options,
    report: &mut Report,
) -> Result<(), Error> {
    // Whatever was told is committed, and so lies below this.
    let progress = store.progress().await?;
    let mut history = History::new(log, store, store.kept_since().await?);
    // What is wrong with the log and the decisions themselves is told by the check of those.
    let mut beside = Report::default();
    // Whatever was told lies in the log by now.
    let extents = log.extents().await?;
    history.extend(&progress, &extents, &mut beside).await?;
    let mut comparison = Comparison::new(clients, log.partitions(), report);
    while let Some(moment) = history.next(&mut beside).await? {
        comparison.see(&moment)?;
    }
    comparison.end(&progress, &extents, history.is_pruned(), options.idle);
    Ok(())
}
