//! The store: decisions, sessions and appointments in one transaction at a time, with the constraints that its port promises.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::civil::Date;
use orderly_domain::command::Kind;
use orderly_domain::inventory::{Holding, Snapshot};
use orderly_domain::port::store::{
    Appointment, AppointmentStatus, Claim, Commit, Committed, DecisionRow, Details, PolicyVersion, Progress,
    SeenTicket, SessionState,
};
use orderly_domain::port::{Error, Result};
use orderly_domain::{
    Book, Cancel, Command, Decision, Fence, Offset, Outcome, Partition, PatientId, Position, Reason, Session,
    SessionId, Timestamp, ticket,
};

use crate::edge::{Edge, Server};
use crate::ledger::home;
use crate::world::State;

#[derive(Clone, Default)]
struct Line {
    fence: Fence,
    owner: String,
    published: Offset,
    rows: Vec<DecisionRow>,
}

impl Line {
    fn next(&self) -> Offset {
        self.rows.len() as Offset
    }
}

/// All tables.
#[derive(Clone, Default)]
pub(crate) struct Books {
    lines: BTreeMap<Partition, Line>,
    sessions: BTreeMap<SessionId, SessionState>,
    appointments: BTreeMap<SessionId, BTreeMap<Position, Appointment>>,
    tickets: BTreeMap<ticket::Id, (SessionId, Position)>,
    /// Who holds what, by scope and patient.
    holders: BTreeMap<(String, PatientId), Position>,
}

fn corrupt(what: String) -> Error {
    Error::Corrupt(what)
}

/// What a loss of power leaves of the tables. Commits do not wait for the disk there; everything else that is written does,
/// and takes them along.
#[derive(Default)]
pub(crate) struct Disk(Option<Books>);

impl Disk {
    /// A disk that is to be fallen back on.
    pub(crate) fn new(is_lossy: bool) -> Self {
        Self(is_lossy.then(Books::default))
    }

    fn sync(&mut self, books: &Books) {
        if let Self(Some(disk)) = self {
            disk.clone_from(books);
        }
    }

    pub(crate) fn recover(&self) -> Option<Books> {
        self.0.clone()
    }
}

impl Books {
    pub(crate) fn outcome(&self, position: Position) -> Option<(Outcome, Option<Offset>)> {
        let row = self.row(position)?;
        Some((row.decision.outcome, row.decision.first))
    }

    fn row(&self, position: Position) -> Option<&DecisionRow> {
        self.lines.get(&position.partition)?.rows.get(usize::try_from(position.offset).ok()?)
    }

    pub(crate) fn next(&self, partition: Partition) -> Offset {
        self.lines.get(&partition).map_or(0, Line::next)
    }

    /// Who took a partition last.
    pub(crate) fn claim(&mut self, partition: Partition, owner: &str) -> Claim {
        let line = self.lines.entry(partition).or_default();
        line.fence += 1;
        owner.clone_into(&mut line.owner);
        Claim { partition, fence: line.fence, next_offset: line.next(), published_offset: line.published }
    }

