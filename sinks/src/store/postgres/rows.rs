//! From rows to words.

use std::str::FromStr;

use jiff::civil::Date;
use orderly_domain::port::store::{Appointment, Committed, DecisionRow, SessionState};
use orderly_domain::{Offset, Outcome, Partition, Position, Session, SessionId, Timestamp, port, ticket};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use super::error::Failure;
use crate::store::codes;

/// A column's value.
pub(crate) fn column<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T, Failure> {
    row.try_get(index).map_err(|error| unreadable(&error.to_string()))
}

pub(crate) fn unreadable(what: &str) -> Failure {
    port::Error::Corrupt(format!("a row cannot be read: {what}; restore the database from a backup")).into()
}

/// A word of text, such as an identifier.
pub(crate) fn text<T: FromStr<Err: std::fmt::Display>>(row: &Row, index: usize) -> Result<T, Failure> {
    column::<&str>(row, index)?.parse().map_err(|error: T::Err| unreadable(&error.to_string()))
}

/// A word of text that may be missing.
pub(crate) fn maybe_text<T: FromStr<Err: std::fmt::Display>>(row: &Row, index: usize) -> Result<Option<T>, Failure> {
    column::<Option<&str>>(row, index)?
        .map(|word| word.parse().map_err(|error: T::Err| unreadable(&error.to_string())))
        .transpose()
}

pub(crate) fn offset(row: &Row, index: usize) -> Result<Offset, Failure> {
    Ok(column::<i64>(row, index)?.cast_unsigned())
}

pub(crate) fn maybe_offset(row: &Row, index: usize) -> Result<Option<Offset>, Failure> {
    Ok(column::<Option<i64>>(row, index)?.map(i64::cast_unsigned))
}

pub(crate) fn partition(row: &Row, index: usize) -> Result<Partition, Failure> {
    Partition::try_from(column::<i32>(row, index)?).map_err(|_| unreadable("no such partition"))
}

/// A record's place from two columns.
pub(crate) fn position(row: &Row, index: usize) -> Result<Position, Failure> {
    Ok(Position { partition: partition(row, index)?, offset: offset(row, index + 1)? })
}

pub(crate) fn count(row: &Row, index: usize) -> Result<u32, Failure> {
    Ok(column::<i32>(row, index)?.cast_unsigned())
}

pub(crate) fn moment(row: &Row, index: usize) -> Result<Timestamp, Failure> {
    Ok(Timestamp::from_micros(column(row, index)?))
}

pub(crate) fn ticket_id(row: &Row, index: usize) -> Result<ticket::Id, Failure> {
    maybe_ticket_id(row, index)?.ok_or_else(|| unreadable("no ticket"))
}

pub(crate) fn maybe_ticket_id(row: &Row, index: usize) -> Result<Option<ticket::Id>, Failure> {
    let Some(bytes) = column::<Option<&[u8]>>(row, index)? else { return Ok(None) };
    let bytes = bytes.try_into().map_err(|_| unreadable("a ticket has 16 bytes"))?;
    Ok(Some(ticket::Id::from_bytes(bytes)))
}

/// The number that stands for a name.
pub(crate) fn code(row: &Row, index: usize) -> Result<u8, Failure> {
    u8::try_from(column::<i16>(row, index)?).map_err(|_| unreadable("no such code"))
}

/// An outcome from the three columns outcome, reason and number.
pub(crate) fn outcome(row: &Row, index: usize) -> Result<Outcome, Failure> {
    let wrong = || unreadable("outcome, reason and number do not go together");
    let reason = column::<Option<i16>>(row, index + 1)?.map(u8::try_from).transpose().map_err(|_| wrong())?;
    let number = column::<Option<i32>>(row, index + 2)?.map(i32::cast_unsigned);
    codes::outcome_of(code(row, index)?, reason, number).ok_or_else(wrong)
}

