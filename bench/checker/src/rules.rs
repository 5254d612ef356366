//! The rules of booking, written down a second time: plain maps, one record after the other.
//!
//! [`Rules::expect`] says what a record should be answered. [`Rules::follow`] then carries out what it *was* answered, so
//! that one wrong decision is told once and does not make all later ones look wrong.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use orderly_domain::command::Kind;
use orderly_domain::envelope::day_number;
use orderly_domain::port::store::{AppointmentStatus, DecisionRow};
use orderly_domain::{
    Book, Cancel, ChangeCapacity, Command, Outcome, Partition, PatientId, Position, Reason, Session, SessionId,
    SessionRef, Timestamp, ticket,
};

/// A booking, as the decisions tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Booking {
    pub(crate) ticket: ticket::Id,
    pub(crate) patient_id: PatientId,
    pub(crate) number: u32,
    pub(crate) status: AppointmentStatus,
}

/// A session, as the decisions tell it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clinic {
    /// `None` when the record that opened it is no longer in the log.
    pub(crate) session: Option<Session>,
    pub(crate) closed: bool,
    /// By the place of the booking's record.
    pub(crate) bookings: BTreeMap<Position, Booking>,
    /// Numbers that are held.
    taken: BTreeSet<u32>,
    /// Numbers up to the capacity that are not.
    free: BTreeSet<u32>,
}

impl Clinic {
    pub(crate) fn is_taken(&self, number: u32) -> bool {
        self.taken.contains(&number)
    }

    fn resize(&mut self, capacity: u32) {
        self.free = (1..=capacity).filter(|number| !self.taken.contains(number)).collect();
        if let Some(session) = &mut self.session {
            session.capacity = capacity;
        }
    }

    fn give_back(&mut self, number: u32) {
        self.taken.remove(&number);
        if self.session.as_ref().is_some_and(|session| number <= session.capacity) {
            self.free.insert(number);
        }
    }

    fn scope(&self) -> Option<String> {
        let session = self.session.as_ref()?;
        session.exclusivity.scope(&session.reference())
    }
}

/// All sessions and who holds what in them.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(crate) clinics: BTreeMap<SessionId, Clinic>,
    /// Every ticket that ever booked.
    tickets: BTreeMap<ticket::Id, (SessionId, Position)>,
    /// Where the bookings lie that a patient holds, by scope and patient.
    held: BTreeMap<(String, PatientId), Vec<Partition>>,
    /// Where a patient's bookings lie, whatever became of them, by scope and patient.
    ever_held: BTreeMap<(String, PatientId), BTreeSet<Partition>>,
    /// Sessions of earlier days were forgotten.
    kept_since: Option<Date>,
}

/// From the third day after the session's day on (UTC), no time zone on earth has that day any more.
fn is_long_past(day: Date, logged_at: Timestamp) -> bool {
    let today = logged_at.as_micros().div_euclid(24 * 3600 * 1_000_000);
    today > i64::from(day_number(day)) + 2
}

impl Rules {
    /// What this command should be answered, given all that was answered before. Retries of a ticket within a partition
    /// are the judge's business.
    pub(crate) fn expect(&self, command: &Command, logged_at: Timestamp) -> Outcome {
        let answer = match command {
            Command::Book(book) => self.book(book, logged_at, |_| true),
            Command::Cancel(cancel) => self.cancel(cancel, logged_at),
            Command::OpenSession(session) => self.open(session, logged_at),
            Command::CloseSession(close) => self.close(&close.session, logged_at),
            Command::ChangeCapacity(change) => self.change_capacity(change, logged_at),
        };
        answer.unwrap_or_else(Outcome::Rejected)
    }

    /// The number that the ticket's booking of this session was given, whatever became of it.
    pub(crate) fn number_of(&self, book: &Book) -> Option<u32> {
        let (session_id, position) = self.tickets.get(&book.ticket)?;
        let booking = self.clinics.get(session_id)?.bookings.get(position)?;
        (*session_id == book.session.session_id).then_some(booking.number)
    }

    /// What a booking should be answered when nothing is known yet of what lies in other partitions than its own.
    pub(crate) fn expect_alone(&self, book: &Book, partition: Partition, logged_at: Timestamp) -> Outcome {
        let answer = self.book(book, logged_at, |other| other == partition);
        answer.unwrap_or_else(Outcome::Rejected)
    }

    /// Whether something in another partition can have stood in the way of a booking.
    pub(crate) fn has_rival(&self, book: &Book, partition: Partition) -> bool {
        let scope = self.clinics.get(&book.session.session_id).and_then(Clinic::scope);
        let held = scope.and_then(|scope| self.ever_held.get(&(scope, book.patient_id.clone())));
        held.is_some_and(|partitions| partitions.iter().any(|other| *other != partition))
            || self.tickets.get(&book.ticket).is_some_and(|(_, position)| position.partition != partition)
    }