    fn commit(&mut self, commit: &Commit) -> Result<Vec<Committed>> {
        let mut standing = 0;
        for advance in &commit.advances {
            let line = self.lines.get(&advance.partition).ok_or_else(|| corrupt("nobody has claimed it".into()))?;
            if line.fence != advance.fence {
                return Err(Error::Fenced { partition: advance.partition });
            }
            let of = |decision: &&Decision| decision.position.partition == advance.partition;
            let decided: Vec<_> = commit.decisions.iter().filter(of).map(|decision| decision.position.offset).collect();
            if decided != (advance.from..advance.to).collect::<Vec<_>>() || advance.published > advance.to {
                return Err(corrupt(format!("{decided:?} do not fill {advance:?}")));
            }
            if line.next() == advance.to && advance.to > advance.from {
                standing += 1;
            } else if line.next() != advance.from {
                return Err(corrupt(format!("{advance:?} does not follow {}", line.next())));
            }
        }
        if standing == commit.advances.len() {
            return self.again(commit);
        }
        if standing > 0 {
            return Err(corrupt("a part of this commit is there already, another part is not".into()));
        }
        self.look_for_held(commit)?;
        let mut answers: Vec<Committed> = Vec::with_capacity(commit.decisions.len());
        for decision in &commit.decisions {
            let answer = self.decide(decision, commit.decided_at)?;
            let row = DecisionRow {
                decision: Committed { session: None, released: Vec::new(), ..answer.clone() },
                patient_id: decision.command.as_ref().and_then(Command::patient_id).cloned(),
                appointment: None,
            };
            let line = self.lines.entry(decision.position.partition).or_default();
            line.rows.push(row);
            answers.push(answer);
        }
        for advance in &commit.advances {
            let line = self.lines.entry(advance.partition).or_default();
            line.published = line.published.max(advance.published);
        }
        Ok(answers)
    }

    /// A ledger that has forgotten a booking gives the patient another appointment, on another node.
    fn look_for_held(&self, commit: &Commit) -> Result<()> {
        for decision in &commit.decisions {
            let (Some(Command::Book(book)), Outcome::Booked { .. }) = (&decision.command, decision.outcome) else {
                continue;
            };
            let Some(session) = self.session_in(commit, &book.session.session_id) else { continue };
            let Some(scope) = session.exclusivity.scope(&session.reference()) else { continue };
            let Some(&held) = self.holders.get(&(scope, book.patient_id.clone())) else { continue };
            let is_of_commit = commit.advances.iter().any(|advance| advance.partition == held.partition);
            if !is_of_commit && !commit.resigned.contains(&decision.position) {
                return Err(Error::Held { at: decision.position, by: held });
            }
        }
        Ok(())
    }

    /// A session that is kept, or that this commit opens.
    fn session_in<'a>(&'a self, commit: &'a Commit, id: &SessionId) -> Option<&'a Session> {
        let kept = self.sessions.get(id).map(|known| &known.session);
        kept.or_else(|| {
            commit.decisions.iter().find_map(|decision| match (&decision.command, decision.outcome) {
                (Some(Command::OpenSession(session)), Outcome::Applied) if session.session_id == *id => {
                    Some(&**session)
                }
                _ => None,
            })
        })
    }

    /// The answer to a commit that is there already.
    fn again(&self, commit: &Commit) -> Result<Vec<Committed>> {
        let answer = |decision: &Decision| {
            let row = self.row(decision.position).ok_or_else(|| corrupt("a row is missing".into()))?;
            let mut answer = row.decision.clone();
            if answer.logged_at != decision.logged_at {
                return Err(corrupt(format!("{} was decided before, as another one", decision.position)));
            }
            if answer.first.is_none() && answer.outcome.reason().is_none() {
                answer.session = answer.session_id.as_ref().and_then(|id| self.sessions.get(id)).cloned();
            }
            Ok(answer)
        };
        commit.decisions.iter().map(answer).collect()
    }

    fn decide(&mut self, decision: &Decision, decided_at: Timestamp) -> Result<Committed> {
        let at = decision.position;
        let command = decision.command.as_ref();
        let mut released = Vec::new();
        let (outcome, first) = match (command, decision.outcome) {
            (_, Outcome::Repeat { first }) => {
                let found = self.row(Position { partition: at.partition, offset: first }).map(|row| &row.decision);
                let ticket = command.and_then(Command::ticket);
                let found = found.filter(|found| found.ticket == ticket && ticket.is_some());
                let found = found.ok_or_else(|| corrupt(format!("{at} repeats {first}, no record of its ticket")))?;
                (found.outcome, Some(found.first.unwrap_or(first)))
            }
            (_, Outcome::Rejected(reason)) => (Outcome::Rejected(reason), None),
            (Some(command), outcome) => {
                let made = self.apply(at, command, outcome, &mut released);
                (made.map_or_else(Outcome::Rejected, |()| outcome), None)
            }
            (None, outcome) => return Err(corrupt(format!("{at} cannot be {outcome}"))),
        };
        let known = command.and_then(|command| self.sessions.get(command.session_id())).cloned();
        let changed = first.is_none() && outcome.reason().is_none();
        Ok(Committed {
            position: at,
            logged_at: decision.logged_at,
            decided_at,
            kind: command.map_or(Kind::Malformed, Command::kind),
            ticket: command.and_then(Command::ticket),
            session_id: known.as_ref().map(|known| known.session.session_id.clone()),
            outcome,
            first,
            corrected: first.is_none() && outcome != decision.outcome,
            session: known.filter(|_| changed),
            released,
        })
    }

