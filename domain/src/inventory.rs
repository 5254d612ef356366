//! The rules of admission: what a department's day has left, who holds what, and what a command does to it.
//!
//! This is the reference for every ledger. All of it is a function of the state and the record; the wall clock is not
//! asked. A booking is answered by the first rule that applies:
//!
//! 1. the session's day is long past: `expired`
//! 2. no such session of that doctor: `unknown_session`
//! 3. the ticket booked this session before: the first answer again (asked twice about one record, the very same answer)
//! 4. the session is closed: `session_closed`
//! 5. not released yet: `not_released`
//! 6. over: `expired`
//! 7. no number free: `sold_out`
//! 8. the ticket booked another session of the department's day: `duplicate`
//! 9. the patient holds an appointment that excludes it: `already_booked`
//! 10. the lowest free number is taken: `booked`

use std::collections::{HashMap, HashSet};

use crate::clock::Timestamp;
use crate::command::{Book, Cancel, ChangeCapacity, CloseSession, Command, SessionRef};
use crate::decision::{Outcome, Reason};
use crate::envelope::day_number;
use crate::id::{PatientId, SessionId};
use crate::planted::{self, Bug};
use crate::position::Offset;
use crate::session::Session;
use crate::ticket;

/// Days after a session's local day until it is past in every time zone. From then on its records are answered
/// `expired` without a look at it, so that ledgers may forget it.
pub const PAST_AFTER_DAYS: i64 = 2;

/// Whether a session's day is past for a record that the log took at `logged_at`.
#[must_use]
pub fn is_past(day: jiff::civil::Date, logged_at: Timestamp) -> bool {
    i64::from(day_number(day)) + PAST_AFTER_DAYS < logged_at.utc_day()
}

/// The numbers of a session that are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Bit `n - 1` stands for number `n`.
    words: Vec<u64>,
    taken: u32,
    /// No word before this one has a free number.
    first_free_word: usize,
}

impl Numbers {
    /// How many are taken.
    #[must_use]
    pub const fn taken(&self) -> u32 {
        self.taken
    }

    /// The highest that is taken; 0 when none is.
    #[must_use]
    pub fn highest(&self) -> u32 {
        let top = self.words.iter().enumerate().rev().find(|(_, word)| **word != 0);
        top.map_or(0, |(index, word)| index_to_u32(index) * 64 + 64 - word.leading_zeros())
    }

    /// Takes the lowest free number up to `capacity`.
    pub fn take_lowest(&mut self, capacity: u32) -> Option<u32> {
        if self.taken >= capacity {
            return None;
        }
        if planted::is(Bug::NotTheLowest) && self.highest() < capacity {
            let number = self.highest() + 1;
            self.take(number);
            return Some(number);
        }
        let mut index = self.first_free_word;
        while self.words.get(index).is_some_and(|word| *word == u64::MAX) {
            index += 1;
        }
        self.first_free_word = index;
        let bit = self.words.get(index).map_or(0, |word| word.trailing_ones());
        let number = index_to_u32(index) * 64 + bit + 1;
        if number > capacity {
            return None;
        }
        self.take(number);
        Some(number)
    }

    /// Takes that number; false when it was taken.
    ///
    /// # Panics
    /// When `number` is 0.
    pub fn take(&mut self, number: u32) -> bool {
        let (index, bit) = Self::place(number);
        if index >= self.words.len() {
            self.words.resize(index + 1, 0);
        }
        let free = self.words[index] & bit == 0;
        self.words[index] |= bit;
        self.taken += u32::from(free);
        free
    }

    /// Gives that number back; false when it was free.
    ///
    /// # Panics
    /// When `number` is 0.
    pub fn free(&mut self, number: u32) -> bool {
        let (index, bit) = Self::place(number);
        let Some(word) = self.words.get_mut(index) else { return false };
        let taken = *word & bit != 0;
        *word &= !bit;
        self.taken -= u32::from(taken);
        self.first_free_word = self.first_free_word.min(index);
        taken
    }

    fn place(number: u32) -> (usize, u64) {
        assert!(number > 0, "numbers start at 1");
        ((number as usize - 1) / 64, 1 << ((number - 1) % 64))
    }
}

fn index_to_u32(index: usize) -> u32 {
    u32::try_from(index).expect("a capacity fits in 32 bits")
}