    fn clinic(&self, named: &SessionRef) -> Result<(&Clinic, &Session), Reason> {
        let clinic = self.clinics.get(&named.session_id).ok_or(Reason::UnknownSession)?;
        let session = clinic.session.as_ref().filter(|session| session.reference() == *named);
        session.map(|session| (clinic, session)).ok_or(Reason::UnknownSession)
    }

    /// `counts` says of which partitions the bookings are known.
    fn book(&self, book: &Book, logged_at: Timestamp, counts: impl Fn(Partition) -> bool) -> Result<Outcome, Reason> {
        if is_long_past(book.session.day, logged_at) {
            return Err(Reason::Expired);
        }
        let (clinic, session) = self.clinic(&book.session)?;
        let earlier = self.tickets.get(&book.ticket).filter(|(_, position)| counts(position.partition));
        let earlier = earlier.map(|(session_id, position)| (&self.clinics[session_id], position));
        if let Some((_, position)) = earlier
            && let Some(booking) = clinic.bookings.get(position)
            && booking.patient_id == book.patient_id
        {
            return Ok(Outcome::Repeat { first: position.offset });
        }
        if clinic.closed {
            return Err(Reason::SessionClosed);
        }
        if logged_at < session.release_at {
            return Err(Reason::NotReleased);
        }
        if logged_at >= session.ends_at {
            return Err(Reason::Expired);
        }
        let number = *clinic.free.first().ok_or(Reason::SoldOut)?;
        // A ledger that keeps departments' days apart sees a booking of the same one first; the store sees all, last.
        let day = |session: &Session| (session.department.clone(), session.day);
        if earlier.is_some_and(|(other, _)| other.session.as_ref().map(day) == Some(day(session))) {
            return Err(Reason::Duplicate);
        }
        if let Some(scope) = clinic.scope()
            && let Some(holders) = self.held.get(&(scope, book.patient_id.clone()))
            && holders.iter().any(|partition| counts(*partition))
        {
            return Err(Reason::AlreadyBooked);
        }
        if earlier.is_some() {
            return Err(Reason::Duplicate);
        }
        Ok(Outcome::Booked { number })
    }

    fn cancel(&self, cancel: &Cancel, logged_at: Timestamp) -> Result<Outcome, Reason> {
        if is_long_past(cancel.session.day, logged_at) {
            return Err(Reason::Expired);
        }
        let (clinic, session) = self.clinic(&cancel.session)?;
        let (session_id, position) = self.tickets.get(&cancel.ticket).ok_or(Reason::NotBooked)?;
        let booking = clinic.bookings.get(position).filter(|booking| booking.patient_id == cancel.patient_id);
        let Some(booking) = booking.filter(|_| *session_id == session.session_id) else {
            return Err(Reason::NotBooked);
        };
        if booking.status == AppointmentStatus::Booked && logged_at >= session.ends_at {
            return Err(Reason::Expired);
        }
        Ok(Outcome::Cancelled { number: booking.number })
    }

    fn open(&self, opened: &Session, logged_at: Timestamp) -> Result<Outcome, Reason> {
        if logged_at >= opened.ends_at || is_long_past(opened.day, logged_at) {
            return Err(Reason::Expired);
        }
        let Some(clinic) = self.clinics.get(&opened.session_id) else { return Ok(Outcome::Applied) };
        if clinic.session.as_ref().is_some_and(|session| session.reference() != opened.reference()) {
            return Err(Reason::SessionConflict);
        }
        fits(clinic, opened.capacity)
    }

    fn close(&self, named: &SessionRef, logged_at: Timestamp) -> Result<Outcome, Reason> {
        if is_long_past(named.day, logged_at) {
            return Err(Reason::Expired);
        }
        self.clinic(named).map(|_| Outcome::Applied)
    }

    fn change_capacity(&self, change: &ChangeCapacity, logged_at: Timestamp) -> Result<Outcome, Reason> {
        if is_long_past(change.session.day, logged_at) {
            return Err(Reason::Expired);
        }
        let (clinic, _) = self.clinic(&change.session)?;
        if clinic.closed { Err(Reason::SessionClosed) } else { fits(clinic, change.capacity) }
    }

