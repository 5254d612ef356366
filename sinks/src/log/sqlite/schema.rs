//! The database file: its schema, how it is opened, and where each partition starts and ends.

use std::path::{Path, PathBuf};

use orderly_domain::clock::Timestamp;
use orderly_domain::port::log::Extent;
use orderly_domain::port::{Error, Result};
use orderly_domain::{Offset, Partition};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, TransactionBehavior};

/// The database's file name in the data folder.
pub(super) const FILE: &str = "log.sqlite";

/// The write-ahead log beside the database.
pub(super) fn write_ahead_log(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}

/// How long a connection waits for another one that recovers or closes the database.
const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// What brings the schema from each version to the next; the version is how many of them were run.
///
/// Records are clustered by their place, so that appending and reading are sequential. A partition's row says where its
/// kept records start and keeps the time of the last record for when none is left; its end follows from the records.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE partitions (
        partition INTEGER PRIMARY KEY,
        start_offset INTEGER NOT NULL,
        last_logged_at_us INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE records (
        partition INTEGER NOT NULL,
        log_offset INTEGER NOT NULL,
        logged_at_us INTEGER NOT NULL,
        payload BLOB NOT NULL,
        PRIMARY KEY (partition, log_offset)
    ) STRICT, WITHOUT ROWID;
"];

/// The schema's version.
#[expect(clippy::cast_possible_truncation, reason = "there are few migrations")]
const VERSION: u32 = MIGRATIONS.len() as u32;

/// An offset as SQLite has it.
pub(super) fn to_sql(offset: Offset) -> i64 {
    i64::try_from(offset).expect("an offset that the log gave out fits in 63 bits")
}

/// An offset that was read.
pub(super) fn from_sql(offset: i64) -> Result<Offset> {
    Offset::try_from(offset).map_err(|_| Error::Corrupt(format!("the log has a negative offset, {offset}")))
}

/// What a failed read means to its caller.
pub(super) fn read_error(error: &rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            Error::Corrupt(format!("{FILE} is damaged ({error}); restore the data folder from a copy"))
        }
        _ => Error::DidNotHappen(format!("{FILE} could not be read: {error}")),
    }
}

fn open_error(path: &Path, error: &rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::Corrupt(format!(
            "{} is not an intact log ({error}); restore it from a copy or choose another data folder",
            path.display()
        )),
        Some(ErrorCode::DiskFull) => {
            Error::StorageFull(format!("{} could not be set up: free some space", path.display()))
        }
        _ => Error::DidNotHappen(format!("{} could not be opened: {error}", path.display())),
    }
}

/// Opens the database for its one writer; creates it when it is missing.
pub(super) fn open_writable(path: &Path, partitions: u16, size_max_bytes: Option<u64>) -> Result<Connection> {
    let failed = |error: rusqlite::Error| open_error(path, &error);
    let mut connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    connection.pragma_update(None, "journal_mode", "wal").map_err(failed)?;
    // Every commit is on the device before it is answered.
    connection.pragma_update(None, "synchronous", "full").map_err(failed)?;
    // A rush may leave a long write-ahead log behind; it is cut to this when it is used again.
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024).map_err(failed)?;
    if let Some(bytes) = size_max_bytes {
        let page_bytes: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(failed)?;
        let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / page_bytes;
        connection.pragma_update(None, "max_page_count", pages.max(1)).map_err(failed)?;
    }
    migrate(&mut connection, path, partitions)?;
    let found = count_partitions(&connection)?;
    if found != partitions {
        return Err(Error::DidNotHappen(format!(
            "{} has {found} partitions and {partitions} were asked for: the number is fixed when a log is made; ask for \
             {found}, or choose another data folder",
            path.display()
        )));
    }
    Ok(connection)
}

/// Opens the database for a reader.
pub(super) fn open_readable(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error: rusqlite::Error| open_error(path, &error);
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    let version = version(&connection).map_err(failed)?;
    check_version(path, version)?;
    if version == 0 {
        return Err(Error::DidNotHappen(format!("{} holds no log yet", path.display())));
    }
    Ok(connection)
}

fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn check_version(path: &Path, version: u32) -> Result<()> {
    if version > VERSION {
        return Err(Error::DidNotHappen(format!(
            "{} has schema version {version} and this program knows up to {VERSION}: start the newer version of Orderly that \
             wrote it",
            path.display()
        )));
    }
    Ok(())
}

fn migrate(connection: &mut Connection, path: &Path, partitions: u16) -> Result<()> {
    let failed = |error: rusqlite::Error| open_error(path, &error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let from = version(&transaction).map_err(failed)?;
    check_version(path, from)?;
    if from == VERSION {
        return Ok(());
    }
    for migration in MIGRATIONS.iter().skip(from as usize) {
        transaction.execute_batch(migration).map_err(failed)?;
    }
    if from == 0 {
        for partition in 0..partitions {
            transaction.execute("INSERT INTO partitions VALUES (?1, 0, ?2)", (partition, i64::MIN)).map_err(failed)?;
        }
    }
    transaction.pragma_update(None, "user_version", VERSION).map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// How many partitions the log was made with.
pub(super) fn count_partitions(connection: &Connection) -> Result<u16> {
    connection.query_row("SELECT count(*) FROM partitions", [], |row| row.get(0)).map_err(|error| read_error(&error))
}

/// Where the partitions start and end, and the time of the log's last record.
pub(super) struct State {
    /// Ascending by partition.
    pub(super) extents: Vec<Extent>,
    /// No record has a later time, not even one that was trimmed.
    pub(super) last_logged_at: Timestamp,
}

/// Reads the state in one read transaction.
pub(super) fn state(connection: &mut Connection) -> Result<State> {
    let failed = |error: rusqlite::Error| read_error(&error);
    let transaction = connection.transaction().map_err(failed)?;
    let mut state = State { extents: Vec::new(), last_logged_at: Timestamp::from_micros(i64::MIN) };
    let mut partitions = transaction
        .prepare("SELECT partition, start_offset, last_logged_at_us FROM partitions ORDER BY partition")
        .map_err(failed)?;
    let edge = |order: &str| {
        format!("SELECT log_offset, logged_at_us FROM records WHERE partition = ?1 ORDER BY log_offset {order} LIMIT 1")
    };
    let mut first = transaction.prepare(&edge("ASC")).map_err(failed)?;
    let mut last = transaction.prepare(&edge("DESC")).map_err(failed)?;
    let mut rows = partitions.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let partition: Partition = row.get(0).map_err(failed)?;
        let start = from_sql(row.get(1).map_err(failed)?)?;
        let edge = |statement: &mut rusqlite::Statement<'_>| -> Result<Option<(Offset, i64)>> {
            let found = statement.query_row([partition], |row| Ok((row.get(0)?, row.get(1)?))).optional();
            found.map_err(failed)?.map(|(offset, time): (i64, i64)| Ok((from_sql(offset)?, time))).transpose()
        };
        if let Some((found, _)) = edge(&mut first)?
            && found != start
        {
            return Err(Error::Corrupt(format!(
                "partition {partition} should start at offset {start} and starts at {found}; restore the data folder \
                 from a copy"
            )));
        }
        let last = edge(&mut last)?;
        let time = last.map_or(row.get(2).map_err(failed)?, |(_, time)| time);
        state.last_logged_at = state.last_logged_at.max(Timestamp::from_micros(time));
        state.extents.push(Extent { partition, start, end: last.map_or(start, |(offset, _)| offset + 1) });
    }
    Ok(state)
}
