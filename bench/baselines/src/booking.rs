//! What is asked, and what is answered.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// A session to be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its identifier.
    pub session_id: String,
    /// Its department.
    pub department: String,
    /// Its local day.
    pub day: Date,
    /// How many numbers it has.
    pub capacity: i32,
}

/// A wish for a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// In which session.
    pub session_id: String,
    /// Whose.
    pub patient_id: String,
    /// What makes a repetition known as one, among the patient's wishes.
    pub key: String,
}

/// Why there is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// All numbers are given.
    SoldOut,
    /// The patient has a booking in that department on that day.
    AlreadyBooked,
}

/// A final answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Outcome {
    /// The patient has this number.
    Booked {
        /// From 1 to the session's capacity.
        number: i32,
    },
    /// The patient has none.
    Rejected {
        /// Why.
        reason: Reason,
    },
}

impl Outcome {
    /// A refusal.
    #[must_use]
    pub const fn rejected(reason: Reason) -> Self {
        Self::Rejected { reason }
    }
}

/// A booking as the system of record has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Booked {
    /// In which session.
    pub session_id: String,
    /// Which number.
    pub number: i32,
    /// Whose.
    pub patient_id: String,
}

/// Why there is no final answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody opened such a session.
    #[error("there is no such session; open it by POST /sessions")]
    UnknownSession,
    /// Too many want the same; nothing was booked.
    #[error("too many want this session at once ({0}); ask again with the same Idempotency-Key")]
    Busy(&'static str),
    /// PostgreSQL gave no connection.
    #[error("no connection to PostgreSQL: {0}; check --postgres and that it answers")]
    Pool(#[from] deadpool_postgres::PoolError),
    /// PostgreSQL failed; the booking may have been made.
    #[error("PostgreSQL: {0}; ask again with the same Idempotency-Key")]
    Postgres(#[from] tokio_postgres::Error),
    /// Redis failed; the booking may have been made.
    #[error("Redis: {0}; ask again with the same Idempotency-Key")]
    Redis(#[from] redis::RedisError),
}
