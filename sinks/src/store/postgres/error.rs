//! What a PostgreSQL error lets the caller conclude.

use jiff::civil::Date;
use orderly_domain::{Position, port};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// Why a piece of work failed, before its `COMMIT` was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// PostgreSQL refused, or the connection broke.
    #[error("{}", words(.0))]
    Postgres(#[from] Error),
    /// The work itself did.
    #[error(transparent)]
    Port(#[from] port::Error),
    /// Another node committed a row since this one looked, and it stands in the way.
    #[error("another node was faster")]
    Overtaken,
    /// A patient who is given an appointment holds another one, of a partition that this commit is not about.
    #[error("the patient of record {at} still holds the booking of record {by}")]
    Held {
        /// The booking that it stands in the way of.
        at: Position,
        /// The one that is held.
        by: Position,
    },
    /// There is no table for these days of decisions or appointments.
    #[error("a day has no table yet")]
    NoTable {
        /// Days of decisions.
        decisions: Vec<Date>,
        /// Days of appointments.
        appointments: Vec<Date>,
    },
}

impl Failure {
    /// Whether another transaction was in the way, so that the same may work on what is there now.
    pub(crate) fn is_conflict(&self) -> bool {
        let error = match self {
            Self::Postgres(error) => error,
            Self::Overtaken => return true,
            Self::Port(_) | Self::Held { .. } | Self::NoTable { .. } => return false,
        };
        error.code().is_some_and(|code| {
            [
                SqlState::UNIQUE_VIOLATION,
                SqlState::T_R_SERIALIZATION_FAILURE,
                SqlState::T_R_DEADLOCK_DETECTED,
                SqlState::T_R_INTEGRITY_CONSTRAINT_VIOLATION,
            ]
            .contains(code)
        }) || is_missing_day(error)
    }

    /// Whether a lock did not come free in time.
    pub(crate) fn is_lock_timeout(&self) -> bool {
        matches!(self, Self::Postgres(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE))
    }

    /// Whether a day's table that was known to be there is gone.
    pub(crate) fn is_missing_day(&self) -> bool {
        matches!(self, Self::Postgres(error) if is_missing_day(error))
    }

    /// What the caller may conclude; `unsure` is what a broken connection means.
    pub(crate) fn told(self, unsure: impl FnOnce(String) -> port::Error) -> port::Error {
        match self {
            Self::Port(error) => error,
            Self::Postgres(error) => sort(&error, unsure),
            Self::Held { at, by } => port::Error::Held { at, by },
            Self::Overtaken | Self::NoTable { .. } => port::Error::DidNotHappen(format!("{self}; try again")),
        }
    }

    /// Whether the server answered, so that its connection is of use.
    pub(crate) fn is_answer(&self) -> bool {
        match self {
            Self::Postgres(error) => error.as_db_error().is_some() && !error.is_closed(),
            Self::Port(_) | Self::Overtaken | Self::Held { .. } | Self::NoTable { .. } => true,
        }
    }
}

/// A row for which no partition is attached. Other checks have a name.
fn is_missing_day(error: &Error) -> bool {
    let Some(answer) = error.as_db_error() else { return false };
    *answer.code() == SqlState::CHECK_VIOLATION && answer.constraint().is_none()
}

/// The meaning of an error; `otherwise` when its kind leaves that to the moment at which it came.
pub(crate) fn sort(error: &Error, otherwise: impl FnOnce(String) -> port::Error) -> port::Error {
    let text = words(error);
    let Some(answer) = error.as_db_error() else {
        return otherwise(format!("{text}; check that PostgreSQL runs and can be reached"));
    };
    let class = answer.code().code().get(..2).unwrap_or_default();
    match *answer.code() {
        SqlState::DISK_FULL => port::Error::StorageFull(format!("{text}; free space on PostgreSQL's disk")),
        SqlState::CHECK_VIOLATION if answer.constraint().is_some() => broken(&text),
        SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED | SqlState::CARDINALITY_VIOLATION => broken(&text),
        SqlState::READ_ONLY_SQL_TRANSACTION => {
            port::Error::DidNotHappen(format!("{text}; the store's url must name the primary, not a replica"))
        }
        SqlState::LOCK_NOT_AVAILABLE | SqlState::QUERY_CANCELED => {
            port::Error::DidNotHappen(format!("{text}; look for a long transaction in pg_stat_activity"))
        }
        // Wrong names and types: the schema is not this program's.
        _ if class == "42" => broken(&text),
        // The server told that the statement failed: its transaction is over.
        _ if ["22", "23", "40", "53", "54"].contains(&class) => port::Error::DidNotHappen(text),
        _ => otherwise(text),
    }
}

/// The error and what caused it.
pub(crate) fn words(error: &Error) -> String {
    match error.as_db_error() {
        Some(answer) => format!("PostgreSQL says: {} ({})", answer.message(), answer.code().code()),
        None => match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
}

fn broken(text: &str) -> port::Error {
    port::Error::Corrupt(format!("{text}; check that no other program writes this database, or restore a backup"))
}
