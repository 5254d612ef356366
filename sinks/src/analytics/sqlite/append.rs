//! The writer's side.

use orderly_domain::port;
use orderly_domain::port::analytics::Held;
use orderly_domain::{Offset, Partition, Position, Session};
use rusqlite::{Connection, TransactionBehavior, params};
use rustc_hash::FxHashMap;

use super::batch::{About, Batch};
use super::metrics::Metrics;
use crate::sqlite::{Failure, commit};

/// What the writer's thread owns.
#[derive(Debug)]
pub(super) struct Appends {
    pub(super) connection: Connection,
    pub(super) metrics: Metrics,
    /// Where partitions go on whose rows before that the store has forgotten.
    pub(super) skipped: FxHashMap<Partition, Offset>,
}

impl Appends {
    /// See [`port::Analytics::append`].
    pub(super) fn append(&mut self, batch: &Batch) -> Result<(), Failure> {
        let Some(first) = batch.entries.first() else { return Ok(()) };
        let timer = self.metrics.append_seconds.start_timer();
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let partition = first.position.partition;
        let skipped = self.skipped.get(&partition).copied().unwrap_or(0);
        let due = next_offset(&transaction, partition)?.max(skipped);
        if first.position.offset > due {
            return Err(port::Error::Conflict { expected: first.position.offset, found: due }.into());
        }
        // The texts of a session's day are the same for all its rows.
        let days: Vec<String> = batch.sessions.iter().map(|session| session.day.to_string()).collect();
        let mut statement = transaction.prepare_cached(
            "INSERT OR IGNORE INTO decisions (partition, log_offset, logged_at_ms, decided_at_ms, wait_ms, kind, \
             outcome, reason, number, repeat, session_id, doctor_id, doctor_name, department, campus, day, capacity, \
             release_at_ms, patient) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?;
        for (entry, offset) in batch.entries.iter().zip(first.position.offset..) {
            if entry.position != (Position { partition, offset }) {
                return Err(port::Error::Conflict { expected: entry.position.offset, found: offset }.into());
            }
            let session = match entry.about {
                About::Session(index) => Some((&batch.sessions[index], &days[index])),
                About::Unknown(_) | About::Nothing => None,
            };
            let session_id = match entry.about {
                About::Unknown(index) => Some(&batch.unknown[index]),
                About::Session(_) | About::Nothing => session.map(|(session, _)| &session.session_id),
            };
            let of_session = |column: fn(&Session) -> &str| session.map(|(session, _)| column(session));
            let wait = entry.decided_at.since(entry.logged_at).as_millis();
            statement.execute(params![
                partition,
                offset.cast_signed(),
                entry.logged_at.as_millis(),
                entry.decided_at.as_millis(),
                i64::try_from(wait).unwrap_or(i64::MAX),
                entry.kind.as_str(),
                entry.outcome.as_str(),
                entry.outcome.reason().map(|reason| reason.as_str()),
                entry.outcome.number(),
                entry.repeat,
                session_id.map(|id| id.as_str()),
                of_session(|session| session.doctor_id.as_str()),
                of_session(|session| &session.doctor_name),
                of_session(|session| session.department.as_str()),
                of_session(|session| session.campus.as_str()),
                session.map(|(_, day)| day),
                session.map(|(session, _)| session.capacity),
                session.map(|(session, _)| session.release_at.as_millis()),
                entry.patient,
            ])?;
        }
        drop(statement);
        commit(transaction)?;
        self.metrics.appended_rows.inc_by(batch.entries.len() as u64);
        timer.observe_duration();
        Ok(())
    }
}

/// The first offset of a partition that has not arrived.
fn next_offset(connection: &Connection, partition: Partition) -> rusqlite::Result<Offset> {
    connection
        .prepare_cached("SELECT COALESCE(MAX(log_offset) + 1, 0) FROM decisions WHERE partition = ?")?
        .query_row([partition], |row| Ok(row.get::<_, i64>(0)?.cast_unsigned()))
}

/// See [`port::Analytics::next_offsets`]. Goes from partition to partition by the key, not through all rows.
pub(super) fn next_offsets(connection: &Connection) -> rusqlite::Result<Vec<(Partition, Offset)>> {
    let mut found = Vec::new();
    let mut partition: Option<Partition> = lowest(connection, -1)?;
    while let Some(current) = partition {
        found.push((current, next_offset(connection, current)?));
        partition = lowest(connection, i64::from(current))?;
    }
    Ok(found)
}

/// See [`port::Analytics::held`].
pub(super) fn held(connection: &Connection) -> rusqlite::Result<Vec<Held>> {
    connection
        .prepare_cached(
            "SELECT partition, MIN(log_offset), MAX(log_offset) + 1, COUNT(*) FROM decisions \
             GROUP BY partition ORDER BY partition",
        )?
        .query_map([], |row| {
            let number = |column| Ok::<_, rusqlite::Error>(row.get::<_, i64>(column)?.cast_unsigned());
            Ok(Held { partition: row.get(0)?, first: number(1)?, next: number(2)?, rows: number(3)? })
        })?
        .collect()
}

/// The lowest partition above `above`.
fn lowest(connection: &Connection, above: i64) -> rusqlite::Result<Option<Partition>> {
    connection
        .prepare_cached("SELECT MIN(partition) FROM decisions WHERE partition > ?")?
        .query_row([above], |row| row.get(0))
}
