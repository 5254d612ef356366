//! A new log made of another log's records, each at its own place and with its own time.

use std::fs::File;
use std::path::Path;

use orderly_domain::clock::Timestamp;
use orderly_domain::port::log::Record;
use orderly_domain::port::{Error, Result};
use orderly_domain::{Offset, Partition};
use rusqlite::{Connection, TransactionBehavior};

use super::schema::{self, to_sql};
use super::{Options, lock, sync, unwritable};
use crate::sqlite::{self, Failure};

/// A log that is being filled. Its folder is locked until this is dropped; then [`super::Log::open`] goes on with it. Times
/// of different records may be equal, as Kafka's are: [`orderly_domain::Position`] orders those.
pub struct Import {
    connection: Connection,
    /// By partition.
    ends: Vec<End>,
    _lock: File,
}

/// Where a partition ends.
#[derive(Clone, Copy)]
struct End {
    next: Offset,
    last_logged_at: Timestamp,
}

impl Import {
    /// Makes an empty log in a data folder, and the folder when it is missing.
    ///
    /// # Errors
    /// `DidNotHappen` when the folder cannot be written, another process has it, it has records already, or the number of
    /// partitions is out of range.
    pub fn begin(folder: &Path, partitions: Partition) -> Result<Self> {
        Options { partitions, ..Options::default() }.validate().map_err(Error::DidNotHappen)?;
        let lock = lock(folder)?;
        let mut connection = schema::open_writable(&folder.join(schema::FILE), partitions, None)?;
        sync(folder).map_err(|error| unwritable(folder, &error))?;
        if schema::state(&mut connection)?.extents.iter().any(|extent| extent.end > 0) {
            let folder = folder.display();
            return Err(Error::DidNotHappen(format!("{folder} has an intent log already; choose an empty folder")));
        }
        let start = End { next: 0, last_logged_at: Timestamp::from_micros(i64::MIN) };
        Ok(Self { connection, ends: vec![start; usize::from(partitions)], _lock: lock })
    }

    /// Adds records in one transaction: each partition's from offset 0 on, without gaps. They are durable when this returns;
    /// after an error none of them is there. Blocks the thread.
    ///
    /// # Errors
    /// `Corrupt` when a record is not the next one of its partition, or the log took it before the one ahead of it;
    /// `StorageFull` and `DidNotHappen` when the file cannot be written.
    pub fn add(&mut self, records: &[Record]) -> Result<()> {
        let mut ends = self.ends.clone();
        let mut insert = || -> std::result::Result<(), Failure> {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut statement = transaction.prepare_cached("INSERT INTO records VALUES (?1, ?2, ?3, ?4)")?;
                for record in records {
                    advance(&mut ends, record)?;
                    let Record { position, logged_at, payload } = record;
                    let row = (position.partition, to_sql(position.offset), logged_at.as_micros(), payload.as_slice());
                    statement.execute(row)?;
                }
            }
            Ok(sqlite::commit(transaction)?)
        };
        insert()?;
        self.ends = ends;
        Ok(())
    }
}

/// Moves a partition's end behind a record, if it is the next one.
fn advance(ends: &mut [End], record: &Record) -> Result<()> {
    let Record { position, logged_at, .. } = record;
    let Some(end) = ends.get_mut(usize::from(position.partition)) else {
        return Err(Error::Corrupt(format!("the log to import has a record {position}, beyond its partitions")));
    };
    if position.offset != end.next {
        let text = format!("the log to import goes on at {position} where offset {} was expected", end.next);
        return Err(Error::Corrupt(text));
    }
    if *logged_at < end.last_logged_at {
        return Err(Error::Corrupt(format!(
            "the log to import took {position} at {logged_at}, before the record ahead of it ({}): its clock was set back",
            end.last_logged_at
        )));
    }
    *end = End { next: end.next + 1, last_logged_at: *logged_at };
    Ok(())
}
