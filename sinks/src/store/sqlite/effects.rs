//! What decisions do to sessions and appointments. The constraints have the last word: what they forbid is refused.

use orderly_domain::command::{ChangeCapacity, CloseSession};
use orderly_domain::port;
use orderly_domain::port::store::{AppointmentStatus, SessionState};
use orderly_domain::{Book, Cancel, Command, Decision, Outcome, Position, Reason, Session, SessionRef};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::details;
use super::sessions::{Place, Sessions};
use crate::sqlite::Failure;
use crate::store::codes;

const ACTIVE: u8 = codes::status(AppointmentStatus::Booked);
const CANCELLED: u8 = codes::status(AppointmentStatus::Cancelled);
const SESSION_CLOSED: u8 = codes::status(AppointmentStatus::SessionClosed);

/// What became of one decision.
#[derive(Debug)]
pub(super) struct Effect {
    /// As it is stored.
    pub(super) outcome: Outcome,
    /// The session that its command names, if it exists.
    pub(super) place: Option<Place>,
    /// Whether that session or its remaining numbers changed.
    pub(super) changed: bool,
    /// Bookings whose appointments it cancelled, ascending.
    pub(super) released: Vec<Position>,
}

/// What a command did.
enum Made {
    Changed { place: Place, released: Vec<Position> },
    Nothing,
    Refused(Reason),
}

/// Applies decisions, one after the other, inside one transaction.
pub(super) struct Effects<'a> {
    pub(super) connection: &'a Connection,
    pub(super) sessions: &'a mut Sessions,
}