/// A booking as a ledger remembers it, also after it was cancelled: its ticket must never book again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The booking's ticket.
    pub ticket: ticket::Id,
    /// Who booked.
    pub patient_id: PatientId,
    /// The number it took.
    pub number: u32,
    /// Where the booking lies in the doctor's partition.
    pub booked_at: Offset,
    /// Whether it still holds the number.
    pub active: bool,
}

/// One session's inventory: what a store tells a ledger that starts anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The session.
    pub session: Session,
    /// Whether it is closed.
    pub closed: bool,
    /// All bookings it ever had.
    pub holdings: Vec<Holding>,
}

/// A ledger's answer to one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// What came of it.
    pub outcome: Outcome,
    /// Set after a booking when the session has no number left: until this moment (its end) further bookings can be
    /// refused without asking, unless a command frees a number first.
    pub full_until: Option<Timestamp>,
}

impl From<Outcome> for Admission {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, full_until: None }
    }
}

impl From<Reason> for Admission {
    fn from(reason: Reason) -> Self {
        Outcome::Rejected(reason).into()
    }
}

#[derive(Clone, Debug)]
struct Inventory {
    session: Session,
    closed: bool,
    numbers: Numbers,
    tickets: HashSet<ticket::Id>,
}

impl Inventory {
    /// How many numbers there are to give out.
    fn places(&self) -> u32 {
        self.session.capacity + u32::from(planted::is(Bug::CapacityOffByOne))
    }

    fn full_until(&self) -> Option<Timestamp> {
        (self.numbers.taken() >= self.places()).then_some(self.session.ends_at)
    }
}

#[derive(Clone, Debug)]
struct Held {
    session_id: SessionId,
    patient_id: PatientId,
    number: u32,
    booked_at: Offset,
    active: bool,
}

/// Everything that must be decided together: the sessions of one department on one local day.
#[derive(Clone, Debug, Default)]
pub struct DepartmentDay {
    sessions: HashMap<SessionId, Inventory>,
    tickets: HashMap<ticket::Id, Held>,
    /// By scope: how many active appointments a patient holds in it. There may be two for a moment: of what was cancelled
    /// here and booked there, a restore brings back what a commit that is on its way cancels.
    exclusive: HashMap<String, HashMap<PatientId, u32>>,
}

impl DepartmentDay {
    /// Decides a command that lies at `offset` of its doctor's partition since `logged_at`, and applies it.
    pub fn apply(&mut self, command: &Command, offset: Offset, logged_at: Timestamp) -> Admission {
        if is_past(command.department_day().1, logged_at) {
            return Reason::Expired.into();
        }
        match command {
            Command::Book(book) => self.book(book, offset, logged_at),
            Command::Cancel(cancel) => self.cancel(cancel, logged_at).into(),
            Command::OpenSession(session) => self.open(session, logged_at).into(),
            Command::CloseSession(close) => self.close(close).into(),
            Command::ChangeCapacity(change) => self.change_capacity(change).into(),
        }
    }

    /// Puts a session's inventory in the place of whatever was known of it.
    pub fn restore(&mut self, snapshot: Snapshot) {
        self.forget(&snapshot.session.session_id);
        let mut inventory = Inventory {
            closed: snapshot.closed && !planted::is(Bug::RestoreReopens),
            numbers: Numbers::default(),
            tickets: HashSet::with_capacity(snapshot.holdings.len()),
            session: snapshot.session,
        };
        let scope = inventory.session.exclusivity.scope(&inventory.session.reference());
        for holding in snapshot.holdings {
            if !holding.active && planted::is(Bug::RestoreForgetsCancelled) {
                continue;
            }
            if holding.active {
                inventory.numbers.take(holding.number);
                if let Some(scope) = scope.as_ref().filter(|_| !planted::is(Bug::RestoreForgetsPatients)) {
                    self.enter(scope.clone(), &holding.patient_id);
                }
            }
            inventory.tickets.insert(holding.ticket);
            let held = Held {
                session_id: inventory.session.session_id.clone(),
                patient_id: holding.patient_id,
                number: holding.number,
                booked_at: holding.booked_at,
                active: holding.active,
            };
            self.tickets.insert(holding.ticket, held);
        }
        self.sessions.insert(inventory.session.session_id.clone(), inventory);
    }

