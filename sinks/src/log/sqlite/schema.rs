//! The database file: its schema, how it is opened, and where each partition starts and ends.

use std::path::Path;

use orderly_domain::clock::Timestamp;
use orderly_domain::port::log::Extent;
use orderly_domain::port::{Error, Result};
use orderly_domain::{Offset, Partition, Position};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};

use crate::sqlite::{self, Durability, Failure};

/// The database's file name in the data folder.
pub(super) const FILE: &str = "log.sqlite";

/// How much of the database the writer keeps in memory: the ends of the partitions, where it appends.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

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

/// An offset as SQLite has it.
pub(super) fn to_sql(offset: Offset) -> i64 {
    i64::try_from(offset).expect("an offset that the log gave out fits in 63 bits")
}

/// An offset that was read.
pub(super) fn from_sql(offset: i64) -> Result<Offset> {
    Offset::try_from(offset).map_err(|_| Error::Corrupt(format!("the log has a negative offset, {offset}")))
}

/// Opens the database for its one writer; creates it when it is missing.
pub(super) fn open_writable(path: &Path, partitions: u16, size_max_bytes: Option<u64>) -> Result<Connection> {
    let mut connection =
        sqlite::open_for_writing(path, Durability::EveryCommit, sqlite::PAGE_BYTES, CACHE_BYTES, size_max_bytes)?;
    sqlite::migrate(&mut connection, &MIGRATIONS)?;
    if count_partitions(&connection)? == 0 {
        create_partitions(&mut connection, partitions)?;
    }
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
    let connection = sqlite::open_for_reading(path)?;
    sqlite::check_version(&connection, &MIGRATIONS)?;
    Ok(connection)
}

fn create_partitions(connection: &mut Connection, partitions: u16) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Failure::from)?;
    for partition in 0..partitions {
        transaction
            .execute("INSERT INTO partitions VALUES (?1, 0, ?2)", (partition, i64::MIN))
            .map_err(Failure::from)?;
    }
    sqlite::commit(transaction)
}

/// How many partitions the log was made with.
pub(super) fn count_partitions(connection: &Connection) -> Result<u16> {
    let count = connection.query_row("SELECT count(*) FROM partitions", [], |row| row.get(0));
    Ok(count.map_err(Failure::from)?)
}

/// Where the partitions start and end, and the time of the log's last record.
pub(super) struct State {
    /// Ascending by partition.
    pub(super) extents: Vec<Extent>,
    /// No record has a later time, not even one that was trimmed.
    pub(super) last_logged_at: Timestamp,
}

/// Reads the state in one read transaction.
pub(super) fn state(connection: &mut Connection) -> std::result::Result<State, Failure> {
    let transaction = connection.transaction()?;
    let mut state = State { extents: Vec::new(), last_logged_at: Timestamp::from_micros(i64::MIN) };
    let mut partitions =
        transaction.prepare("SELECT partition, start_offset, last_logged_at_us FROM partitions ORDER BY partition")?;
    let edge = |order: &str| {
        format!("SELECT log_offset, logged_at_us FROM records WHERE partition = ?1 ORDER BY log_offset {order} LIMIT 1")
    };
    let mut first = transaction.prepare(&edge("ASC"))?;
    let mut last = transaction.prepare(&edge("DESC"))?;
    let mut rows = partitions.query([])?;
    while let Some(row) = rows.next()? {
        let partition: Partition = row.get(0)?;
        let start = from_sql(row.get(1)?)?;
        let edge = |statement: &mut rusqlite::Statement<'_>| -> std::result::Result<Option<(Offset, i64)>, Failure> {
            let found = statement.query_row([partition], |row| Ok((row.get(0)?, row.get(1)?))).optional();
            found?.map(|(offset, time): (i64, i64)| Ok((from_sql(offset)?, time))).transpose()
        };
        if let Some((found, _)) = edge(&mut first)?
            && found != start
        {
            let text = format!(
                "partition {partition} should start at offset {start} and starts at {found}; restore the data folder \
                 from a copy"
            );
            return Err(Error::Corrupt(text).into());
        }
        let last = edge(&mut last)?;
        let time = last.map_or(row.get(2)?, |(_, time)| time);
        state.last_logged_at = state.last_logged_at.max(Timestamp::from_micros(time));
        state.extents.push(Extent { partition, start, end: last.map_or(start, |(offset, _)| offset + 1) });
    }
    Ok(state)
}

/// When the records at these places were logged, those that are there.
pub(super) fn logged_at(connection: &Connection, places: &[Position]) -> Result<Vec<Option<Timestamp>>> {
    let failed = |error| Error::from(Failure::from(error));
    let mut select = connection
        .prepare("SELECT logged_at_us FROM records WHERE partition = ?1 AND log_offset = ?2")
        .map_err(failed)?;
    let mut times = Vec::with_capacity(places.len());
    for place in places {
        let found = select.query_row((place.partition, to_sql(place.offset)), |row| row.get(0)).optional();
        times.push(found.map_err(failed)?.map(Timestamp::from_micros));
    }
    Ok(times)
}