impl Effects<'_> {
    /// Applies a decision that is no repeat.
    pub(super) fn apply(&mut self, decision: &Decision) -> Result<Effect, Failure> {
        let at = decision.position;
        let place = match &decision.command {
            Some(command) => self.sessions.find(self.connection, command.session_id())?,
            None => None,
        };
        let made = match (&decision.command, decision.outcome) {
            (_, Outcome::Rejected(reason)) => Made::Refused(reason),
            (Some(Command::Book(book)), Outcome::Booked { number }) => self.book(at, place, book, number)?,
            (Some(Command::Cancel(cancel)), Outcome::Cancelled { .. }) => self.cancel(at, place, cancel)?,
            (Some(Command::OpenSession(session)), Outcome::Applied) => self.open(at, place, session)?,
            (Some(Command::CloseSession(close)), Outcome::Applied) => self.close(at, place, close)?,
            (Some(Command::ChangeCapacity(change)), Outcome::Applied) => self.change_capacity(at, place, change)?,
            (_, outcome) => {
                let text = format!("record {at} cannot have the outcome {}; do not commit it", outcome.as_str());
                return Err(port::Error::Corrupt(text).into());
            }
        };
        Ok(match made {
            Made::Changed { place, released } => {
                Effect { outcome: decision.outcome, place: Some(place), changed: true, released }
            }
            Made::Nothing => Effect { outcome: decision.outcome, place, changed: false, released: Vec::new() },
            Made::Refused(reason) => {
                Effect { outcome: Outcome::Rejected(reason), place, changed: false, released: Vec::new() }
            }
        })
    }

    /// The place of a session, if it is that doctor's.
    fn of_doctor(&self, place: Option<Place>, reference: &SessionRef) -> Option<Place> {
        place.filter(|place| self.sessions.get(*place).state.session.doctor_id == reference.doctor_id)
    }

    fn book(&mut self, at: Position, place: Option<Place>, book: &Book, number: u32) -> Result<Made, Failure> {
        let Some(place) = self.of_doctor(place, &book.session) else {
            return Ok(Made::Refused(Reason::UnknownSession));
        };
        let known = self.sessions.get(place);
        let session = &known.state.session;
        let scope = session.exclusivity.scope(&session.reference());
        if known.state.closed || !(1..=session.capacity).contains(&number) {
            // Whether the ticket or the patient is refused for a cause of their own comes first, as for an open session.
            let cause = if known.state.closed { Reason::SessionClosed } else { Reason::SoldOut };
            return Ok(Made::Refused(self.conflict(book, scope.as_deref())?.unwrap_or(cause)));
        }
        let mut statement = self.connection.prepare_cached(
            "INSERT INTO appointments (partition, log_offset, session_key, number, patient_id, ticket_id, scope, status, \
             changed_partition, changed_offset) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?1, ?2) ON CONFLICT DO NOTHING",
        )?;
        let rows = statement.execute(params![
            at.partition,
            at.offset.cast_signed(),
            known.key,
            number,
            book.patient_id.as_str(),
            book.ticket.as_bytes(),
            scope,
            ACTIVE,
        ])?;
        if rows == 0 {
            return Ok(Made::Refused(self.conflict(book, scope.as_deref())?.unwrap_or(Reason::SoldOut)));
        }
        details::keep(self.connection, at, book)?;
        self.sessions.change(place, at).booked += 1;
        Ok(Made::Changed { place, released: Vec::new() })
    }

    /// Why a booking's ticket or patient excludes it, if they do.
    fn conflict(&self, book: &Book, scope: Option<&str>) -> Result<Option<Reason>, Failure> {
        let mut by_ticket = self.connection.prepare_cached("SELECT 1 FROM appointments WHERE ticket_id = ?")?;
        if by_ticket.exists([book.ticket.as_bytes()])? {
            return Ok(Some(Reason::Duplicate));
        }
        let mut by_scope = self
            .connection
            .prepare_cached("SELECT 1 FROM appointments WHERE scope = ? AND patient_id = ? AND status = 0")?;
        let held = by_scope.exists(params![scope, book.patient_id.as_str()])?;
        Ok(held.then_some(Reason::AlreadyBooked))
    }

    fn cancel(&mut self, at: Position, place: Option<Place>, cancel: &Cancel) -> Result<Made, Failure> {
        let Some(place) = self.of_doctor(place, &cancel.session) else {
            return Ok(Made::Refused(Reason::UnknownSession));
        };
        let key = self.sessions.get(place).key;
        let mut find = self.connection.prepare_cached(
            "SELECT status, partition, log_offset FROM appointments \
             WHERE ticket_id = ? AND session_key = ? AND patient_id = ?",
        )?;
        let found = find
            .query_row(params![cancel.ticket.as_bytes(), key, cancel.patient_id.as_str()], |row| {
                Ok((row.get::<_, u8>(0)?, position(row, 1)?))
            })
            .optional()?;
        let Some((status, booked_at)) = found else { return Ok(Made::Refused(Reason::NotBooked)) };
        if status != ACTIVE {
            return Ok(Made::Nothing);
        }
        let mut end = self.connection.prepare_cached(
            "UPDATE appointments SET status = ?, changed_partition = ?, changed_offset = ? \
             WHERE partition = ? AND log_offset = ?",
        )?;
        end.execute(params![
            CANCELLED,
            at.partition,
            at.offset.cast_signed(),
            booked_at.partition,
            booked_at.offset.cast_signed(),
        ])?;
        details::forget(self.connection, booked_at)?;
        self.sessions.change(place, at).booked -= 1;
        Ok(Made::Changed { place, released: vec![booked_at] })
    }

    fn open(&mut self, at: Position, place: Option<Place>, session: &Session) -> Result<Made, Failure> {
        let Some(place) = place else {
            let state = SessionState { session: session.clone(), closed: false, booked: 0, changed_at: at };
            let place = self.sessions.open(self.connection, at.partition, state)?;
            return Ok(Made::Changed { place, released: Vec::new() });
        };
        let known = self.sessions.get(place);
        if known.state.session.reference() != session.reference() {
            return Ok(Made::Refused(Reason::SessionConflict));
        }
        if self.highest_number(place)? > session.capacity {
            return Ok(Made::Refused(Reason::BelowBooked));
        }
        let state = self.sessions.change(place, at);
        // The rule under which a session was opened first stays with it: appointments were made under it.
        state.session = Session { exclusivity: state.session.exclusivity, ..session.clone() };
        state.closed = false;
        Ok(Made::Changed { place, released: Vec::new() })
    }

    fn close(&mut self, at: Position, place: Option<Place>, close: &CloseSession) -> Result<Made, Failure> {
        let Some(place) = self.of_doctor(place, &close.session) else {
            return Ok(Made::Refused(Reason::UnknownSession));
        };
        let mut end = self.connection.prepare_cached(
            "UPDATE appointments SET status = ?, changed_partition = ?, changed_offset = ?, cause = ? \
             WHERE session_key = ? AND status = 0 RETURNING partition, log_offset",
        )?;
        let ended =
            params![SESSION_CLOSED, at.partition, at.offset.cast_signed(), close.cause, self.sessions.get(place).key];
        let rows = end.query_map(ended, |row| position(row, 0))?;
        let mut released = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        released.sort_unstable();
        let state = self.sessions.change(place, at);
        state.closed = true;
        state.booked = 0;
        Ok(Made::Changed { place, released })
    }

    fn change_capacity(
        &mut self,
        at: Position,
        place: Option<Place>,
        change: &ChangeCapacity,
    ) -> Result<Made, Failure> {
        let Some(place) = self.of_doctor(place, &change.session) else {
            return Ok(Made::Refused(Reason::UnknownSession));
        };
        if self.sessions.get(place).state.closed {
            return Ok(Made::Refused(Reason::SessionClosed));
        }
        if self.highest_number(place)? > change.capacity {
            return Ok(Made::Refused(Reason::BelowBooked));
        }
        self.sessions.change(place, at).session.capacity = change.capacity;
        Ok(Made::Changed { place, released: Vec::new() })
    }

    /// The highest number that is held; 0 when none is.
    fn highest_number(&self, place: Place) -> Result<u32, Failure> {
        let mut highest = self
            .connection
            .prepare_cached("SELECT COALESCE(MAX(number), 0) FROM appointments WHERE session_key = ? AND status = 0")?;
        Ok(highest.query_row([self.sessions.get(place).key], |row| row.get(0))?)
    }
}

/// A record's place from two columns, the first of which is `column`.
pub(super) fn position(row: &Row<'_>, column: usize) -> rusqlite::Result<Position> {
    Ok(Position { partition: row.get(column)?, offset: row.get::<_, i64>(column + 1)?.cast_unsigned() })
}