    fn apply(
        &mut self,
        at: Position,
        command: &Command,
        outcome: Outcome,
        released: &mut Vec<Position>,
    ) -> std::result::Result<(), Reason> {
        let id = command.session_id();
        let highest = self.active(id).map(|held| held.number).max().unwrap_or(0);
        let known = self.sessions.get_mut(id);
        match command {
            Command::OpenSession(session) => {
                let Some(known) = known else {
                    let state = SessionState { session: (**session).clone(), closed: false, booked: 0, changed_at: at };
                    self.sessions.insert(id.clone(), state);
                    return Ok(());
                };
                if known.session.reference() != session.reference() {
                    return Err(Reason::SessionConflict);
                }
                if highest > session.capacity {
                    return Err(Reason::BelowBooked);
                }
                known.session = Session { exclusivity: known.session.exclusivity, ..(**session).clone() };
                (known.closed, known.changed_at) = (false, at);
                Ok(())
            }
            Command::Book(book) => {
                let Outcome::Booked { number } = outcome else { return Err(Reason::UnknownSession) };
                self.book(at, book, number)
            }
            Command::Cancel(cancel) => {
                self.of_doctor(command)?;
                let booked_at = self.tickets.get(&cancel.ticket).filter(|(session, _)| session == id);
                let booked_at = booked_at.ok_or(Reason::NotBooked)?.1;
                let held = &self.appointments[id][&booked_at];
                if held.patient_id != cancel.patient_id {
                    return Err(Reason::NotBooked);
                }
                if held.status == AppointmentStatus::Booked {
                    self.end(id, booked_at, at, AppointmentStatus::Cancelled);
                    released.push(booked_at);
                }
                Ok(())
            }
            Command::CloseSession(_) => {
                self.of_doctor(command)?;
                let held: Vec<_> = self.active(id).map(|held| held.position).collect();
                for booked_at in held {
                    self.end(id, booked_at, at, AppointmentStatus::SessionClosed);
                    released.push(booked_at);
                }
                if let Some(known) = self.sessions.get_mut(id) {
                    (known.closed, known.changed_at) = (true, at);
                }
                Ok(())
            }
            Command::ChangeCapacity(change) => {
                self.of_doctor(command)?;
                let known = self.sessions.get_mut(id).ok_or(Reason::UnknownSession)?;
                if known.closed {
                    return Err(Reason::SessionClosed);
                }
                if highest > change.capacity {
                    return Err(Reason::BelowBooked);
                }
                known.session.capacity = change.capacity;
                known.changed_at = at;
                Ok(())
            }
        }
    }

    fn of_doctor(&self, command: &Command) -> std::result::Result<(), Reason> {
        let known = self.sessions.get(command.session_id());
        known.filter(|known| known.session.doctor_id == *command.doctor_id()).map(|_| ()).ok_or(Reason::UnknownSession)
    }

