//! Goes through the log and its decisions once, and judges what clients were told by them.

use std::collections::BTreeMap;
use std::time::Duration;

use orderly_domain::command::Kind;
use orderly_domain::port::log::Extent;
use orderly_domain::port::store::{DecisionRow, Progress};
use orderly_domain::{Command, Offset, Outcome, Partition, PatientId, Position, SessionId, Timestamp, ticket};

use super::{Claim, Clients, Telling};
use crate::Error;
use crate::history::{Moment, asked};
use crate::report::{Invariant, Report};

/// How far the log's clock and a client's may be apart.
const CLOCKS_APART: Duration = Duration::from_secs(10);

/// Who asked for what, as log or store have it.
struct Request<'a> {
    kind: Kind,
    ticket: Option<ticket::Id>,
    /// `None` where the store does not say.
    patient_id: Option<&'a PatientId>,
    /// `None` where the store does not say.
    session_id: Option<&'a SessionId>,
}

impl<'a> Request<'a> {
    fn of_command(command: &'a Command) -> Self {
        Self {
            kind: command.kind(),
            ticket: command.ticket(),
            patient_id: command.patient_id(),
            session_id: Some(command.session_id()),
        }
    }

    fn of_row(row: &'a DecisionRow) -> Self {
        Self {
            kind: row.decision.kind,
            ticket: row.decision.ticket,
            patient_id: row.patient_id.as_ref(),
            session_id: row.decision.session_id.as_ref(),
        }
    }

    /// What differs from a claim, if anything does.
    fn difference(&self, claim: &Claim) -> Option<&'static str> {
        if self.kind != claim.kind {
            return Some("is of another kind");
        }
        if self.ticket != Some(claim.ticket) {
            return Some("has another ticket");
        }
        if self.patient_id.is_some_and(|patient_id| *patient_id != claim.patient_id) {
            return Some("is another patient's");
        }
        let of_another = self.session_id.is_some_and(|session_id| *session_id != claim.session_id);
        of_another.then_some("is for another session")
    }
}

/// What was found where a client says that its request lies.
#[derive(Clone, Copy, Debug)]
enum Found {
    /// Something else, which was told.
    Other,
    /// The request, without a decision.
    Undecided,
    /// The request, decided.
    Decided(Verdict),
}

/// What a ticket was decided to be.
#[derive(Clone, Copy, Debug)]
struct Verdict {
    outcome: Outcome,
    /// Where the ticket was decided first: the appointment, if it has one, is that record's.
    first: Position,
}

/// How a booking ended.
#[derive(Clone, Copy, Debug)]
struct Release {
    logged_at: Timestamp,
    /// Its session was closed; else the patient gave it back.
    closed: bool,
}

