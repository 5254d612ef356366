//! What can be asked of the store.

use orderly_domain::command::Kind;
use orderly_domain::inventory::{Holding, Snapshot};
use orderly_domain::port::store::{
    Appointment, Committed, DecisionRow, PolicyVersion, Progress, SeenTicket, SessionState,
};
use orderly_domain::{Offset, Outcome, Partition, Position, Reason, SessionId, Timestamp, ticket};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::effects::position;
use super::sessions;
use crate::sqlite::{bad, text};
use crate::store::codes;

/// Decisions with the appointments of their tickets' first bookings.
const DECISIONS: &str = "SELECT d.partition, d.log_offset, d.logged_at_us, d.decided_at_us, d.kind, d.outcome, d.reason, \
     d.number, d.ticket_id, s.session_id, d.patient_id, d.first_offset, d.corrected, \
     a.partition, a.log_offset, a.ticket_id, t.session_id, a.patient_id, a.number, a.status, \
     a.changed_partition, a.changed_offset, a.cause \
     FROM decisions AS d \
     LEFT JOIN sessions AS s ON s.session_key = d.session_key \
     LEFT JOIN appointments AS a \
         ON a.partition = d.partition AND a.log_offset = COALESCE(d.first_offset, d.log_offset) \
     LEFT JOIN sessions AS t ON t.session_key = a.session_key \
     WHERE d.partition = ? AND d.log_offset >= ? ORDER BY d.log_offset LIMIT ?";

/// Decisions of a partition, from an offset on.
pub(super) fn decisions(
    connection: &Connection,
    partition: Partition,
    from: Offset,
    rows_max: usize,
) -> rusqlite::Result<Vec<DecisionRow>> {
    let (from, rows_max) = (i64::try_from(from).unwrap_or(i64::MAX), i64::try_from(rows_max).unwrap_or(i64::MAX));
    connection.prepare_cached(DECISIONS)?.query_map(params![partition, from, rows_max], decision_row)?.collect()
}

/// The decision on one record.
pub(super) fn decision(connection: &Connection, at: Position) -> rusqlite::Result<Option<DecisionRow>> {
    let found = decisions(connection, at.partition, at.offset, 1)?.pop();
    Ok(found.filter(|row| row.decision.position == at))
}

fn decision_row(row: &Row<'_>) -> rusqlite::Result<DecisionRow> {
    let decision = Committed {
        position: position(row, 0)?,
        logged_at: Timestamp::from_micros(row.get(2)?),
        decided_at: Timestamp::from_micros(row.get(3)?),
        kind: codes::kind_of(row.get(4)?).ok_or_else(|| bad(4, "no such kind"))?,
        ticket: row.get::<_, Option<_>>(8)?.map(ticket::Id::from_bytes),
        session_id: row.get::<_, Option<String>>(9)?.map(|_| text(row, 9)).transpose()?,
        outcome: outcome_at(row, 5)?,
        first: row.get::<_, Option<i64>>(11)?.map(i64::cast_unsigned),
        corrected: row.get(12)?,
        session: None,
        released: Vec::new(),
    };
    let patient_id = row.get::<_, Option<String>>(10)?.map(|_| text(row, 10)).transpose()?;
    let appointment = row.get::<_, Option<i64>>(13)?.map(|_| appointment_at(row, 13)).transpose()?;
    Ok(DecisionRow { decision, patient_id, appointment })
}

/// An outcome from the three columns outcome, reason and number.
fn outcome_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Outcome> {
    codes::outcome_of(row.get(column)?, row.get(column + 1)?, row.get(column + 2)?)
        .ok_or_else(|| bad(column, "outcome, reason and number do not go together"))
}

fn appointment_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Appointment> {
    Ok(Appointment {
        position: position(row, column)?,
        ticket: ticket::Id::from_bytes(row.get(column + 2)?),
        session_id: text(row, column + 3)?,
        patient_id: text(row, column + 4)?,
        number: row.get(column + 5)?,
        status: codes::status_of(row.get(column + 6)?).ok_or_else(|| bad(column + 6, "no such status"))?,
        changed_at: position(row, column + 7)?,
        cause: row.get(column + 9)?,
    })
}

/// What a record that is repeated says of its ticket.
pub(super) struct First {
    pub(super) ticket: Option<ticket::Id>,
    pub(super) outcome: Outcome,
    /// The record that it repeats itself, if it does.
    pub(super) repeats: Option<Offset>,
}

/// The ticket and the outcome of one record.
pub(super) fn outcome(connection: &Connection, at: Position) -> rusqlite::Result<Option<First>> {
    let mut statement = connection.prepare_cached(
        "SELECT outcome, reason, number, ticket_id, first_offset FROM decisions WHERE partition = ? AND log_offset = ?",
    )?;
    statement
        .query_row(params![at.partition, at.offset.cast_signed()], |row| {
            Ok(First {
                ticket: row.get::<_, Option<_>>(3)?.map(ticket::Id::from_bytes),
                outcome: outcome_at(row, 0)?,
                repeats: row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
            })
        })
        .optional()
}

/// The bookings whose appointments a record cancelled, ascending.
pub(super) fn released(connection: &Connection, at: Position) -> rusqlite::Result<Vec<Position>> {
    let mut statement = connection.prepare_cached(
        "SELECT a.partition, a.log_offset FROM decisions AS d \
         JOIN appointments AS a ON a.session_key = d.session_key \
         WHERE d.partition = ?1 AND d.log_offset = ?2 \
         AND a.changed_partition = ?1 AND a.changed_offset = ?2 AND a.status <> 0 \
         ORDER BY a.partition, a.log_offset",
    )?;
    statement.query_map(params![at.partition, at.offset.cast_signed()], |row| position(row, 0))?.collect()
}