    fn active<'a>(&'a self, id: &SessionId) -> impl Iterator<Item = &'a Appointment> + use<'a> {
        let all = self.appointments.get(id).into_iter().flat_map(BTreeMap::values);
        all.filter(|held| held.status == AppointmentStatus::Booked)
    }

    fn book(&mut self, at: Position, book: &Book, number: u32) -> std::result::Result<(), Reason> {
        let id = &book.session.session_id;
        let known = self.sessions.get(id).filter(|known| known.session.doctor_id == book.session.doctor_id);
        let known = known.ok_or(Reason::UnknownSession)?;
        let scope = known.session.exclusivity.scope(&known.session.reference());
        let holder = scope.map(|scope| (scope, book.patient_id.clone()));
        let conflict = if self.tickets.contains_key(&book.ticket) {
            Some(Reason::Duplicate)
        } else if holder.as_ref().is_some_and(|holder| self.holders.contains_key(holder)) {
            Some(Reason::AlreadyBooked)
        } else {
            None
        };
        let cause = if known.closed { Reason::SessionClosed } else { Reason::SoldOut };
        let taken = self.active(id).any(|held| held.number == number);
        if known.closed || !(1..=known.session.capacity).contains(&number) || taken || conflict.is_some() {
            return Err(conflict.unwrap_or(cause));
        }
        let appointment = Appointment {
            position: at,
            ticket: book.ticket,
            session_id: id.clone(),
            patient_id: book.patient_id.clone(),
            number,
            status: AppointmentStatus::Booked,
            changed_at: at,
            cause: None,
        };
        self.appointments.entry(id.clone()).or_default().insert(at, appointment);
        self.tickets.insert(book.ticket, (id.clone(), at));
        if let Some(holder) = holder {
            self.holders.insert(holder, at);
        }
        if let Some(known) = self.sessions.get_mut(id) {
            known.booked += 1;
            known.changed_at = at;
        }
        Ok(())
    }

    fn end(&mut self, id: &SessionId, booked_at: Position, at: Position, status: AppointmentStatus) {
        let held = self.appointments.get_mut(id).and_then(|all| all.get_mut(&booked_at));
        let (Some(held), Some(known)) = (held, self.sessions.get_mut(id)) else { return };
        (held.status, held.changed_at) = (status, at);
        known.booked -= 1;
        known.changed_at = at;
        if let Some(scope) = known.session.exclusivity.scope(&known.session.reference()) {
            self.holders.remove(&(scope, held.patient_id.clone()));
        }
    }

    fn decisions(&self, partition: Partition, from: Offset, rows_max: usize) -> Vec<DecisionRow> {
        let rows = self.lines.get(&partition).map_or(&[][..], |line| &line.rows);
        rows.iter().skip(usize::try_from(from).unwrap_or(usize::MAX)).take(rows_max).cloned().collect()
    }

    fn seen_tickets(&self, partition: Partition, since: Timestamp, tickets_max: usize) -> Vec<SeenTicket> {
        let rows = self.lines.get(&partition).map_or(&[][..], |line| &line.rows);
        let firsts = rows.iter().rev().map(|row| &row.decision).take_while(|decision| decision.logged_at >= since);
        let firsts = firsts.filter(|decision| {
            decision.kind == Kind::Book
                && decision.first.is_none()
                && decision.outcome != Outcome::Rejected(Reason::Duplicate)
        });
        let seen = firsts.take(tickets_max).filter_map(|decision| {
            Some(SeenTicket {
                ticket: decision.ticket?,
                first: decision.position.offset,
                logged_at: decision.logged_at,
                session_id: decision.session_id.clone(),
            })
        });
        let mut seen: Vec<_> = seen.collect();
        seen.reverse();
        seen
    }

    fn snapshots(&self, partitions: &[Partition], since: Date) -> Vec<Snapshot> {
        let ours = self
            .sessions
            .values()
            .filter(|known| known.session.day >= since && partitions.contains(&home(&known.session.doctor_id)));
        ours.map(|known| Snapshot {
            session: known.session.clone(),
            closed: known.closed,
            holdings: self
                .appointments
                .get(&known.session.session_id)
                .into_iter()
                .flat_map(BTreeMap::values)
                .map(|held| Holding {
                    ticket: held.ticket,
                    patient_id: held.patient_id.clone(),
                    number: held.number,
                    booked_at: held.position.offset,
                    active: held.status == AppointmentStatus::Booked,
                })
                .collect(),
        })
        .collect()
    }

    fn progress(&self) -> Vec<Progress> {
        let progress = self.lines.iter().map(|(partition, line)| Progress {
            partition: *partition,
            fence: line.fence,
            owner: line.owner.clone(),
            next_offset: line.next(),
            published_offset: line.published,
        });
        progress.collect()
    }
}

