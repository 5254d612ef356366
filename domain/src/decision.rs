//! What the pipeline decided.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::command::Command;
use crate::position::{Fence, Offset, Position};

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No number was free at the intent's place in the log.
    SoldOut,
    /// The patient holds an appointment that excludes this one.
    AlreadyBooked,
    /// It came before the session's release.
    NotReleased,
    /// The session is closed.
    SessionClosed,
    /// No such session.
    UnknownSession,
    /// The Idempotency-Key was used before, for something else.
    Duplicate,
    /// The session is over.
    Expired,
    /// The record could not be read.
    Malformed,
    /// A cancellation of a ticket that holds no appointment.
    NotBooked,
    /// A capacity below a number that is booked.
    BelowBooked,
    /// A session that exists with another doctor, department or day.
    SessionConflict,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::SoldOut,
        Self::AlreadyBooked,
        Self::NotReleased,
        Self::SessionClosed,
        Self::UnknownSession,
        Self::Duplicate,
        Self::Expired,
        Self::Malformed,
        Self::NotBooked,
        Self::BelowBooked,
        Self::SessionConflict,
    ];

    /// Its name in the API, in tables and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SoldOut => "sold_out",
            Self::AlreadyBooked => "already_booked",
            Self::NotReleased => "not_released",
            Self::SessionClosed => "session_closed",
            Self::UnknownSession => "unknown_session",
            Self::Duplicate => "duplicate",
            Self::Expired => "expired",
            Self::Malformed => "malformed",
            Self::NotBooked => "not_booked",
            Self::BelowBooked => "below_booked",
            Self::SessionConflict => "session_conflict",
        }
    }

    /// The reason of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The outcome of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// A booking took this number.
    Booked {
        /// 1 to the session's capacity.
        number: u32,
    },
    /// Nothing changed.
    Rejected(Reason),
    /// A cancellation gave this number back, now or, when it is repeated, before.
    Cancelled {
        /// The number that was held.
        number: u32,
    },
    /// A command of ops was carried out.
    Applied,
    /// A booking's ticket was decided before, in the same partition: the outcome is the one found there.
    Repeat {
        /// The first record of the ticket.
        first: Offset,
    },
}

impl Outcome {
    /// Its name in tables, reports and metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Booked { .. } => "booked",
            Self::Rejected(_) => "rejected",
            Self::Cancelled { .. } => "cancelled",
            Self::Applied => "applied",
            Self::Repeat { .. } => "repeat",
        }
    }

    /// Why it was refused, if it was.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Rejected(reason) => Some(*reason),
            _ => None,
        }
    }

    /// The number it names, if any.
    #[must_use]
    pub const fn number(&self) -> Option<u32> {
        match self {
            Self::Booked { number } | Self::Cancelled { number } => Some(*number),
            _ => None,
        }
    }
}

/// In words, for people.
impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Booked { number } => write!(f, "booked {number}"),
            Self::Rejected(reason) => reason.fmt(f),
            Self::Cancelled { number } => write!(f, "cancelled {number}"),
            Self::Applied => f.write_str("applied"),
            Self::Repeat { first } => write!(f, "repeat of offset {first}"),
        }
    }
}

/// What was decided for one log record. Final once committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The record's place in the log.
    pub position: Position,
    /// When the log took it.
    pub logged_at: Timestamp,
    /// The takeover of the partition under which it was decided.
    pub fence: Fence,
    /// What was asked; `None` when the record could not be read.
    pub command: Option<Command>,
    /// What came of it.
    pub outcome: Outcome,
}

impl Decision {
    /// What decisions of all partitions are ordered by: the log's time, then the place.
    #[must_use]
    pub const fn order(&self) -> (Timestamp, Position) {
        (self.logged_at, self.position)
    }
}
