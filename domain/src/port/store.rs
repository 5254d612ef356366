//! The store: the system of record. Its constraints have the last word.

use async_trait::async_trait;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::Result;
use crate::clock::Timestamp;
use crate::command::Kind;
use crate::decision::{Decision, Outcome};
use crate::id::{PatientId, SessionId};
use crate::inventory::Snapshot;
use crate::personal::{Fields, Sealed};
use crate::position::{Fence, Offset, Partition, Position};
use crate::session::Session;
use crate::ticket;

/// A partition that was taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The partition.
    pub partition: Partition,
    /// The number of this takeover; every commit carries it.
    pub fence: Fence,
    /// The first offset that is not decided.
    pub next_offset: Offset,
    /// The first offset whose outcome may not have been published.
    pub published_offset: Offset,
}

/// How far a commit takes a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// The partition.
    pub partition: Partition,
    /// The takeover under which it was decided.
    pub fence: Fence,
    /// The first offset that is decided here; the store's next offset must be this one.
    pub from: Offset,
    /// The first that is not: `to - from` decisions of this partition are in the commit.
    pub to: Offset,
    /// The first offset whose outcome may not have been published.
    pub published: Offset,
}

/// Decisions that become true together.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The wall clock, for people: when it was decided.
    pub decided_at: Timestamp,
    /// One for each partition that is in the decisions.
    pub advances: Vec<Advance>,
    /// Ordered by [`Decision::order`].
    pub decisions: Vec<Decision>,
    /// Bookings among them that are refused for what their patients hold in other partitions.
    pub resigned: Vec<Position>,
}

/// A decision as it was committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// The record's place.
    pub position: Position,
    /// When the log took it.
    pub logged_at: Timestamp,
    /// When it was decided, by the wall clock.
    pub decided_at: Timestamp,
    /// What was asked.
    pub kind: Kind,
    /// The ticket, for a booking or a cancellation.
    pub ticket: Option<ticket::Id>,
    /// The session, when it was readable.
    pub session_id: Option<SessionId>,
    /// The outcome; never [`Outcome::Repeat`].
    pub outcome: Outcome,
    /// For a ticket that was decided before: its first record in this partition.
    pub first: Option<Offset>,
    /// The store refused what was decided first; `outcome` is its word.
    pub corrected: bool,
    /// The session after it, when it changed the session or its remaining numbers.
    pub session: Option<SessionState>,
    /// Bookings whose appointments it cancelled.
    pub released: Vec<Position>,
}

/// A session as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionState {
    /// The session; its capacity is the one in force.
    pub session: Session,
    /// Whether it is closed.
    pub closed: bool,
    /// How many numbers are held.
    pub booked: u32,
    /// The last record that changed it or its remaining numbers.
    pub changed_at: Position,
}

impl SessionState {
    /// Numbers that can still be had; 0 when it is closed.
    #[must_use]
    pub const fn remaining(&self) -> u32 {
        if self.closed { 0 } else { self.session.capacity.saturating_sub(self.booked) }
    }
}

/// An appointment's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppointmentStatus {
    /// It holds its number.
    Booked,
    /// The patient gave it back.
    Cancelled,
    /// Its session was closed.
    SessionClosed,
}

impl AppointmentStatus {
    /// Its name in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Booked => "booked",
            Self::Cancelled => "cancelled",
            Self::SessionClosed => "session_closed",
        }
    }

    /// The status of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Booked, Self::Cancelled, Self::SessionClosed].into_iter().find(|status| status.as_str() == name)
    }
}

/// An appointment row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appointment {
    /// The booking's record.
    pub position: Position,
    /// The booking's ticket.
    pub ticket: ticket::Id,
    /// Its session.
    pub session_id: SessionId,
    /// Who holds it.
    pub patient_id: PatientId,
    /// Its number.
    pub number: u32,
    /// Where it is in its life.
    pub status: AppointmentStatus,
    /// The record that changed it last.
    pub changed_at: Position,
    /// Why its session was closed, for people.
    pub cause: Option<String>,
}

/// What was given of the patient behind an appointment, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// The booking's record, and so the appointment.
    pub position: Position,
    /// The booking's ticket, which the fields are bound to.
    pub ticket: ticket::Id,
    /// What was given.
    pub fields: Fields<Sealed>,
}

/// A decision row with what a ticket's holder or an analyst wants to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRow {
    /// The decision; `session` and `released` are not kept and stay empty, `corrected` is.
    pub decision: Committed,
    /// Who asked, when it was a patient.
    pub patient_id: Option<PatientId>,
    /// The appointment that the ticket's first booking made, if it made one, as it is now.
    pub appointment: Option<Appointment>,
}

/// A ticket that was seen, and where first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenTicket {
    /// The ticket.
    pub ticket: ticket::Id,
    /// Its first record.
    pub first: Offset,
    /// When the log took that.
    pub logged_at: Timestamp,
    /// The session it asked for; `None` when that is not known.
    pub session_id: Option<SessionId>,
}

