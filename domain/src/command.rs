//! What can be asked of the engine. A command that lies in the log is an intent.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::id::{DepartmentId, DoctorId, PatientId, SessionId};
use crate::personal::{Fields, Sealed};
use crate::session::Session;
use crate::ticket;

/// Names a session together with what routes it: its doctor chooses the log's partition, its department and local day
/// choose the ledger's key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SessionRef {
    /// The session.
    pub session_id: SessionId,
    /// Its doctor.
    pub doctor_id: DoctorId,
    /// Its department.
    pub department: DepartmentId,
    /// Its local day.
    pub day: Date,
}

/// A patient wants a number in a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Book {
    /// Derived from the patient and the Idempotency-Key: a retry has the same.
    pub ticket: ticket::Id,
    /// Who books.
    pub patient_id: PatientId,
    /// What.
    pub session: SessionRef,
    /// What the hospital needs to call the patient, sealed, if anything was given.
    pub details: Option<Box<Fields<Sealed>>>,
}

/// A patient gives a booking back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// The booking's ticket.
    pub ticket: ticket::Id,
    /// Whose booking it is.
    pub patient_id: PatientId,
    /// The booking's session.
    pub session: SessionRef,
}

/// Ops end a session's bookings; its active appointments are cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseSession {
    /// Which session.
    pub session: SessionRef,
    /// Why, for people.
    pub cause: String,
}

/// Ops give a session another capacity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeCapacity {
    /// Which session.
    pub session: SessionRef,
    /// The new capacity.
    pub capacity: u32,
}

/// Everything that changes inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Take a number.
    Book(Book),
    /// Give it back.
    Cancel(Cancel),
    /// Open a session, or change what an open one says.
    OpenSession(Box<Session>),
    /// Close a session.
    CloseSession(CloseSession),
    /// Change a session's capacity.
    ChangeCapacity(ChangeCapacity),
}

/// A command's kind, as tables, metrics and reports name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// [`Command::Book`].
    Book,
    /// [`Command::Cancel`].
    Cancel,
    /// [`Command::OpenSession`].
    OpenSession,
    /// [`Command::CloseSession`].
    CloseSession,
    /// [`Command::ChangeCapacity`].
    ChangeCapacity,
    /// A record that could not be read.
    Malformed,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Book, Self::Cancel, Self::OpenSession, Self::CloseSession, Self::ChangeCapacity, Self::Malformed];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Book => "book",
            Self::Cancel => "cancel",
            Self::OpenSession => "open_session",
            Self::CloseSession => "close_session",
            Self::ChangeCapacity => "change_capacity",
            Self::Malformed => "malformed",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl Command {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Book(_) => Kind::Book,
            Self::Cancel(_) => Kind::Cancel,
            Self::OpenSession(_) => Kind::OpenSession,
            Self::CloseSession(_) => Kind::CloseSession,
            Self::ChangeCapacity(_) => Kind::ChangeCapacity,
        }
    }

    /// The session it is about.
    #[must_use]
    pub fn session_id(&self) -> &SessionId {
        match self {
            Self::Book(book) => &book.session.session_id,
            Self::Cancel(cancel) => &cancel.session.session_id,
            Self::OpenSession(session) => &session.session_id,
            Self::CloseSession(close) => &close.session.session_id,
            Self::ChangeCapacity(change) => &change.session.session_id,
        }
    }

    /// The doctor whose partition it belongs to.
    #[must_use]
    pub fn doctor_id(&self) -> &DoctorId {
        match self {
            Self::Book(book) => &book.session.doctor_id,
            Self::Cancel(cancel) => &cancel.session.doctor_id,
            Self::OpenSession(session) => &session.doctor_id,
            Self::CloseSession(close) => &close.session.doctor_id,
            Self::ChangeCapacity(change) => &change.session.doctor_id,
        }
    }

    /// The department and local day it belongs to: what the ledger keeps together.
    #[must_use]
    pub fn department_day(&self) -> (&DepartmentId, Date) {
        match self {
            Self::Book(book) => (&book.session.department, book.session.day),
            Self::Cancel(cancel) => (&cancel.session.department, cancel.session.day),
            Self::OpenSession(session) => (&session.department, session.day),
            Self::CloseSession(close) => (&close.session.department, close.session.day),
            Self::ChangeCapacity(change) => (&change.session.department, change.session.day),
        }
    }

    /// The patient it is about, if it is a patient's.
    #[must_use]
    pub fn patient_id(&self) -> Option<&PatientId> {
        match self {
            Self::Book(book) => Some(&book.patient_id),
            Self::Cancel(cancel) => Some(&cancel.patient_id),
            _ => None,
        }
    }

    /// The ticket it is about, if it is a patient's.
    #[must_use]
    pub fn ticket(&self) -> Option<ticket::Id> {
        match self {
            Self::Book(book) => Some(book.ticket),
            Self::Cancel(cancel) => Some(cancel.ticket),
            _ => None,
        }
    }
}
