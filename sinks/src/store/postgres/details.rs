//! Sealed fields of patients: kept with an appointment, read by its place, and sealed anew under another key.

use deadpool_postgres::ClientWrapper;
use jiff::civil::Date;
use orderly_domain::personal::{Fields, Sealed};
use orderly_domain::port::store::{AppointmentStatus, Details};
use orderly_domain::{Book, Command, Outcome, Position};
use tokio_postgres::Row;

use super::books::Holding;
use super::commit::Deciding;
use super::error::Failure;
use super::rows::{column, position, ticket_id, unreadable};

const INSERT: &str = "\
    INSERT INTO patient_details (partition, log_offset, day, ticket_id, name, phone, identity_number) \
    SELECT * FROM unnest($1::int4[], $2::int8[], $3::date[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[])";

const DELETE: &str = "\
    DELETE FROM patient_details AS d USING unnest($1::int4[], $2::int8[]) AS ended (partition, log_offset) \
    WHERE d.partition = ended.partition AND d.log_offset = ended.log_offset";

const UPDATE: &str = "\
    UPDATE patient_details AS d SET name = sealed.name, phone = sealed.phone, \
    identity_number = sealed.identity_number \
    FROM unnest($1::int4[], $2::int8[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[]) \
    AS sealed (partition, log_offset, ticket_id, name, phone, identity_number) \
    WHERE d.partition = sealed.partition AND d.log_offset = sealed.log_offset AND d.ticket_id = sealed.ticket_id";

/// Writes what a commit's bookings gave of their patients, and forgets what was kept of those who cancelled. Nothing is asked
/// of the server when there is neither.
pub(super) async fn write(client: &ClientWrapper, deciding: &Deciding<'_>, ended: &[&Holding]) -> Result<(), Failure> {
    let cancelled = |at: &Position, book: &Book| {
        let held = deciding.books.of_ticket(&book.ticket).filter(|held| held.position == *at);
        held.is_some_and(|held| held.status == AppointmentStatus::Cancelled)
    };
    let mut made: Vec<(Position, Date, &Book, &Fields<Sealed>)> = Vec::new();
    for (decision, answer, filed) in deciding.decided() {
        if let Some(Command::Book(book)) = &decision.command
            && let Some(fields) = book.details.as_deref()
            && let (Outcome::Booked { .. }, None, Some(day)) = (answer.outcome, answer.first, filed.appointment_day)
            && !cancelled(&answer.position, book)
        {
            made.push((answer.position, day, book, fields));
        }
    }
    let ended: Vec<_> = ended.iter().filter(|held| held.status == AppointmentStatus::Cancelled).collect();
    if !made.is_empty() {
        let partitions: Vec<i32> = made.iter().map(|(at, ..)| at.partition.into()).collect();
        let offsets: Vec<i64> = made.iter().map(|(at, ..)| at.offset.cast_signed()).collect();
        let days: Vec<Date> = made.iter().map(|(_, day, ..)| *day).collect();
        let tickets: Vec<&[u8]> = made.iter().map(|(.., book, _)| &book.ticket.as_bytes()[..]).collect();
        let [names, phones, numbers] = columns(&made.iter().map(|(.., fields)| *fields));
        let insert = client.prepare_cached(INSERT).await?;
        client.execute(&insert, &[&partitions, &offsets, &days, &tickets, &names, &phones, &numbers]).await?;
    }
    if !ended.is_empty() {
        let partitions: Vec<i32> = ended.iter().map(|held| held.position.partition.into()).collect();
        let offsets: Vec<i64> = ended.iter().map(|held| held.position.offset.cast_signed()).collect();
        let delete = client.prepare_cached(DELETE).await?;
        client.execute(&delete, &[&partitions, &offsets]).await?;
    }
    Ok(())
}

/// See [`orderly_domain::port::Store::details`].
pub(super) async fn of(client: &ClientWrapper, positions: &[Position]) -> Result<Vec<Details>, Failure> {
    let mut positions = positions.to_vec();
    positions.sort_unstable();
    positions.dedup();
    let partitions: Vec<i32> = positions.iter().map(|at| at.partition.into()).collect();
    let offsets: Vec<i64> = positions.iter().map(|at| at.offset.cast_signed()).collect();
    let select = client
        .prepare_cached(
            "SELECT d.partition, d.log_offset, d.ticket_id, d.name, d.phone, d.identity_number \
             FROM unnest($1::int4[], $2::int8[]) AS wanted (partition, log_offset) \
             JOIN patient_details AS d ON d.partition = wanted.partition AND d.log_offset = wanted.log_offset \
             ORDER BY d.partition, d.log_offset",
        )
        .await?;
    client.query(&select, &[&partitions, &offsets]).await?.iter().map(details).collect()
}

/// See [`orderly_domain::port::Store::details_after`].
pub(super) async fn after(
    client: &ClientWrapper,
    after: Option<Position>,
    rows_max: usize,
) -> Result<Vec<Details>, Failure> {
    let (partition, offset) = after.map_or((-1, -1), |at| (i32::from(at.partition), at.offset.cast_signed()));
    let rows_max = i64::try_from(rows_max).unwrap_or(i64::MAX);
    let select = client
        .prepare_cached(
            "SELECT partition, log_offset, ticket_id, name, phone, identity_number FROM patient_details \
             WHERE (partition, log_offset) > ($1::int4, $2::int8) ORDER BY partition, log_offset LIMIT $3",
        )
        .await?;
    client.query(&select, &[&partition, &offset, &rows_max]).await?.iter().map(details).collect()
}

/// See [`orderly_domain::port::Store::reseal`].
pub(super) async fn reseal(client: &ClientWrapper, details: &[Details]) -> Result<u64, Failure> {
    let partitions: Vec<i32> = details.iter().map(|row| row.position.partition.into()).collect();
    let offsets: Vec<i64> = details.iter().map(|row| row.position.offset.cast_signed()).collect();
    let tickets: Vec<&[u8]> = details.iter().map(|row| &row.ticket.as_bytes()[..]).collect();
    let [names, phones, numbers] = columns(&details.iter().map(|row| &row.fields));
    let update = client.prepare_cached(UPDATE).await?;
    Ok(client.execute(&update, &[&partitions, &offsets, &tickets, &names, &phones, &numbers]).await?)
}

/// The three sealed columns of a set.
fn columns<'a>(rows: &(impl Iterator<Item = &'a Fields<Sealed>> + Clone)) -> [Vec<Option<&'a [u8]>>; 3] {
    let column = |field: fn(&Fields<Sealed>) -> Option<&Sealed>| {
        rows.clone().map(|fields| field(fields).map(Sealed::as_bytes)).collect()
    };
    [
        column(|fields| fields.name.as_ref()),
        column(|fields| fields.phone.as_ref()),
        column(|fields| fields.identity_number.as_ref()),
    ]
}

fn details(row: &Row) -> Result<Details, Failure> {
    let sealed = |index| {
        let bytes: Option<Vec<u8>> = column(row, index)?;
        bytes.map(|bytes| Sealed::from_bytes(bytes).ok_or_else(|| unreadable("no sealed field"))).transpose()
    };
    Ok(Details {
        position: position(row, 0)?,
        ticket: ticket_id(row, 2)?,
        fields: Fields { name: sealed(3)?, phone: sealed(4)?, identity_number: sealed(5)? },
    })
}