/// What must hold of the tables at any time, asked after every commit.
fn assert_books(state: &mut State, commit: &Commit, committed: &[Committed]) {
    let private = !state.shared_ledger;
    for (decision, answer) in commit.decisions.iter().zip(committed) {
        let Position { partition, offset } = decision.position;
        let record = state.log.records.get(&partition).and_then(|all| all.get(usize::try_from(offset).ok()?));
        if record.is_none_or(|record| record.logged_at != decision.logged_at) {
            state.violated(format!("{} was decided, and the log has another record there", decision.position));
        }
        if private && answer.corrected {
            let (told, word) = (decision.outcome, answer.outcome);
            state.violated(format!(
                "{}: the ledger of the only process admitted {told}, the store had to say {word}",
                decision.position
            ));
        }
    }
    let touched: Vec<_> = committed.iter().filter_map(|answer| answer.session_id.clone()).collect();
    for id in touched {
        let (held, distinct) = {
            let mut numbers: Vec<_> = state.store.active(&id).map(|held| held.number).collect();
            let held = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            (held, numbers.len())
        };
        let known = &state.store.sessions[&id];
        let (capacity, booked) = (known.session.capacity as usize, known.booked as usize);
        if held > capacity || distinct < held || booked != held {
            state.violated(format!("{id}: {held} held ({distinct} numbers, {booked} counted) of {capacity}"));
        }
    }
}

/// The store, as one process reaches it.
pub(crate) struct Port(pub(crate) Edge);

impl Port {
    async fn read<T: Send + 'static>(&self, read: impl FnOnce(&Books) -> T + Send + 'static) -> Result<T> {
        if self.0.node == crate::edge::CLIENT {
            // Who judges in the end is not kept waiting.
            return Ok(read(&self.0.world.state().store));
        }
        self.0.call(Server::Store, "store read", move |state| Ok(read(&state.store))).await
    }
}

#[async_trait]
impl orderly_domain::port::Store for Port {
    async fn claim(&self, partitions: &[Partition], owner: &str) -> Result<Vec<Claim>> {
        let (partitions, owner) = (partitions.to_vec(), owner.to_owned());
        let work = move |state: &mut State| {
            let claims: Vec<_> = partitions.iter().map(|partition| state.store.claim(*partition, &owner)).collect();
            state.disk.sync(&state.store);
            for claim in &claims {
                state.say(|| {
                    format!("{owner} takes {} over: fence {}, from {}", claim.partition, claim.fence, claim.next_offset)
                });
            }
            Ok(claims)
        };
        self.0.call(Server::Store, "claim", work).await
    }

