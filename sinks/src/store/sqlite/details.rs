//! Sealed fields of patients: kept with an appointment, read by its place, and sealed anew under another key.

use orderly_domain::personal::{Fields, Sealed};
use orderly_domain::port::store::Details;
use orderly_domain::{Book, Position, ticket};
use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};

use super::effects::position;
use super::writes::Writes;
use crate::sqlite::{Failure, bad, commit};

/// Keeps what a booking that made an appointment at `at` gave of its patient.
pub(super) fn keep(connection: &Connection, at: Position, book: &Book) -> rusqlite::Result<()> {
    let Some(fields) = &book.details else { return Ok(()) };
    let mut insert = connection.prepare_cached(
        "INSERT INTO patient_details (partition, log_offset, ticket_id, name, phone, identity_number) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )?;
    insert.execute(params![
        at.partition,
        at.offset.cast_signed(),
        book.ticket.as_bytes(),
        bytes(fields.name.as_ref()),
        bytes(fields.phone.as_ref()),
        bytes(fields.identity_number.as_ref()),
    ])?;
    Ok(())
}

/// Forgets what was kept of an appointment's patient.
pub(super) fn forget(connection: &Connection, of: Position) -> rusqlite::Result<()> {
    let mut delete = connection.prepare_cached("DELETE FROM patient_details WHERE partition = ? AND log_offset = ?")?;
    delete.execute(params![of.partition, of.offset.cast_signed()])?;
    Ok(())
}

/// See [`orderly_domain::port::Store::details`].
pub(super) fn of(connection: &Connection, positions: &[Position]) -> rusqlite::Result<Vec<Details>> {
    let mut select = connection.prepare_cached(
        "SELECT partition, log_offset, ticket_id, name, phone, identity_number FROM patient_details \
         WHERE partition = ? AND log_offset = ?",
    )?;
    let mut positions = positions.to_vec();
    positions.sort_unstable();
    positions.dedup();
    let mut found = Vec::new();
    for at in positions {
        found.extend(select.query_row(params![at.partition, at.offset.cast_signed()], details).optional()?);
    }
    Ok(found)
}

/// See [`orderly_domain::port::Store::details_after`].
pub(super) fn after(
    connection: &Connection,
    after: Option<Position>,
    rows_max: usize,
) -> rusqlite::Result<Vec<Details>> {
    let (partition, offset) = after.map_or((-1, -1), |at| (i64::from(at.partition), at.offset.cast_signed()));
    let rows_max = i64::try_from(rows_max).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "SELECT partition, log_offset, ticket_id, name, phone, identity_number FROM patient_details \
             WHERE (partition, log_offset) > (?, ?) ORDER BY partition, log_offset LIMIT ?",
        )?
        .query_map(params![partition, offset, rows_max], details)?
        .collect()
}

impl Writes {
    /// See [`orderly_domain::port::Store::reseal`].
    pub(super) fn reseal(&mut self, details: &[Details]) -> Result<u64, Failure> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut update = transaction.prepare_cached(
            "UPDATE patient_details SET name = ?, phone = ?, identity_number = ? \
             WHERE partition = ? AND log_offset = ? AND ticket_id = ?",
        )?;
        let mut resealed = 0;
        for Details { position, ticket, fields } in details {
            resealed += update.execute(params![
                bytes(fields.name.as_ref()),
                bytes(fields.phone.as_ref()),
                bytes(fields.identity_number.as_ref()),
                position.partition,
                position.offset.cast_signed(),
                ticket.as_bytes(),
            ])? as u64;
        }
        drop(update);
        commit(transaction)?;
        Ok(resealed)
    }
}

fn bytes(field: Option<&Sealed>) -> Option<&[u8]> {
    field.map(Sealed::as_bytes)
}

fn details(row: &Row<'_>) -> rusqlite::Result<Details> {
    let sealed = |column| {
        let bytes: Option<Vec<u8>> = row.get(column)?;
        bytes.map(|bytes| Sealed::from_bytes(bytes).ok_or_else(|| bad(column, "no sealed field"))).transpose()
    };
    Ok(Details {
        position: position(row, 0)?,
        ticket: ticket::Id::from_bytes(row.get(2)?),
        fields: Fields { name: sealed(3)?, phone: sealed(4)?, identity_number: sealed(5)? },
    })
}