/// The newest first records of tickets. Within a partition the log's time never goes back, so the first record that is
/// too old ends the search.
pub(super) fn seen_tickets(
    connection: &Connection,
    partition: Partition,
    since: Timestamp,
    tickets_max: usize,
) -> rusqlite::Result<Vec<SeenTicket>> {
    let mut statement = connection.prepare_cached(
        "SELECT d.log_offset, d.logged_at_us, d.kind, d.outcome, d.reason, d.number, d.ticket_id, d.first_offset, \
         s.session_id FROM decisions AS d LEFT JOIN sessions AS s ON s.session_key = d.session_key \
         WHERE d.partition = ? ORDER BY d.log_offset DESC",
    )?;
    let mut rows = statement.query([partition])?;
    let mut seen = Vec::new();
    while seen.len() < tickets_max
        && let Some(row) = rows.next()?
    {
        let logged_at = Timestamp::from_micros(row.get(1)?);
        if logged_at < since {
            break;
        }
        let first = row.get::<_, Option<i64>>(7)?.is_none();
        let book = row.get::<_, u8>(2)? == codes::kind(Kind::Book);
        if book && first && outcome_at(row, 3)? != Outcome::Rejected(Reason::Duplicate) {
            seen.push(SeenTicket {
                ticket: ticket::Id::from_bytes(row.get(6)?),
                first: row.get::<_, i64>(0)?.cast_unsigned(),
                logged_at,
                session_id: row.get::<_, Option<String>>(8)?.map(|_| text(row, 8)).transpose()?,
            });
        }
    }
    seen.reverse();
    Ok(seen)
}

/// Inventories of the sessions of these partitions.
pub(super) fn snapshots(
    connection: &mut Connection,
    partitions: &[Partition],
    since: &str,
) -> rusqlite::Result<Vec<Snapshot>> {
    let transaction = connection.transaction()?;
    let mut statement = transaction.prepare_cached(
        "SELECT ticket_id, patient_id, number, log_offset, status = 0, partition FROM appointments \
         WHERE session_key = ?1 AND status = 0 \
         UNION ALL SELECT ticket_id, patient_id, number, log_offset, status = 0, partition FROM appointments \
         WHERE session_key = ?1 AND status <> 0 \
         ORDER BY partition, log_offset",
    )?;
    let mut snapshots = Vec::new();
    for known in sessions::since(&transaction, since)? {
        if partitions.contains(&known.partition) {
            let holdings = statement.query_map([known.key], |row| {
                Ok(Holding {
                    ticket: ticket::Id::from_bytes(row.get(0)?),
                    patient_id: text(row, 1)?,
                    number: row.get(2)?,
                    booked_at: row.get::<_, i64>(3)?.cast_unsigned(),
                    active: row.get(4)?,
                })
            })?;
            let holdings = holdings.collect::<rusqlite::Result<_>>()?;
            snapshots.push(Snapshot { session: known.state.session, closed: known.state.closed, holdings });
        }
    }
    Ok(snapshots)
}

/// All sessions of a day, and later.
pub(super) fn sessions(connection: &Connection, since: &str) -> rusqlite::Result<Vec<SessionState>> {
    Ok(sessions::since(connection, since)?.into_iter().map(|known| known.state).collect())
}

/// All appointments of a session, ascending by booking.
pub(super) fn appointments(connection: &Connection, id: &SessionId) -> rusqlite::Result<Vec<Appointment>> {
    connection
        .prepare_cached(
            "WITH of_session AS ( \
                 SELECT a.* FROM sessions AS s JOIN appointments AS a ON a.session_key = s.session_key \
                 WHERE s.session_id = ?1 AND a.status = 0 \
                 UNION ALL \
                 SELECT a.* FROM sessions AS s JOIN appointments AS a ON a.session_key = s.session_key \
                 WHERE s.session_id = ?1 AND a.status <> 0 \
             ) \
             SELECT partition, log_offset, ticket_id, ?1, patient_id, number, status, changed_partition, \
             changed_offset, cause FROM of_session ORDER BY partition, log_offset",
        )?
        .query_map([id.as_str()], |row| appointment_at(row, 0))?
        .collect()
}

/// How far every partition is.
pub(super) fn progress(connection: &Connection) -> rusqlite::Result<Vec<Progress>> {
    connection
        .prepare_cached(
            "SELECT partition, fence, owner, next_offset, published_offset FROM partitions ORDER BY partition",
        )?
        .query_map([], |row| {
            Ok(Progress {
                partition: row.get(0)?,
                fence: row.get::<_, i64>(1)?.cast_unsigned(),
                owner: row.get(2)?,
                next_offset: row.get::<_, i64>(3)?.cast_unsigned(),
                published_offset: row.get::<_, i64>(4)?.cast_unsigned(),
            })
        })?
        .collect()
}

/// The newest policies, newest first.
pub(super) fn policies(connection: &Connection, rows_max: usize) -> rusqlite::Result<Vec<PolicyVersion>> {
    connection
        .prepare_cached(
            "SELECT version, document, author, reason, set_at_us FROM policies ORDER BY version DESC LIMIT ?",
        )?
        .query_map([i64::try_from(rows_max).unwrap_or(i64::MAX)], |row| {
            Ok(PolicyVersion {
                version: row.get::<_, i64>(0)?.cast_unsigned(),
                document: row.get(1)?,
                author: row.get(2)?,
                reason: row.get(3)?,
                set_at: Timestamp::from_micros(row.get(4)?),
            })
        })?
        .collect()
}