    async fn commit(&self, commit: &Commit) -> Result<Vec<Committed>> {
        let (commit, node) = (commit.clone(), self.0.node);
        let work = move |state: &mut State| {
            let before = commit.advances.first().map(|advance| state.store.next(advance.partition));
            let committed = match state.store.commit(&commit) {
                Ok(committed) => committed,
                Err(error) => {
                    state.say(|| format!("n{node} commit: {error}"));
                    return Err(error);
                }
            };
            // The disk is written now and then, by whoever copies the write-ahead log.
            if state.disk.0.is_some() && state.random.per_mille(100) {
                state.disk.sync(&state.store);
            }
            if before == commit.advances.first().map(|advance| advance.from) {
                assert_books(state, &commit, &committed);
                for answer in &committed {
                    state.say(|| {
                        let corrected = if answer.corrected { ", corrected by the store" } else { "" };
                        let again = answer.first.map_or(String::new(), |first| format!(", as at {first}"));
                        let kind = answer.kind.as_str();
                        let on = answer.session_id.as_ref().map_or("", SessionId::as_str);
                        let asked = commit.decisions.iter().find(|decision| decision.position == answer.position);
                        let patient = match asked.and_then(|asked| asked.command.as_ref()) {
                            Some(
                                Command::Book(Book { patient_id, .. }) | Command::Cancel(Cancel { patient_id, .. }),
                            ) => {
                                format!(" of {patient_id}")
                            }
                            _ => String::new(),
                        };
                        let Committed { position, outcome, .. } = answer;
                        format!("n{node} commits {position} {kind}{patient} {on}: {outcome}{again}{corrected}")
                    });
                }
            }
            Ok(committed)
        };
        self.0.call(Server::Store, "commit", work).await
    }

    async fn sync(&self) -> Result<()> {
        let work = |state: &mut State| {
            state.disk.sync(&state.store);
            Ok(())
        };
        self.0.call(Server::Store, "sync", work).await
    }

    async fn mark_published(&self, marks: &[(Partition, Fence, Offset)]) -> Result<()> {
        let marks = marks.to_vec();
        let work = move |state: &mut State| {
            for (partition, fence, offset) in marks {
                let line = state.store.lines.entry(partition).or_default();
                if line.fence != fence {
                    return Err(Error::Fenced { partition });
                }
                line.published = line.published.max(offset);
            }
            state.disk.sync(&state.store);
            Ok(())
        };
        self.0.call(Server::Store, "mark published", work).await
    }

    async fn decision(&self, position: Position) -> Result<Option<DecisionRow>> {
        self.read(move |books| books.row(position).cloned()).await
    }

    async fn decisions(&self, partition: Partition, from: Offset, rows_max: usize) -> Result<Vec<DecisionRow>> {
        self.read(move |books| books.decisions(partition, from, rows_max)).await
    }

    async fn seen_tickets(
        &self,
        partition: Partition,
        since: Timestamp,
        tickets_max: usize,
    ) -> Result<Vec<SeenTicket>> {
        self.read(move |books| books.seen_tickets(partition, since, tickets_max)).await
    }

    async fn snapshots(&self, partitions: &[Partition], since: Date) -> Result<Vec<Snapshot>> {
        let partitions = partitions.to_vec();
        self.read(move |books| books.snapshots(&partitions, since)).await
    }

    async fn sessions(&self, since: Date) -> Result<Vec<SessionState>> {
        self.read(move |books| books.sessions.values().filter(|known| known.session.day >= since).cloned().collect())
            .await
    }

    async fn appointments(&self, session_id: &SessionId) -> Result<Vec<Appointment>> {
        let id = session_id.clone();
        self.read(move |books| {
            books.appointments.get(&id).map(|all| all.values().cloned().collect()).unwrap_or_default()
        })
        .await
    }

    async fn details(&self, _of: &[Position]) -> Result<Vec<Details>> {
        Ok(Vec::new())
    }

    async fn details_after(&self, _after: Option<Position>, _rows_max: usize) -> Result<Vec<Details>> {
        Ok(Vec::new())
    }

    async fn reseal(&self, _details: &[Details]) -> Result<u64> {
        Ok(0)
    }

    async fn progress(&self) -> Result<Vec<Progress>> {
        self.read(Books::progress).await
    }

    async fn policies(&self, _rows_max: usize) -> Result<Vec<PolicyVersion>> {
        Ok(Vec::new())
    }

    async fn save_policy(&self, _policy: &PolicyVersion) -> Result<()> {
        Ok(())
    }

    async fn prune(&self, _before: Date, _below: &[(Partition, Offset)]) -> Result<u64> {
        Ok(0)
    }

    async fn kept_since(&self) -> Result<Option<Date>> {
        Ok(None)
    }
}
