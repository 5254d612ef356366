//! A ticket as its owner sees it.

use orderly_domain::decision::Outcome;
use orderly_domain::port::store::{Appointment, AppointmentStatus, Committed};
use orderly_domain::{Offset, Partition, Position, SessionId, Timestamp};
use serde::Serialize;

use super::{Ticket, path};
use crate::personal::Masked;
use crate::progress::InLine;
use crate::sessions;
use crate::state::Shared;

/// A record's place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = LogPosition)]
pub(crate) struct Log {
    #[schema(value_type = u16)]
    pub(crate) partition: Partition,
    #[schema(value_type = u64)]
    pub(crate) offset: Offset,
}

impl From<Position> for Log {
    fn from(position: Position) -> Self {
        Self { partition: position.partition, offset: position.offset }
    }
}

/// Where a ticket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TicketStatus)]
pub(crate) enum Status {
    /// It waits in line.
    Queued,
    /// It holds a number.
    Booked,
    /// It was refused.
    Rejected,
    /// It held a number, and does not any more.
    Cancelled,
}

impl Status {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Booked => "booked",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct Links {
    /// The ticket.
    #[serde(rename = "self")]
    itself: String,
    /// Its stream.
    events: String,
}

impl Links {
    fn of(ticket: &str) -> Self {
        let itself = path(ticket);
        Self { events: [&itself, "/events"].concat(), itself }
    }
}

/// A ticket's session; of one that is past only the id is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[schema(as = TicketSession)]
pub(crate) enum Session {
    /// The session.
    Known(sessions::View),
    /// Its day is past.
    Past(PastSession),
}

/// A session whose day is past. It has no other members, so that it is not taken for one that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PastSession {
    #[schema(value_type = String)]
    session_id: SessionId,
}

impl Session {
    fn of(id: &SessionId, state: &Shared) -> Self {
        match state.catalogue.get(id) {
            Some(session) => Self::Known(sessions::View::of(&session, state.ports.clock.now())),
            None => Self::Past(PastSession { session_id: id.clone() }),
        }
    }
}

/// A ticket.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[schema(as = Ticket)]
pub(crate) enum View {
    /// It waits in line.
    Queued(Queued),
    /// It is decided.
    Decided(Decided),
}

/// A ticket that waits in line.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = QueuedTicket)]
pub(crate) struct Queued {
    ticket: String,
    status: Status,
    /// Left out where the ticket is handed out: who asked has just named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Session>,
    /// Requests ahead of it in its line.
    position: u64,
    /// When it is likely decided, in milliseconds from now; `null` until a rate was measured, and while `late`.
    eta_ms: Option<u64>,
    /// The rate that `eta_ms` rests on: decisions a second in its line while there was something to decide.
    rate_per_s: Option<f64>,
    /// `true` while decisions are late: the request is safe, and when it will be decided is not known. Else left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    late: bool,
    log: Log,
    links: Links,
}

/// A ticket that is decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = DecidedTicket)]
pub(crate) struct Decided {
    ticket: String,
    status: Status,
    /// Why it was refused, or `session_closed` for one whose session was closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// Why the session was closed, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// The number that it holds, or held.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u32>,
    /// What was given of the patient with the booking, masked; left out when nothing was, when it is no longer kept, and where
    /// the outcome was told as it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<Masked>,
    session: Session,
    #[schema(value_type = String, format = DateTime)]
    decided_at: Timestamp,
    log: Log,
    links: Links,
}

impl View {
    /// A ticket that is handed out.
    pub(crate) fn accepted(ticket: &Ticket, state: &Shared) -> Self {
        Self::in_line(ticket, state, None)
    }

    pub(crate) fn queued(ticket: &Ticket, state: &Shared) -> Self {
        Self::in_line(ticket, state, Some(Session::of(&ticket.handle.session_id, state)))
    }

    fn in_line(ticket: &Ticket, state: &Shared, session: Option<Session>) -> Self {
        let handle = &ticket.handle;
        let InLine { position, eta_ms, rate_per_s } = state.progress.in_line(handle.position);
        let late = state.is_late(handle.position.partition, state.ports.clock.now());
        let (eta_ms, rate_per_s) = if late { (None, None) } else { (eta_ms, rate_per_s) };
        Self::Queued(Queued {
            late,
            status: Status::Queued,
            session,
            position,
            eta_ms,
            rate_per_s,
            log: handle.position.into(),
            links: Links::of(&ticket.text),
            ticket: ticket.text.clone(),
        })
    }

    /// What a decision and, if it booked, the appointment as it is now say. A booking that was just heard has none yet.
    pub(crate) fn decided(
        ticket: &Ticket,
        state: &Shared,
        decision: &Committed,
        appointment: Option<&Appointment>,
        patient: Option<Masked>,
    ) -> Self {
        let (status, reason, number) = match decision.outcome {
            Outcome::Booked { number } => match appointment.map(|appointment| appointment.status) {
                None | Some(AppointmentStatus::Booked) => (Status::Booked, None, Some(number)),
                Some(AppointmentStatus::Cancelled) => (Status::Cancelled, None, Some(number)),
                Some(AppointmentStatus::SessionClosed) => (Status::Cancelled, Some("session_closed"), Some(number)),
            },
            outcome => (Status::Rejected, outcome.reason().map(|reason| reason.as_str()), None),
        };
        Self::Decided(Decided {
            status,
            reason,
            cause: appointment.and_then(|appointment| appointment.cause.clone()),
            number,
            patient,
            session: Session::of(&ticket.handle.session_id, state),
            decided_at: decision.decided_at,
            log: ticket.handle.position.into(),
            links: Links::of(&ticket.text),
            ticket: ticket.text.clone(),
        })
    }

    pub(crate) const fn status(&self) -> Status {
        match self {
            Self::Queued(queued) => queued.status,
            Self::Decided(decided) => decided.status,
        }
    }

    pub(crate) const fn is_decided(&self) -> bool {
        matches!(self, Self::Decided(_))
    }
}
