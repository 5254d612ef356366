//! Retention: old rows are deleted a step at a time. The file stays as large as it is; what is free in it is used again.

use jiff::civil::Date;
use orderly_domain::envelope::day_number;
use orderly_domain::{Offset, Partition};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::writes::Writes;
use crate::sqlite::{Failure, bad, commit};

/// Sessions whose appointments are deleted in one transaction.
pub(super) const SESSIONS_STEP: usize = 20;
/// Offsets whose decisions are deleted in one transaction.
const OFFSETS_STEP: Offset = 2_000;
const DAY_US: i64 = 86_400_000_000;

/// How far a step came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Decisions that were deleted.
    pub(super) forgotten: u64,
    /// Where the next step begins.
    pub(super) next: Offset,
    /// What follows is kept.
    pub(super) ended: bool,
}

/// See [`orderly_domain::port::Store::kept_since`].
pub(super) fn kept_since(connection: &Connection) -> rusqlite::Result<Option<Date>> {
    let day: Option<String> =
        connection.prepare_cached("SELECT kept_since FROM retention")?.query_row([], |row| row.get(0)).optional()?;
    day.map(|day| day.parse().map_err(|_| bad(0, "no day"))).transpose()
}

/// Sessions of days before that one that have appointments.
pub(super) fn old_sessions(connection: &Connection, before: Date) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare_cached(
            "SELECT s.session_key FROM sessions AS s WHERE s.day < ? AND ( \
             EXISTS (SELECT 1 FROM appointments AS a WHERE a.session_key = s.session_key AND a.status = 0) \
             OR EXISTS (SELECT 1 FROM appointments AS a WHERE a.session_key = s.session_key AND a.status <> 0))",
        )?
        .query_map([before.to_string()], |row| row.get(0))?
        .collect()
}

/// The first decision of a partition, and the first that has to be kept whatever its day: the one at `below`, or the first
/// booking whose appointment is kept.
pub(super) fn extent(
    connection: &Connection,
    partition: Partition,
    below: Offset,
) -> rusqlite::Result<(Offset, Offset)> {
    let first = |table: &str| {
        connection
            .prepare_cached(&format!("SELECT MIN(log_offset) FROM {table} WHERE partition = ?"))?
            .query_row([partition], |row| Ok(row.get::<_, Option<i64>>(0)?.map(i64::cast_unsigned)))
    };
    let end = first("appointments")?.map_or(below, |booking| booking.min(below));
    Ok((first("decisions")?.unwrap_or(end), end))
}

impl Writes {
    /// Notes that what is older may be missing from now on.
    pub(super) fn keep_since(&mut self, before: Date) -> Result<(), Failure> {
        self.connection.execute(
            "INSERT INTO retention (only_row, kept_since) VALUES (1, ?) \
             ON CONFLICT (only_row) DO UPDATE SET kept_since = MAX(kept_since, excluded.kept_since)",
            [before.to_string()],
        )?;
        Ok(())
    }

    /// Deletes the appointments of sessions, and what was given of their patients.
    pub(super) fn forget_appointments(&mut self, sessions: &[i64]) -> Result<(), Failure> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for session in sessions {
            // Two statements, because each of the two indexes holds one kind.
            for which in ["status = 0", "status <> 0"] {
                let details = format!(
                    "DELETE FROM patient_details WHERE (partition, log_offset) IN \
                     (SELECT partition, log_offset FROM appointments WHERE session_key = ? AND {which})"
                );
                transaction.prepare_cached(&details)?.execute([session])?;
                let delete = format!("DELETE FROM appointments WHERE session_key = ? AND {which}");
                transaction.prepare_cached(&delete)?.execute([session])?;
            }
        }
        Ok(commit(transaction)?)
    }

    /// Deletes decisions of a partition from `from` on, up to `end` and to the first that was logged on that day or later.
    pub(super) fn forget_decisions(
        &mut self,
        partition: Partition,
        from: Offset,
        end: Offset,
        before: Date,
    ) -> Result<Step, Failure> {
        let before_us = i64::from(day_number(before)).saturating_mul(DAY_US);
        let until = end.min(from + OFFSETS_STEP);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let kept: Option<i64> = transaction
            .prepare_cached(
                "SELECT MIN(log_offset) FROM decisions \
                 WHERE partition = ? AND log_offset >= ? AND log_offset < ? AND logged_at_us >= ?",
            )?
            .query_row(params![partition, from.cast_signed(), until.cast_signed(), before_us], |row| row.get(0))?;
        let next = kept.map_or(until, i64::cast_unsigned);
        let forgotten = transaction
            .prepare_cached("DELETE FROM decisions WHERE partition = ? AND log_offset >= ? AND log_offset < ?")?
            .execute(params![partition, from.cast_signed(), next.cast_signed()])?;
        commit(transaction)?;
        Ok(Step { forgotten: forgotten as u64, next, ended: kept.is_some() })
    }
}