    /// Carries out a stored decision. `command` is what the record asks, when it is still in the log.
    pub(crate) fn follow(&mut self, row: &DecisionRow, command: Option<&Command>) {
        let decision = &row.decision;
        let Some(session_id) = decision.session_id.as_ref().or(command.map(Command::session_id)) else { return };
        let patient_id = row.patient_id.as_ref().or(command.and_then(Command::patient_id));
        match (decision.kind, decision.outcome, decision.ticket, patient_id) {
            (Kind::Book, Outcome::Booked { number }, Some(ticket), Some(patient_id)) if decision.first.is_none() => {
                let booking =
                    Booking { ticket, patient_id: patient_id.clone(), number, status: AppointmentStatus::Booked };
                self.take(session_id, decision.position, booking);
            }
            (Kind::Cancel, Outcome::Cancelled { .. }, Some(ticket), _) => {
                if let Some((session_id, position)) = self.tickets.get(&ticket).cloned() {
                    self.release(&session_id, position, AppointmentStatus::Cancelled);
                }
            }
            (Kind::OpenSession, Outcome::Applied, ..) => {
                let clinic = self.clinics.entry(session_id.clone()).or_default();
                clinic.closed = false;
                if let Some(Command::OpenSession(opened)) = command {
                    let rule = clinic.session.as_ref().map_or(opened.exclusivity, |session| session.exclusivity);
                    clinic.session = Some(Session { exclusivity: rule, ..(**opened).clone() });
                    clinic.resize(opened.capacity);
                }
            }
            (Kind::CloseSession, Outcome::Applied, ..) => {
                let clinic = self.clinics.entry(session_id.clone()).or_default();
                clinic.closed = true;
                for position in clinic.bookings.keys().copied().collect::<Vec<_>>() {
                    self.release(session_id, position, AppointmentStatus::SessionClosed);
                }
            }
            (Kind::ChangeCapacity, Outcome::Applied, ..) => {
                if let Some(Command::ChangeCapacity(change)) = command {
                    self.clinics.entry(session_id.clone()).or_default().resize(change.capacity);
                }
            }
            _ => {}
        }
    }

    /// The day since which all sessions are known, when older ones were forgotten.
    pub(crate) const fn kept_since(&self) -> Option<Date> {
        self.kept_since
    }

    /// Forgets sessions whose day is so long past that whatever is asked of them has expired, with all their bookings.
    pub(crate) fn forget(&mut self, now: Timestamp) {
        let day = |clinic: &Clinic| clinic.session.as_ref().map(|session| session.day);
        let old = self.clinics.values().filter_map(day).filter(|day| is_long_past(*day, now)).max();
        let Some(kept_since) = old.and_then(|old| old.tomorrow().ok()) else { return };
        self.kept_since = self.kept_since.max(Some(kept_since));
        let gone = self.clinics.extract_if(.., |_, clinic| day(clinic).is_some_and(|day| day < kept_since));
        for (session_id, clinic) in gone {
            let scope = clinic.scope();
            for Booking { ticket, patient_id, .. } in clinic.bookings.into_values() {
                if self.tickets.get(&ticket).is_some_and(|(booked, _)| *booked == session_id) {
                    self.tickets.remove(&ticket);
                }
                if let Some(scope) = &scope {
                    let holder = (scope.clone(), patient_id);
                    self.held.remove(&holder);
                    self.ever_held.remove(&holder);
                }
            }
        }
    }

    fn take(&mut self, session_id: &SessionId, position: Position, booking: Booking) {
        let clinic = self.clinics.entry(session_id.clone()).or_default();
        clinic.taken.insert(booking.number);
        clinic.free.remove(&booking.number);
        if let Some(scope) = clinic.scope() {
            let holder = (scope, booking.patient_id.clone());
            self.ever_held.entry(holder.clone()).or_default().insert(position.partition);
            self.held.entry(holder).or_default().push(position.partition);
        }
        self.tickets.insert(booking.ticket, (session_id.clone(), position));
        clinic.bookings.insert(position, booking);
    }

    fn release(&mut self, session_id: &SessionId, position: Position, status: AppointmentStatus) {
        let Some(clinic) = self.clinics.get_mut(session_id) else { return };
        let scope = clinic.scope();
        let Some(booking) = clinic.bookings.get_mut(&position) else { return };
        if booking.status != AppointmentStatus::Booked {
            return;
        }
        booking.status = status;
        let (number, patient_id) = (booking.number, booking.patient_id.clone());
        clinic.give_back(number);
        if let Some(scope) = scope
            && let Some(holders) = self.held.get_mut(&(scope.clone(), patient_id.clone()))
        {
            if let Some(index) = holders.iter().position(|partition| *partition == position.partition) {
                holders.swap_remove(index);
            }
            if holders.is_empty() {
                self.held.remove(&(scope, patient_id));
            }
        }
    }
}

fn fits(clinic: &Clinic, capacity: u32) -> Result<Outcome, Reason> {
    let highest = clinic.taken.last().copied().unwrap_or(0);
    if highest > capacity { Err(Reason::BelowBooked) } else { Ok(Outcome::Applied) }
}
