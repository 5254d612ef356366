//! What an SQLite error lets the caller conclude.

use std::path::Path;

use orderly_domain::port;
use rusqlite::{ErrorCode, Transaction, ffi};

/// Why a piece of work on a file failed, before its commit.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// SQLite refused.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The work itself did.
    #[error(transparent)]
    Port(#[from] port::Error),
}

impl From<Failure> for port::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Port(error) => error,
            Failure::Sqlite(error) => sort(&error, Self::DidNotHappen),
        }
    }
}

/// Commits. A failure other than a full or locked file leaves open whether it happened.
pub(crate) fn commit(transaction: Transaction<'_>) -> port::Result<()> {
    transaction.commit().map_err(|error| sort(&error, port::Error::MayHaveHappened))
}

/// A file that could not be opened.
pub(super) fn unopened(file: &Path, error: &rusqlite::Error) -> port::Error {
    let advice = "check that the data folder exists, that it can be written and that the disk has space";
    sort(error, |error| port::Error::DidNotHappen(format!("cannot open {}: {error}; {advice}", file.display())))
}

/// A write-ahead log that cannot be copied because somebody reads what lay in it a while ago.
pub(super) fn read_as_it_was() -> rusqlite::Error {
    let text = "its write-ahead log cannot be copied while another program reads the file as it was";
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), Some(text.to_owned()))
}

fn sort(error: &rusqlite::Error, otherwise: impl FnOnce(String) -> port::Error) -> port::Error {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
    let text = error.to_string();
    if let FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..) = error {
        return port::Error::Corrupt(format!("{text}; restore the file from a backup"));
    }
    let Some(sqlite) = error.sqlite_error() else { return otherwise(text) };
    match (sqlite.code, sqlite.extended_code) {
        // The shared-memory index cannot grow for one reason only: there is no room for it.
        (ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => {
            port::Error::StorageFull(format!("{text}; free space or raise the size limit"))
        }
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => {
            port::Error::DidNotHappen(format!("{text}; end the other program that uses this file"))
        }
        (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation, _) => {
            port::Error::Corrupt(format!("{text}; restore the file from a backup"))
        }
        _ => otherwise(text),
    }
}
