//! The sessions and appointments that a commit's decisions touch: as they were read, and then as its decisions leave them.

use std::collections::BTreeMap;

use jiff::civil::Date;
use orderly_domain::port::store::{AppointmentStatus, SessionState};
use orderly_domain::{PatientId, Position, SessionId, ticket};
use rustc_hash::{FxHashMap, FxHashSet};

use super::rows::Known;

/// Where a session lies in [`Books`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(usize);

/// What has to be written of something that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing.
    Kept,
    /// It changed.
    Changed,
    /// It is new.
    Made,
}

/// An appointment.
#[derive(Clone, Debug)]
pub(super) struct Holding {
    pub(super) position: Position,
    pub(super) session_key: i64,
    /// The day of its session.
    pub(super) day: Date,
    pub(super) number: u32,
    pub(super) patient_id: PatientId,
    pub(super) ticket: ticket::Id,
    pub(super) scope: Option<String>,
    pub(super) status: AppointmentStatus,
    pub(super) changed_at: Position,
    pub(super) cause: Option<String>,
    pub(super) fate: Fate,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Books {
    places: FxHashMap<SessionId, Place>,
    sessions: Vec<(Known, Fate)>,
    holdings: Vec<Holding>,
    by_ticket: FxHashMap<ticket::Id, usize>,
    /// Tickets that made appointments which were not read.
    spent: FxHashSet<ticket::Id>,
    by_scope: FxHashMap<(String, PatientId), usize>,
    by_number: BTreeMap<(i64, u32), usize>,
}

impl Books {
    /// Adds a session as it was read.
    pub(super) fn keep_session(&mut self, known: Known) {
        self.add_session(known, Fate::Kept);
    }

    /// Adds a session that is new.
    pub(super) fn open_session(&mut self, known: Known) -> Place {
        self.add_session(known, Fate::Made)
    }

    fn add_session(&mut self, known: Known, fate: Fate) -> Place {
        let place = Place(self.sessions.len());
        self.places.insert(known.state.session.session_id.clone(), place);
        self.sessions.push((known, fate));
        place
    }

    /// The days of the sessions.
    pub(super) fn days(&self) -> impl Iterator<Item = Date> + '_ {
        self.sessions.iter().map(|(known, _)| known.state.session.day)
    }

    pub(super) fn find(&self, id: &SessionId) -> Option<Place> {
        self.places.get(id).copied()
    }

    pub(super) fn session(&self, place: Place) -> &Known {
        &self.sessions[place.0].0
    }

    /// The state, to be changed by the record at `position`.
    pub(super) fn change_session(&mut self, place: Place, position: Position) -> &mut SessionState {
        let (known, fate) = &mut self.sessions[place.0];
        if *fate == Fate::Kept {
            *fate = Fate::Changed;
        }
        known.state.changed_at = position;
        &mut known.state
    }

    /// Sessions that have to be written, ascending by key.
    pub(super) fn changed_sessions(&self) -> Vec<&Known> {
        let changed = self.sessions.iter().filter(|(_, fate)| *fate != Fate::Kept);
        let mut changed: Vec<_> = changed.map(|(known, _)| known).collect();
        changed.sort_unstable_by_key(|known| known.key);
        changed
    }

    /// Adds an appointment as it was read; the same one may be read twice.
    pub(super) fn keep_holding(&mut self, holding: Holding) {
        if !self.by_ticket.contains_key(&holding.ticket) {
            self.add_holding(holding);
        }
    }

    /// Adds an appointment.
    pub(super) fn add_holding(&mut self, holding: Holding) {
        let index = self.holdings.len();
        self.by_ticket.insert(holding.ticket, index);
        if holding.status == AppointmentStatus::Booked {
            self.by_number.insert((holding.session_key, holding.number), index);
            if let Some(scope) = &holding.scope {
                self.by_scope.insert((scope.clone(), holding.patient_id.clone()), index);
            }
        }
        self.holdings.push(holding);
    }

    /// Remembers that a ticket made an appointment, which is of none of the sessions here.
    pub(super) fn keep_spent(&mut self, ticket: ticket::Id) {
        self.spent.insert(ticket);
    }

    /// Whether a ticket made an appointment.
    pub(super) fn has_booked(&self, ticket: &ticket::Id) -> bool {
        self.by_ticket.contains_key(ticket) || self.spent.contains(ticket)
    }

    /// The appointment that a ticket made, if it was read.
    pub(super) fn of_ticket(&self, ticket: &ticket::Id) -> Option<&Holding> {
        self.by_ticket.get(ticket).map(|index| &self.holdings[*index])
    }

    /// The patient's active appointment in that scope.
    pub(super) fn held_in(&self, scope: &str, patient: &PatientId) -> Option<&Holding> {
        self.by_scope.get(&(scope.to_owned(), patient.clone())).map(|index| &self.holdings[*index])
    }

    /// Whether a number of a session is held.
    pub(super) fn is_held(&self, session_key: i64, number: u32) -> bool {
        self.by_number.contains_key(&(session_key, number))
    }

    /// The highest number of a session that is held; 0 when none is.
    pub(super) fn highest_number(&self, session_key: i64) -> u32 {
        let held = self.by_number.range((session_key, 0)..=(session_key, u32::MAX));
        held.last().map_or(0, |((_, number), _)| *number)
    }

    /// The tickets of a session's active appointments.
    pub(super) fn active(&self, session_key: i64) -> Vec<ticket::Id> {
        let held = self.by_number.range((session_key, 0)..=(session_key, u32::MAX));
        held.map(|(_, index)| self.holdings[*index].ticket).collect()
    }

    /// Ends an active appointment and tells where it was booked.
    pub(super) fn end(
        &mut self,
        ticket: &ticket::Id,
        at: Position,
        status: AppointmentStatus,
        cause: Option<&str>,
    ) -> Option<Position> {
        let holding = &mut self.holdings[*self.by_ticket.get(ticket)?];
        holding.status = status;
        holding.changed_at = at;
        holding.cause = cause.map(str::to_owned);
        if holding.fate == Fate::Kept {
            holding.fate = Fate::Changed;
        }
        self.by_number.remove(&(holding.session_key, holding.number));
        if let Some(scope) = &holding.scope {
            self.by_scope.remove(&(scope.clone(), holding.patient_id.clone()));
        }
        Some(holding.position)
    }

    /// Appointments of that fate, in the order in which every node writes them, so that two that meet wait for each other in
    /// turn and not in a circle.
    pub(super) fn holdings(&self, fate: Fate) -> Vec<&Holding> {
        let mut chosen: Vec<_> = self.holdings.iter().filter(|holding| holding.fate == fate).collect();
        chosen.sort_unstable_by_key(|holding| (&holding.scope, &holding.patient_id, holding.position));
        chosen
    }
}
