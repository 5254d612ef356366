//! What decisions do to sessions and appointments, in memory, one after the other: as the constraints would have it, which
//! have the last word.

use orderly_domain::command::{ChangeCapacity, CloseSession};
use orderly_domain::port;
use orderly_domain::port::store::{AppointmentStatus, SessionState};
use orderly_domain::{
    Book, Cancel, Command, Decision, Outcome, Partition, PatientId, Position, Reason, Session, SessionRef,
};

use super::books::{Books, Fate, Holding, Place};
use super::error::Failure;
use super::rows::Known;

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

/// Applies decisions.
pub(super) struct Effects<'a> {
    pub(super) books: &'a mut Books,
    /// Keys for sessions that are opened for the first time, ascending.
    pub(super) keys: &'a mut std::vec::IntoIter<i64>,
    /// Whether what a partition has is known to the booking of that record: the commit is about it, or
    /// that booking is to be refused for it.
    pub(super) is_final: &'a dyn Fn(Position, Partition) -> bool,
}

impl Effects<'_> {
    /// Applies a decision that is no repeat.
    pub(super) fn apply(&mut self, decision: &Decision) -> Result<Effect, Failure> {
        let at = decision.position;
        let place = decision.command.as_ref().and_then(|command| self.books.find(command.session_id()));
        let made = match (&decision.command, decision.outcome) {
            (_, Outcome::Rejected(reason)) => Made::Refused(reason),
            (Some(Command::Book(book)), Outcome::Booked { number }) => self.book(at, place, book, number)?,
            (Some(Command::Cancel(cancel)), Outcome::Cancelled { .. }) => self.cancel(at, place, cancel),
            (Some(Command::OpenSession(session)), Outcome::Applied) => self.open(at, place, session)?,
            (Some(Command::CloseSession(close)), Outcome::Applied) => self.close(at, place, close),
            (Some(Command::ChangeCapacity(change)), Outcome::Applied) => self.change_capacity(at, place, change),
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
        place.filter(|place| self.books.session(*place).state.session.doctor_id == reference.doctor_id)
    }

    /// Whether the patient holds an appointment in that scope.
    ///
    /// # Errors
    /// When it is of a partition that this commit is not about: the ledger does not know of it.
    fn holds_in(&self, at: Position, scope: &str, patient: &PatientId) -> Result<bool, Failure> {
        match self.books.held_in(scope, patient) {
            Some(held) if !(self.is_final)(at, held.position.partition) => Err(Failure::Held { at, by: held.position }),
            held => Ok(held.is_some()),
        }
    }

    fn book(&mut self, at: Position, place: Option<Place>, book: &Book, number: u32) -> Result<Made, Failure> {
        let Some(place) = self.of_doctor(place, &book.session) else {
            return Ok(Made::Refused(Reason::UnknownSession));
        };
        let known = self.books.session(place);
        let (session, key) = (&known.state.session, known.key);
        let scope = session.exclusivity.scope(&session.reference());
        // Whether the ticket or the patient is refused for a cause of their own comes first.
        if self.books.has_booked(&book.ticket) {
            return Ok(Made::Refused(Reason::Duplicate));
        }
        if let Some(scope) = &scope
            && self.holds_in(at, scope, &book.patient_id)?
        {
            return Ok(Made::Refused(Reason::AlreadyBooked));
        }
        if known.state.closed {
            return Ok(Made::Refused(Reason::SessionClosed));
        }
        if !(1..=session.capacity).contains(&number) || self.books.is_held(key, number) {
            return Ok(Made::Refused(Reason::SoldOut));
        }
        let holding = Holding {
            position: at,
            session_key: key,
            day: session.day,
            number,
            patient_id: book.patient_id.clone(),
            ticket: book.ticket,
            scope,
            status: AppointmentStatus::Booked,
            changed_at: at,
            cause: None,
            fate: Fate::Made,
        };
        self.books.add_holding(holding);
        self.books.change_session(place, at).booked += 1;
        Ok(Made::Changed { place, released: Vec::new() })
    }

    fn cancel(&mut self, at: Position, place: Option<Place>, cancel: &Cancel) -> Made {
        let Some(place) = self.of_doctor(place, &cancel.session) else {
            return Made::Refused(Reason::UnknownSession);
        };
        let key = self.books.session(place).key;
        let held = self.books.of_ticket(&cancel.ticket);
        let held = held.filter(|held| held.session_key == key && held.patient_id == cancel.patient_id);
        let Some(held) = held else { return Made::Refused(Reason::NotBooked) };
        if held.status != AppointmentStatus::Booked {
            return Made::Nothing;
        }
        let released = self.books.end(&cancel.ticket, at, AppointmentStatus::Cancelled, None);
        self.books.change_session(place, at).booked -= 1;
        Made::Changed { place, released: released.into_iter().collect() }
    }

    fn open(&mut self, at: Position, place: Option<Place>, session: &Session) -> port::Result<Made> {
        let Some(place) = place else {
            let state = SessionState { session: session.clone(), closed: false, booked: 0, changed_at: at };
            let key = self.keys.next().ok_or_else(|| {
                port::Error::DidNotHappen("there are more new sessions than keys were taken for; report this".into())
            })?;
            let place = self.books.open_session(Known { key, partition: at.partition, state });
            return Ok(Made::Changed { place, released: Vec::new() });
        };
        let known = self.books.session(place);
        if known.state.session.reference() != session.reference() {
            return Ok(Made::Refused(Reason::SessionConflict));
        }
        if self.books.highest_number(known.key) > session.capacity {
            return Ok(Made::Refused(Reason::BelowBooked));
        }
        let state = self.books.change_session(place, at);
        // The rule under which a session was opened first stays with it: appointments were made under it.
        state.session = Session { exclusivity: state.session.exclusivity, ..session.clone() };
        state.closed = false;
        Ok(Made::Changed { place, released: Vec::new() })
    }

    fn close(&mut self, at: Position, place: Option<Place>, close: &CloseSession) -> Made {
        let Some(place) = self.of_doctor(place, &close.session) else {
            return Made::Refused(Reason::UnknownSession);
        };
        let mut released = Vec::new();
        for ticket in self.books.active(self.books.session(place).key) {
            released.extend(self.books.end(&ticket, at, AppointmentStatus::SessionClosed, Some(&close.cause)));
        }
        released.sort_unstable();
        let state = self.books.change_session(place, at);
        state.closed = true;
        state.booked = 0;
        Made::Changed { place, released }
    }

    fn change_capacity(&mut self, at: Position, place: Option<Place>, change: &ChangeCapacity) -> Made {
        let Some(place) = self.of_doctor(place, &change.session) else {
            return Made::Refused(Reason::UnknownSession);
        };
        let known = self.books.session(place);
        if known.state.closed {
            return Made::Refused(Reason::SessionClosed);
        }
        if self.books.highest_number(known.key) > change.capacity {
            return Made::Refused(Reason::BelowBooked);
        }
        self.books.change_session(place, at).session.capacity = change.capacity;
        Made::Changed { place, released: Vec::new() }
    }
}