/// A session's row.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) key: i64,
    /// The partition of its doctor's records.
    pub(crate) partition: Partition,
    pub(crate) state: SessionState,
}

/// The query for [`known`], with what follows `FROM sessions`.
macro_rules! select_sessions {
    ($rest:literal) => {
        concat!(
            "SELECT session_key, partition, session_id, doctor_id, doctor_name, department, campus, day, start_time, ",
            "end_time, timezone, capacity, release_at_us, ends_at_us, exclusivity, closed, booked, changed_partition, ",
            "changed_offset FROM sessions ",
            $rest
        )
    };
}
pub(crate) use select_sessions;

pub(crate) fn known(row: &Row) -> Result<Known, Failure> {
    let session = Session {
        session_id: text(row, 2)?,
        doctor_id: text(row, 3)?,
        doctor_name: column(row, 4)?,
        department: text(row, 5)?,
        campus: text(row, 6)?,
        day: column(row, 7)?,
        start: column(row, 8)?,
        end: column(row, 9)?,
        timezone: column(row, 10)?,
        capacity: count(row, 11)?,
        release_at: moment(row, 12)?,
        ends_at: moment(row, 13)?,
        exclusivity: codes::exclusivity_of(code(row, 14)?).ok_or_else(|| unreadable("no such exclusivity"))?,
    };
    let changed_at = position(row, 17)?;
    let state = SessionState { session, closed: column(row, 15)?, booked: count(row, 16)?, changed_at };
    Ok(Known { key: column(row, 0)?, partition: partition(row, 1)?, state })
}

/// A decision from the columns of [`super::reads`], the first thirteen of them.
pub(crate) fn committed(row: &Row) -> Result<Committed, Failure> {
    Ok(Committed {
        position: position(row, 0)?,
        logged_at: moment(row, 2)?,
        decided_at: moment(row, 3)?,
        kind: codes::kind_of(code(row, 4)?).ok_or_else(|| unreadable("no such kind"))?,
        ticket: maybe_ticket_id(row, 8)?,
        session_id: maybe_text(row, 9)?,
        outcome: outcome(row, 5)?,
        first: maybe_offset(row, 11)?,
        corrected: column(row, 12)?,
        session: None,
        released: Vec::new(),
    })
}

/// The same as it is asked for, still without its appointment.
pub(crate) fn decision(row: &Row) -> Result<DecisionRow, Failure> {
    Ok(DecisionRow { decision: committed(row)?, patient_id: maybe_text(row, 10)?, appointment: None })
}

/// The columns of [`appointment`], of appointments `a` and sessions `s`.
macro_rules! appointment_columns {
    () => {
        "a.partition, a.log_offset, a.ticket_id, s.session_id, a.patient_id, a.number, a.status, a.changed_partition, \
         a.changed_offset, a.cause"
    };
}
pub(crate) use appointment_columns;

pub(crate) fn appointment(row: &Row) -> Result<Appointment, Failure> {
    Ok(Appointment {
        position: position(row, 0)?,
        ticket: ticket_id(row, 2)?,
        session_id: text(row, 3)?,
        patient_id: text(row, 4)?,
        number: count(row, 5)?,
        status: codes::status_of(code(row, 6)?).ok_or_else(|| unreadable("no such status"))?,
        changed_at: position(row, 7)?,
        cause: column(row, 9)?,
    })
}

/// The UTC day of a moment.
pub(crate) fn utc_day(moment: Timestamp) -> Date {
    jiff::tz::TimeZone::UTC.to_datetime(moment.to_jiff()).date()
}

/// The same day, or the first that PostgreSQL knows: its calendar begins later than the program's.
pub(crate) fn known_day(day: Date) -> Date {
    day.max(Date::constant(-4000, 1, 1))
}

/// Text for a parameter.
pub(crate) fn words(ids: &[SessionId]) -> Vec<&str> {
    ids.iter().map(SessionId::as_str).collect()
}