    /// Forgets a session and all who hold numbers in it.
    pub fn forget(&mut self, session_id: &SessionId) {
        let Some(inventory) = self.sessions.remove(session_id) else { return };
        let scope = inventory.session.exclusivity.scope(&inventory.session.reference());
        for ticket in &inventory.tickets {
            if let Some(held) = self.tickets.remove(ticket)
                && held.active
                && let Some(scope) = &scope
            {
                leave(&mut self.exclusive, scope, &held.patient_id);
            }
        }
    }

    /// Takes back a booking that a store refused: the number is free and the ticket is forgotten.
    pub fn undo_booking(&mut self, session_id: &SessionId, ticket: ticket::Id) {
        if self.tickets.get(&ticket).is_some_and(|held| held.session_id == *session_id) {
            self.release(ticket);
            self.tickets.remove(&ticket);
            if let Some(inventory) = self.sessions.get_mut(session_id) {
                inventory.tickets.remove(&ticket);
            }
        }
    }

    /// Whether no session is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Every session's remaining numbers; 0 for a closed one.
    pub fn remaining(&self) -> impl Iterator<Item = (&SessionId, u32)> {
        self.sessions.iter().map(|(id, inventory)| {
            let open = if inventory.closed { 0 } else { inventory.session.capacity };
            (id, open.saturating_sub(inventory.numbers.taken()))
        })
    }

    fn session_of(&mut self, reference: &SessionRef) -> Option<&mut Inventory> {
        self.sessions.get_mut(&reference.session_id).filter(|known| known.session.doctor_id == reference.doctor_id)
    }

    fn book(&mut self, book: &Book, offset: Offset, logged_at: Timestamp) -> Admission {
        let Some(inventory) = self
            .sessions
            .get_mut(&book.session.session_id)
            .filter(|known| known.session.doctor_id == book.session.doctor_id)
        else {
            return Reason::UnknownSession.into();
        };
        let held = self.tickets.get(&book.ticket).filter(|_| !planted::is(Bug::RepeatIsNew));
        if let Some(held) =
            held.filter(|held| held.session_id == book.session.session_id && held.patient_id == book.patient_id)
        {
            return if held.booked_at == offset {
                Admission { outcome: Outcome::Booked { number: held.number }, full_until: inventory.full_until() }
            } else {
                Outcome::Repeat { first: held.booked_at }.into()
            };
        }
        if inventory.closed && !planted::is(Bug::ClosedStillBooks) {
            return Reason::SessionClosed.into();
        }
        if logged_at < inventory.session.release_at && !planted::is(Bug::ReleaseIgnored) {
            return Reason::NotReleased.into();
        }
        if logged_at >= inventory.session.ends_at && !planted::is(Bug::EndIgnored) {
            return Reason::Expired.into();
        }
        if let Some(ends_at) = inventory.full_until() {
            return Admission { outcome: Outcome::Rejected(Reason::SoldOut), full_until: Some(ends_at) };
        }
        if held.is_some() {
            return Reason::Duplicate.into();
        }
        let scope = inventory.session.exclusivity.scope(&book.session);
        if let Some(patients) = scope.as_ref().and_then(|scope| self.exclusive.get(scope))
            && patients.contains_key(&book.patient_id)
            && !planted::is(Bug::RuleIgnored)
        {
            return Reason::AlreadyBooked.into();
        }
        let number = inventory
            .numbers
            .take_lowest(inventory.places())
            .expect("taken < capacity, and no number above it is taken");
        inventory.tickets.insert(book.ticket);
        let held = Held {
            session_id: book.session.session_id.clone(),
            patient_id: book.patient_id.clone(),
            number,
            booked_at: offset,
            active: true,
        };
        self.tickets.insert(book.ticket, held);
        let full_until = inventory.full_until();
        if let Some(scope) = scope {
            self.enter(scope, &book.patient_id);
        }
        Admission { outcome: Outcome::Booked { number }, full_until }
    }