/// What is known of log and decisions up to where the walk is.
pub(super) struct Comparison<'a> {
    clients: &'a Clients,
    partitions: u16,
    report: &'a mut Report,
    /// By place, and by the claim's index there.
    found: BTreeMap<(Position, usize), Found>,
    /// The first place of each partition that log or store still have.
    begins: BTreeMap<Partition, Offset>,
    /// Every booking that got a number, and how it ended, if it has.
    bookings: BTreeMap<Position, Option<Release>>,
    /// Where the booking of a ticket lies.
    tickets: BTreeMap<ticket::Id, Position>,
    /// Where the bookings of a session lie.
    sessions: BTreeMap<SessionId, Vec<Position>>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(clients: &'a Clients, partitions: u16, report: &'a mut Report) -> Self {
        Self {
            clients,
            partitions,
            report,
            found: BTreeMap::new(),
            begins: BTreeMap::new(),
            bookings: BTreeMap::new(),
            tickets: BTreeMap::new(),
            sessions: BTreeMap::new(),
        }
    }

    /// Takes in what lies at the next place.
    ///
    /// # Errors
    /// When it is a record of a newer version.
    pub(super) fn see(&mut self, moment: &Moment) -> Result<(), Error> {
        let Moment { position, record, decision, .. } = moment;
        self.begins.entry(position.partition).or_insert(position.offset);
        let command = record.as_ref().map(|record| asked(record, self.partitions)).transpose()?.flatten();
        if let Some(row) = decision {
            self.follow(row, command.as_ref());
        }
        let request = match (&command, record, decision) {
            (Some(command), ..) => Some(Request::of_command(command)),
            // The log has dropped it; the store has not.
            (None, None, Some(row)) => Some(Request::of_row(row)),
            _ => None,
        };
        self.find(*position, request.as_ref(), decision.as_ref());
        Ok(())
    }

    /// Compares a place with what clients say of it.
    fn find(&mut self, position: Position, request: Option<&Request<'_>>, decision: Option<&DecisionRow>) {
        let Some(claims) = self.clients.claims.get(&position) else { return };
        for (index, claim) in claims.iter().enumerate() {
            let difference = request.map_or(Some("cannot be read"), |request| request.difference(claim));
            let found = match (difference, decision) {
                (Some(difference), _) => {
                    let Claim { kind, session_id, .. } = claim;
                    self.violated(format!(
                        "{position}: a client was told that its {} for {session_id} lies there; what lies there {difference}",
                        kind.as_str()
                    ));
                    Found::Other
                }
                (None, None) => Found::Undecided,
                (None, Some(row)) => Found::Decided(verdict(row)),
            };
            self.found.insert((position, index), found);
        }
    }

    /// Keeps the books of which booking ended when.
    fn follow(&mut self, row: &DecisionRow, command: Option<&Command>) {
        let decision = &row.decision;
        let session_id = decision.session_id.as_ref().or(command.map(Command::session_id));
        let release = |closed| Release { logged_at: decision.logged_at, closed };
        match (decision.kind, decision.outcome, decision.ticket, session_id) {
            (Kind::Book, Outcome::Booked { .. }, Some(ticket), Some(session_id)) if decision.first.is_none() => {
                self.bookings.insert(decision.position, None);
                self.tickets.insert(ticket, decision.position);
                self.sessions.entry(session_id.clone()).or_default().push(decision.position);
            }
            (Kind::Cancel, Outcome::Cancelled { .. }, Some(ticket), _) => {
                let booking = self.tickets.get(&ticket).and_then(|place| self.bookings.get_mut(place));
                // Whatever ended it first did.
                booking.into_iter().for_each(|end| *end = end.or(Some(release(false))));
            }
            (Kind::CloseSession, Outcome::Applied, _, Some(session_id)) => {
                for place in self.sessions.get(session_id).into_iter().flatten() {
                    self.bookings.entry(*place).and_modify(|end| *end = end.or(Some(release(true))));
                }
            }
            _ => {}
        }
    }

    /// Judges everything that clients were told, once all is seen that lies below this progress. The store may have forgotten
    /// its oldest decisions; in an idle system nothing may lie beyond.
    pub(super) fn end(mut self, progress: &[Progress], extents: &[Extent], forgets: bool, idle: bool) {
        let clients = self.clients;
        let ends_before = |place: Position| {
            extents
                .iter()
                .find(|extent| extent.partition == place.partition)
                .is_none_or(|extent| extent.end <= place.offset)
        };
        self.report.looked_at(Invariant::ClientsAgree, clients.calls);
        clients.unplaced.iter().for_each(|row| self.violated(row.clone()));
        let ends: BTreeMap<_, _> = progress.iter().map(|progress| (progress.partition, progress.next_offset)).collect();
        let cancelled = self.told_as_cancelled();
        for (position, claims) in &clients.claims {
            let forgotten =
                forgets && self.begins.get(&position.partition).is_some_and(|first| position.offset < *first);
            let decided = ends.get(&position.partition).is_some_and(|end| position.offset < *end);
            for (index, claim) in claims.iter().enumerate() {
                match self.found.get(&(*position, index)).copied() {
                    Some(Found::Other) => {}
                    Some(Found::Undecided) => {
                        self.violated(format!("{position}: a request was taken, and never decided"));
                    }
                    Some(Found::Decided(verdict)) => {
                        self.judge(*position, claim, verdict, cancelled.get(&verdict.first));
                    }
                    None if forgotten => {}
                    None if ends_before(*position) => {
                        self.violated(format!("{position}: a request was taken, and the log ends before it"));
                    }
                    None => self.missing(*position, claim, decided, idle),
                }
            }
        }
    }

    /// Judges what was told of a request that is decided. `cancelled_at` is when a client had been told first that the booking is
    /// cancelled.
    fn judge(&mut self, position: Position, claim: &Claim, verdict: Verdict, cancelled_at: Option<&Timestamp>) {
        for telling in &claim.told {
            if let Some(why) = self.wrong(claim, telling, verdict, cancelled_at) {
                self.violated(format!("{position}: a client was told {}; {why}", telling.told));
            }
        }
    }

    /// Judges a place at which nothing was seen, though everything below the progress was.
    fn missing(&mut self, position: Position, claim: &Claim, decided: bool, idle: bool) {
        match claim.told.first() {
            _ if decided => {
                self.violated(format!("{position}: a request was taken, and its decision is not in the store"));
            }
            Some(Telling { told, .. }) => {
                self.violated(format!("{position}: a client was told {told}; nothing is decided there"));
            }
            None if idle => self.violated(format!("{position}: a request was taken, and is not decided")),
            // It is in flight.
            None => {}
        }
    }

    /// By booking: when a client had been told first that it is cancelled.
    fn told_as_cancelled(&self) -> BTreeMap<Position, Timestamp> {
        let mut ended = BTreeMap::new();
        for ((position, index), found) in &self.found {
            let Found::Decided(verdict) = found else { continue };
            let told = &self.clients.claims[position][*index].told;
            for telling in told.iter().filter(|telling| telling.told.status == "cancelled") {
                let first = ended.entry(verdict.first).or_insert(telling.first_at);
                *first = telling.first_at.min(*first);
            }
        }
        ended
    }

    /// What is wrong with what a client was told, if anything is.
    fn wrong(
        &self,
        claim: &Claim,
        telling: &Telling,
        verdict: Verdict,
        cancelled_at: Option<&Timestamp>,
    ) -> Option<String> {
        let told = &telling.told;
        let Verdict { outcome, first } = verdict;
        let release = self.bookings.get(&first).copied();
        let (number, reason) = match (told.status.as_str(), outcome) {
            ("rejected", Outcome::Rejected(reason)) => (None, Some(reason.as_str())),
            ("booked", Outcome::Booked { number }) => (Some(number), None),
            ("cancelled", Outcome::Booked { number }) => match release {
                Some(None) => return Some(format!("decided was {outcome}, and nobody cancelled it")),
                Some(Some(release)) => (Some(number), release.closed.then_some("session_closed")),
                // The store has forgotten the booking.
                None => (Some(number), told.reason.as_deref()),
            },
            _ => return Some(format!("decided was {outcome}")),
        };
        if (told.number, told.reason.as_deref()) != (number, reason) {
            let reason = reason.map(|reason| format!(", {reason}")).unwrap_or_default();
            return Some(format!("decided was {outcome}{reason}"));
        }
        match (told.status.as_str(), release.flatten()) {
            ("cancelled", Some(release)) => self.too_early(claim, telling, release),
            ("booked", _) => {
                let (asked, ended) = (telling.looked_at?, *cancelled_at?);
                (asked > ended).then(|| format!("asked at {asked}, and one was told at {ended} that it is cancelled"))
            }
            _ => None,
        }
    }

    /// Whether a booking was told as cancelled before anybody can have cancelled it.
    fn too_early(&self, claim: &Claim, telling: &Telling, release: Release) -> Option<String> {
        let Release { logged_at, closed } = release;
        // The client's own clock is exact, where it was the client that asked.
        let asked = self.clients.cancelled_at.get(&claim.ticket).copied();
        let asked = asked.filter(|asked| !closed && *asked <= logged_at.plus(CLOCKS_APART));
        let earliest = asked.unwrap_or_else(|| logged_at.minus(CLOCKS_APART));
        let told_at = telling.first_at;
        (told_at < earliest).then(|| format!("at {told_at}, and it was cancelled no earlier than {earliest}"))
    }

    fn violated(&mut self, row: String) {
        self.report.violated(Invariant::ClientsAgree, row);
    }
}

fn verdict(row: &DecisionRow) -> Verdict {
    let Position { partition, offset } = row.decision.position;
    let first = Position { partition, offset: row.decision.first.unwrap_or(offset) };
    Verdict { outcome: row.decision.outcome, first }
}
