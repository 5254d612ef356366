//! Reading the log in its total order.
//!
//! The writer's transactions carry rising times, so a read transaction sees a prefix of the total order. Each read takes
//! up to a limit from every partition in one read transaction. Where a partition was cut off at the limit, nothing after
//! its last record read is handed out: its next one may come before. The log's own times are distinct; those of a log that
//! was imported may be equal, and then the place orders.

use std::path::Path;

use orderly_domain::clock::Timestamp;
use orderly_domain::port::log::Record;
use orderly_domain::port::{Error, Result};
use orderly_domain::{Offset, Partition, Position};
use rusqlite::Connection;

use super::schema::{self, from_sql, to_sql};
use crate::sqlite::Failure;

/// How many records are held at most, over all partitions.
const RECORDS_MAX: usize = 32_768;

/// How many records of one partition are held at least, so that a log of many partitions is still read in runs.
const PARTITION_RECORDS_MIN: usize = 64;

/// How many bytes of payload are held at most, over all partitions, give or take a record of each.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// Where reading is.
pub(super) struct Scan {
    connection: Connection,
    /// By partition; `None` for those that are not read.
    cursors: Vec<Option<Cursor>>,
    /// Records that were read and cannot be handed out yet, in total order.
    held: Vec<Record>,
    partition_records_max: usize,
    partition_bytes_max: usize,
}

/// Where reading is in one partition.
struct Cursor {
    /// The first offset that was not read.
    next: Offset,
    last_logged_at: Timestamp,
    /// How much of it is held.
    held_records: usize,
    held_bytes: usize,
}

/// What one read found.
pub(super) struct Batch {
    /// In total order, directly after what was handed out before.
    pub(super) records: Vec<Record>,
    /// Whether there may be more to read at once.
    pub(super) more: bool,
}

impl Scan {
    pub(super) fn open(database: &Path, partitions: u16) -> Result<Self> {
        let partition_records_max = (RECORDS_MAX / usize::from(partitions)).max(PARTITION_RECORDS_MIN);
        Ok(Self {
            connection: schema::open_readable(database)?,
            cursors: std::iter::repeat_with(|| None).take(usize::from(partitions)).collect(),
            held: Vec::new(),
            partition_records_max,
            partition_bytes_max: BYTES_MAX / usize::from(partitions),
        })
    }

    /// Goes on from these offsets, one a partition, and forgets what it held.
    pub(super) fn seek(&mut self, from: &[Option<Offset>]) {
        self.held.clear();
        self.cursors = from
            .iter()
            .map(|next| {
                next.map(|next| Cursor {
                    next,
                    last_logged_at: Timestamp::from_micros(i64::MIN),
                    held_records: 0,
                    held_bytes: 0,
                })
            })
            .collect();
    }

    /// Reads on. After an error it must be told where to go on from.
    pub(super) fn read(&mut self) -> std::result::Result<Batch, Failure> {
        let mut records = std::mem::take(&mut self.held);
        let mut complete_until: Option<(Timestamp, Position)> = None;
        let transaction = self.connection.transaction()?;
        {
            let mut statement = transaction.prepare_cached(
                "SELECT log_offset, logged_at_us, payload FROM records
                     WHERE partition = ?1 AND log_offset >= ?2 ORDER BY log_offset LIMIT ?3",
            )?;
            for (partition, cursor) in (0..).zip(&mut self.cursors) {
                let Some(cursor) = cursor else { continue };
                let limits = (self.partition_records_max, self.partition_bytes_max);
                if cursor.fill(partition, limits, &mut statement, &mut records)? {
                    let last = (cursor.last_logged_at, Position { partition, offset: cursor.next - 1 });
                    complete_until = Some(complete_until.map_or(last, |until| until.min(last)));
                }
            }
        }
        transaction.commit()?;
        // Made of one ascending run a partition, which this sort finds and merges.
        records.sort_by_key(order);
        if let Some(until) = complete_until {
            self.held = records.split_off(records.partition_point(|record| order(record) <= until));
        }
        self.count_held();
        Ok(Batch { records, more: complete_until.is_some() })
    }

    fn count_held(&mut self) {
        for cursor in self.cursors.iter_mut().flatten() {
            (cursor.held_records, cursor.held_bytes) = (0, 0);
        }
        for record in &self.held {
            if let Some(cursor) = &mut self.cursors[usize::from(record.position.partition)] {
                cursor.held_records += 1;
                cursor.held_bytes += record.payload.len();
            }
        }
    }
}

impl Cursor {
    /// Reads one partition up to its limits; tells whether it was cut off there.
    fn fill(
        &mut self,
        partition: Partition,
        (records_max, bytes_max): (usize, usize),
        statement: &mut rusqlite::Statement<'_>,
        records: &mut Vec<Record>,
    ) -> std::result::Result<bool, Failure> {
        let room = records_max.saturating_sub(self.held_records);
        if room == 0 || self.held_bytes >= bytes_max {
            return Ok(true);
        }
        let mut bytes = self.held_bytes;
        let mut read = 0;
        let room_sql = i64::try_from(room).expect("a limit of records is small");
        let mut rows = statement.query((partition, to_sql(self.next), room_sql))?;
        while let Some(row) = rows.next()? {
            let position = Position { partition, offset: from_sql(row.get(0)?)? };
            let logged_at = Timestamp::from_micros(row.get(1)?);
            if position.offset != self.next {
                return Err(corrupt(format!(
                    "the log has no record {partition}/{} and goes on at {position}; restore the data folder from a copy",
                    self.next
                )));
            }
            if logged_at < self.last_logged_at {
                return Err(corrupt(format!(
                    "the log's times go back at {position}; restore the data folder from a copy"
                )));
            }
            let payload = row
                .get_ref(2)?
                .as_blob()
                .map_err(|error| corrupt(format!("the log's record {position} cannot be read: {error}")))?;
            records.push(Record { position, logged_at, payload: payload.to_vec() });
            self.next += 1;
            self.last_logged_at = logged_at;
            read += 1;
            bytes += payload.len();
            if bytes >= bytes_max {
                return Ok(true);
            }
        }
        Ok(read == room)
    }
}

fn order(record: &Record) -> (Timestamp, Position) {
    (record.logged_at, record.position)
}

fn corrupt(text: String) -> Failure {
    Error::Corrupt(text).into()
}