/// How far a partition is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The partition.
    pub partition: Partition,
    /// The last takeover.
    pub fence: Fence,
    /// Who took it.
    pub owner: String,
    /// The first offset that is not decided.
    pub next_offset: Offset,
    /// The first offset whose outcome may not have been published.
    pub published_offset: Offset,
}

/// A version of the throttle policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyVersion {
    /// 1, 2, 3, …
    pub version: u64,
    /// The policy, as JSON.
    pub document: String,
    /// Who set it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When.
    pub set_at: Timestamp,
}

/// The store.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Takes partitions over: raises each one's fence, so that whoever had it before can commit no more.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn claim(&self, partitions: &[Partition], owner: &str) -> Result<Vec<Claim>>;

    /// Writes decisions, appointments, sessions and progress in one transaction, and answers with the decisions as they
    /// are now, one for one in the same order. A booking or an opening that loses to a constraint is committed as a
    /// refusal, marked `corrected`. Repeats are answered with the outcome of their first record. What a booking gives of its
    /// patient is kept with the appointment that it makes, until the patient cancels that; a refused booking leaves nothing.
    ///
    /// # Errors
    /// `Fenced` for a lost partition; `Corrupt` when a partition's next offset is not the expected one, or a repeat's
    /// first record is missing; `StorageFull` and `DidNotHappen` can be tried again. `MayHaveHappened` is resolved by
    /// trying again: a commit that is there already is answered as if it had just been made. `Held` when the ledger gave a
    /// patient a number for whom the store knows of no cancellation: nothing was written.
    async fn commit(&self, commit: &Commit) -> Result<Vec<Committed>>;

    /// Returns when whatever was committed before survives that the machine stops. Where it may not yet, the log still has
    /// all that is decided, and is decided the same way again: so nothing may leave the log before this.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn sync(&self) -> Result<()>;

    /// Writes published offsets alone, for a stop.
    ///
    /// # Errors
    /// When the store cannot be written.
    async fn mark_published(&self, marks: &[(Partition, Fence, Offset)]) -> Result<()>;

    /// The decision on one record.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn decision(&self, position: Position) -> Result<Option<DecisionRow>>;

    /// Decisions of a partition from an offset on, ascending, at most `rows_max`.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn decisions(&self, partition: Partition, from: Offset, rows_max: usize) -> Result<Vec<DecisionRow>>;

    /// The newest first records of tickets that a partition saw since `since`, at most `tickets_max`, ascending: bookings
    /// that repeat no earlier record and were not refused as `duplicate`.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn seen_tickets(&self, partition: Partition, since: Timestamp, tickets_max: usize)
    -> Result<Vec<SeenTicket>>;

    /// The inventory of all sessions whose doctors' records lie in these partitions and whose day is `since` or later.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn snapshots(&self, partitions: &[Partition], since: Date) -> Result<Vec<Snapshot>>;

    /// All sessions whose day is `since` or later.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn sessions(&self, since: Date) -> Result<Vec<SessionState>>;

    /// All appointments of a session, ascending by booking.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn appointments(&self, session_id: &SessionId) -> Result<Vec<Appointment>>;

    /// What was given of the patients behind these appointments, ascending by position; those of whom nothing is kept are left
    /// out.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn details(&self, of: &[Position]) -> Result<Vec<Details>>;

    /// The same of all appointments behind a position, or from the first on, at most `rows_max`.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn details_after(&self, after: Option<Position>, rows_max: usize) -> Result<Vec<Details>>;

    /// Puts other seals in the place of those that are kept, in one transaction, and tells how many rows were still there.
    ///
    /// # Errors
    /// When the store cannot be written; all of it can be done again.
    async fn reseal(&self, details: &[Details]) -> Result<u64>;

    /// Every partition that was ever claimed, ascending.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn progress(&self) -> Result<Vec<Progress>>;

    /// The newest policies, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn policies(&self, rows_max: usize) -> Result<Vec<PolicyVersion>>;

    /// Adds a policy as version `policy.version`.
    ///
    /// # Errors
    /// `Conflict` when that is not the next version.
    async fn save_policy(&self, policy: &PolicyVersion) -> Result<()>;

    /// Forgets what is old: the appointments of sessions of days before `before`, and the decisions that lie below the given
    /// offsets, were logged on days (UTC) before it, and come before every booking whose appointment is kept. What is kept of
    /// a partition begins at one offset and has no gaps; an adapter may keep more, to forget whole days. Sessions stay.
    /// Nothing is forgotten of a partition that is not given. Returns how many decisions were.
    ///
    /// # Errors
    /// When the store cannot be written; a part may be forgotten then, and a second call goes on.
    async fn prune(&self, before: Date, below: &[(Partition, Offset)]) -> Result<u64>;

    /// The day since which everything is kept: the decisions of records that the log took on it or later, and the
    /// appointments of sessions of that day or later ones. `None` when nothing was ever forgotten.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn kept_since(&self) -> Result<Option<Date>>;
}