    fn cancel(&mut self, cancel: &Cancel, logged_at: Timestamp) -> Outcome {
        let Some(inventory) = self.session_of(&cancel.session) else {
            return Outcome::Rejected(Reason::UnknownSession);
        };
        let ends_at = inventory.session.ends_at;
        let held = self.tickets.get(&cancel.ticket);
        let is_theirs = |held: &&Held| held.patient_id == cancel.patient_id || planted::is(Bug::CancelledByAnyone);
        match held.filter(|held| held.session_id == cancel.session.session_id).filter(is_theirs) {
            None => Outcome::Rejected(Reason::NotBooked),
            Some(held) if !held.active && !planted::is(Bug::FreedTwice) => Outcome::Cancelled { number: held.number },
            Some(_) if logged_at >= ends_at => Outcome::Rejected(Reason::Expired),
            Some(held) => {
                let number = held.number;
                self.release(cancel.ticket);
                Outcome::Cancelled { number }
            }
        }
    }

    fn open(&mut self, session: &Session, logged_at: Timestamp) -> Outcome {
        if logged_at >= session.ends_at {
            return Outcome::Rejected(Reason::Expired);
        }
        let Some(known) = self.sessions.get_mut(&session.session_id) else {
            let inventory = Inventory {
                session: session.clone(),
                closed: false,
                numbers: Numbers::default(),
                tickets: HashSet::new(),
            };
            self.sessions.insert(session.session_id.clone(), inventory);
            return Outcome::Applied;
        };
        if known.session.reference() != session.reference() {
            return Outcome::Rejected(Reason::SessionConflict);
        }
        if known.numbers.highest() > session.capacity && !planted::is(Bug::ShrunkBelowBooked) {
            return Outcome::Rejected(Reason::BelowBooked);
        }
        // The rule under which a session was opened first stays with it: appointments were made under it.
        let first = if planted::is(Bug::RuleChangesLater) { session.exclusivity } else { known.session.exclusivity };
        known.session = Session { exclusivity: first, ..session.clone() };
        known.closed = known.closed && planted::is(Bug::ReopenedStaysClosed);
        Outcome::Applied
    }

    fn close(&mut self, close: &CloseSession) -> Outcome {
        let Some(inventory) = self.session_of(&close.session) else {
            return Outcome::Rejected(Reason::UnknownSession);
        };
        inventory.closed = true;
        let tickets: Vec<_> = inventory.tickets.iter().copied().collect();
        if planted::is(Bug::CloseKeepsBookings) {
            return Outcome::Applied;
        }
        for ticket in tickets {
            self.release(ticket);
        }
        Outcome::Applied
    }

    fn change_capacity(&mut self, change: &ChangeCapacity) -> Outcome {
        match self.session_of(&change.session) {
            None => Outcome::Rejected(Reason::UnknownSession),
            Some(inventory) if inventory.closed => Outcome::Rejected(Reason::SessionClosed),
            Some(inventory)
                if inventory.numbers.highest() > change.capacity && !planted::is(Bug::ShrunkBelowBooked) =>
            {
                Outcome::Rejected(Reason::BelowBooked)
            }
            Some(_) if planted::is(Bug::CapacityNotRaised) => Outcome::Applied,
            Some(inventory) => {
                inventory.session.capacity = change.capacity;
                Outcome::Applied
            }
        }
    }

    fn enter(&mut self, scope: String, patient: &PatientId) {
        *self.exclusive.entry(scope).or_default().entry(patient.clone()).or_default() += 1;
    }

    /// Gives a ticket's number back, if it holds one.
    fn release(&mut self, ticket: ticket::Id) {
        let active = |held: &&mut Held| held.active || planted::is(Bug::FreedTwice);
        let Some(held) = self.tickets.get_mut(&ticket).filter(active) else { return };
        held.active = false;
        if let Some(inventory) = self.sessions.get_mut(&held.session_id) {
            if !planted::is(Bug::CancelKeepsNumber) {
                inventory.numbers.free(held.number);
            }
            if let Some(scope) = inventory.session.exclusivity.scope(&inventory.session.reference())
                && !planted::is(Bug::CancelKeepsPatient)
            {
                leave(&mut self.exclusive, &scope, &held.patient_id);
            }
        }
    }
}

fn leave(exclusive: &mut HashMap<String, HashMap<PatientId, u32>>, scope: &str, patient: &PatientId) {
    let Some(patients) = exclusive.get_mut(scope) else { return };
    let Some(held) = patients.get_mut(patient) else { return };
    *held -= 1;
    if *held == 0 {
        patients.remove(patient);
    }
    if patients.is_empty() {
        exclusive.remove(scope);
    }
}

#[cfg(test)]
mod tests;
