//! The ledger outside of the process, as ADR 0008 tells it, around the real rules; and the one in process, which is lost with it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::civil::Date;
use orderly_domain::inventory::{Admission, DepartmentDay, Snapshot, is_past};
use orderly_domain::port::ledger::{Doubt, Request};
use orderly_domain::port::store::SessionState;
use orderly_domain::port::{Error, Result};
use orderly_domain::{
    Command, Decision, DepartmentId, DoctorId, Exclusivity, Fence, Outcome, Partition, PatientId, Position, Reason,
    SessionId, Timestamp, partition_of, ticket,
};

use crate::edge::{Edge, Server};
use crate::plan::PARTITIONS;
use crate::world::State;

type DayKey = (Date, DepartmentId);
type Caller = (usize, u64);

/// What a server keeps of one session beside its inventory.
#[derive(Clone, Debug)]
struct Mark {
    doctor: DoctorId,
    fence: Fence,
    version: u64,
    /// Lent, and not restored yet.
    half: bool,
    capacity: u32,
    closed: bool,
    is_exclusive: bool,
}

/// A booking that excludes others of its patient.
#[derive(Clone, Debug)]
struct Exclusive {
    session: SessionId,
    patient: PatientId,
    /// Who has released it, and not committed that.
    releaser: Option<Caller>,
}

#[derive(Clone, Default)]
struct Day {
    rules: DepartmentDay,
    marks: BTreeMap<SessionId, Mark>,
    /// Bookings that exclude others on this day: those that hold a number, and those whose release is not committed.
    exclusive: BTreeMap<ticket::Id, Exclusive>,
    /// Of each caller the number of its last call, and what it was answered.
    calls: BTreeMap<Caller, (u64, Vec<Position>, Vec<Admission>)>,
}

/// All days.
#[derive(Clone, Default)]
pub(crate) struct Days(BTreeMap<DayKey, Day>);

/// What one process knows of the days that it called for.
#[derive(Default)]
struct Known {
    calls: u64,
    answered: BTreeMap<DayKey, u64>,
    versions: BTreeMap<SessionId, Seen>,
}

/// A session as it was answered last.
#[derive(Clone)]
struct Seen {
    key: DayKey,
    partition: Partition,
    fence: Fence,
    version: u64,
}

/// A command as it travels.
#[derive(Clone)]
struct Asked {
    position: Position,
    logged_at: Timestamp,
    fence: Fence,
    command: Command,
    /// It takes back what was decided.
    undo: Option<Outcome>,
}

struct Call {
    caller: Caller,
    number: u64,
    answered: u64,
    key: DayKey,
    asked: Vec<Asked>,
    versions: BTreeMap<SessionId, u64>,
}

/// The ledger, as one process reaches it.
pub(crate) struct Port {
    edge: Edge,
    known: Mutex<Known>,
    /// The ledger in process, where it is not shared.
    own: Option<Arc<Mutex<Days>>>,
}

impl Port {
    pub(crate) fn new(edge: Edge, shared: bool) -> Self {
        let own = (!shared).then(Arc::default);
        Self { edge, known: Mutex::default(), own }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(&self, asked: Vec<Asked>, what: &'static str) -> Result<Vec<Admission>> {
        let mut by_day: BTreeMap<DayKey, Vec<(usize, Asked)>> = BTreeMap::new();
        let mut answers = vec![None; asked.len()];
        for (index, asked) in asked.into_iter().enumerate() {
            let (department, day) = asked.command.department_day();
            if is_past(day, asked.logged_at) {
                // Whatever it asks, and what it takes back is forgotten.
                answers[index] = Some(Reason::Expired.into());
                continue;
            }
            by_day.entry((day, department.clone())).or_default().push((index, asked));
        }
        for (key, asked) in by_day {
            let (indexes, asked): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
            for (index, admission) in indexes.into_iter().zip(self.call_day(key, asked, what).await?) {
                answers[index] = Some(admission);
            }
        }
        Ok(answers.into_iter().map(|answer| answer.expect("each was asked on its day")).collect())
    }

    async fn call_day(&self, key: DayKey, asked: Vec<Asked>, what: &'static str) -> Result<Vec<Admission>> {
        if let Some(own) = &self.own {
            let mut days = own.lock().unwrap_or_else(PoisonError::into_inner);
            return Ok(days.0.entry(key).or_default().decide_alone(&asked));
        }
        let call = {
            let mut known = self.known();
            known.calls += 1;
            let versions = asked.iter().filter_map(|asked| {
                let id = asked.command.session_id();
                let seen = known.versions.get(id).filter(|seen| seen.fence == asked.fence)?;
                Some((id.clone(), seen.version))
            });
            let versions = versions.collect();
            let knows_the_day = known.versions.values().any(|seen| seen.key == key);
            Call {
                caller: (self.edge.node, self.edge.incarnation),
                number: known.calls,
                answered: known.answered.get(&key).copied().filter(|_| knows_the_day).unwrap_or(0),
                versions,
                key: key.clone(),
                asked,
            }
        };
        let number = call.number;
        let fences: BTreeMap<_, _> = call
            .asked
            .iter()
            .map(|asked| (asked.command.session_id().clone(), (asked.position.partition, asked.fence)))
            .collect();
        let work = move |state: &mut State| state.ledger.apply(&call);
        let (admissions, versions) = self.edge.call(Server::Ledger, what, work).await?;
        let mut known = self.known();
        let answered = known.answered.entry(key.clone()).or_default();
        *answered = number.max(*answered);
        for (id, version) in versions {
            match version {
                Some(version) => {
                    let (partition, fence) = fences[&id];
                    known.versions.insert(id, Seen { key: key.clone(), partition, fence, version });
                }
                None => {
                    known.versions.remove(&id);
                }
            }
        }
        Ok(admissions)
    }
}

impl Day {
    fn decide_alone(&mut self, asked: &[Asked]) -> Vec<Admission> {
        let decide = |asked: &Asked| {
            let admission = self.decide_one(asked);
            self.mark(asked, admission.outcome);
            admission
        };
        asked.iter().map(decide).collect()
    }

    fn decide_one(&mut self, asked: &Asked) -> Admission {
        let Asked { position, logged_at, command, .. } = asked;
        match (command, asked.undo) {
            (Command::Book(book), Some(Outcome::Booked { .. })) => {
                self.rules.undo_booking(&book.session.session_id, book.ticket);
                Outcome::Applied.into()
            }
            (Command::OpenSession(session), Some(Outcome::Applied)) => {
                self.rules.forget(&session.session_id);
                Outcome::Applied.into()
            }
            (_, Some(_)) => Outcome::Applied.into(),
            (command, None) => self.rules.apply(command, position.offset, *logged_at),
        }
    }
}

fn lost(id: &SessionId) -> Error {
    Error::Lost(format!("the ledger has forgotten {id}"))
}

impl Days {
    #[allow(clippy::type_complexity, reason = "what a call is answered")]
    fn apply(&mut self, call: &Call) -> Result<(Vec<Admission>, Vec<(SessionId, Option<u64>)>)> {
        let day = self.0.entry(call.key.clone()).or_default();
        let (last, positions, admissions) = day.calls.get(&call.caller).cloned().unwrap_or_default();
        if last >= call.number {
            return Err(Error::MayHaveHappened("a later call came first".into()));
        }
        if last < call.answered {
            return Err(Error::Lost("the ledger has forgotten calls".into()));
        }
        let mut older = Vec::new();
        for asked in &call.asked {
            let (id, doctor) = (asked.command.session_id(), asked.command.doctor_id());
            let mark = day.marks.get(id).filter(|mark| mark.doctor == *doctor);
            if mark.is_some_and(|mark| mark.fence > asked.fence) {
                return Err(Error::Fenced { partition: asked.position.partition });
            }
            let is_older = mark.is_some_and(|mark| mark.fence < asked.fence);
            match (call.versions.get(id), mark) {
                (Some(known), Some(mark)) if !is_older && !mark.half && mark.version >= *known => {}
                (Some(_), _) => return Err(lost(id)),
                (None, Some(mark)) if mark.half && !is_older => return Err(lost(id)),
                (None, _) => {}
            }
            if is_older {
                older.push(id.clone());
            }
        }
        let asked: Vec<_> = call.asked.iter().map(|asked| asked.position).collect();
        let undoes = call.asked.iter().any(|asked| asked.undo.is_some());
        if !undoes && positions == asked {
            // It was carried out, and its answer was lost.
            day.calls.insert(call.caller, (call.number, positions, admissions.clone()));
            return Ok((admissions, day.versions(call)));
        }
        for id in older {
            day.rules.forget(&id);
            day.marks.remove(&id);
            day.exclusive.retain(|_, held| held.session != id);
        }
        let mut answers = Vec::with_capacity(call.asked.len());
        for asked in &call.asked {
            let mut admission = day.decide_one(asked);
            if let Some(refusal) = day.releases_elsewhere(call.caller, asked, admission.outcome) {
                admission = refusal;
            }
            day.mark(asked, admission.outcome);
            day.note(call.caller, asked, admission.outcome);
            answers.push(admission);
        }
        day.calls
            .insert(call.caller, (call.number, if undoes { Vec::new() } else { positions_of(call) }, answers.clone()));
        Ok((answers, day.versions(call)))
    }

    /// What was opened outside of these takeovers is not there, unless one of them restores it.
    fn hold(&mut self, held: &HashMap<Partition, Fence>) {
        for day in self.0.values_mut() {
            let outside = |_: &SessionId, mark: &mut Mark| held.get(&home(&mark.doctor)) != Some(&mark.fence);
            for (id, _) in day.marks.extract_if(.., outside) {
                day.rules.forget(&id);
            }
        }
    }

    fn put(&mut self, fence: Fence, snapshot: Snapshot, lent: Option<Doubt>) -> Result<Option<(SessionId, Seen)>> {
        let session = &snapshot.session;
        let day = self.0.entry((session.day, session.department.clone())).or_default();
        let id = session.session_id.clone();
        let before = day.marks.get(&id);
        let stays = match lent {
            None => false,
            Some(Doubt::Behind) => true,
            Some(Doubt::Ignorant) => before.is_some_and(|mark| mark.half),
        };
        if let Some(before) = before
            && (before.fence > fence || (before.fence == fence && stays))
        {
            let partition = partition_of(&session.doctor_id, PARTITIONS);
            return if lent.is_some() { Ok(None) } else { Err(Error::Fenced { partition }) };
        }
        let key = (session.day, session.department.clone());
        let partition = home(&session.doctor_id);
        let version = before.map_or(0, |mark| mark.version) + 1;
        let mark = Mark {
            doctor: session.doctor_id.clone(),
            fence,
            version,
            half: lent.is_some(),
            capacity: session.capacity,
            closed: snapshot.closed,
            is_exclusive: session.exclusivity == Exclusivity::DepartmentDay,
        };
        day.exclusive.retain(|_, held| held.session != id);
        for held in snapshot.holdings.iter().filter(|held| held.active && mark.is_exclusive) {
            let exclusive = Exclusive { session: id.clone(), patient: held.patient_id.clone(), releaser: None };
            day.exclusive.insert(held.ticket, exclusive);
        }
        day.rules.restore(snapshot);
        day.marks.insert(id.clone(), mark);
        Ok(Some((id, Seen { key, partition, fence, version })))
    }

    fn behind(&self, sessions: &[SessionState]) -> Vec<SessionId> {
        let knows = |state: &&SessionState| {
            let session = &state.session;
            let day = self.0.get(&(session.day, session.department.clone()));
            let booked = day.and_then(|day| {
                let mark = day.marks.get(&session.session_id)?;
                let remaining = day.rules.remaining().find(|(id, _)| **id == session.session_id)?.1;
                Some(if mark.closed { 0 } else { mark.capacity.saturating_sub(remaining) })
            });
            booked.is_none_or(|booked| booked < state.booked)
        };
        sessions.iter().filter(knows).map(|state| state.session.session_id.clone()).collect()
    }

    fn prune(&mut self, logged_at: Timestamp) {
        self.0.retain(|(day, _), _| !is_past(*day, logged_at));
    }

    pub(crate) fn remaining(&self) -> Vec<(SessionId, u32)> {
        let days = self.0.values();
        days.flat_map(|day| {
            day.rules
                .remaining()
                // What was lent, and what nobody has restored, is not there for its owner.
                .filter(|(id, _)| day.marks.get(*id).is_none_or(|mark| !mark.half))
                .map(|(id, remaining)| (id.clone(), remaining))
        })
        .collect()
    }
}

fn positions_of(call: &Call) -> Vec<Position> {
    call.asked.iter().map(|asked| asked.position).collect()
}

impl Day {
    /// Takes a booking back whose patient somebody else has released, and not committed that.
    fn releases_elsewhere(&mut self, caller: Caller, asked: &Asked, outcome: Outcome) -> Option<Admission> {
        let (Command::Book(book), None, Outcome::Booked { .. }) = (&asked.command, asked.undo, outcome) else {
            return None;
        };
        let is_known = self.exclusive.contains_key(&book.ticket);
        let is_exclusive = self.marks.get(&book.session.session_id).is_some_and(|mark| mark.is_exclusive);
        let elsewhere = |held: &Exclusive| {
            held.patient == book.patient_id && held.releaser.is_some_and(|releaser| releaser != caller)
        };
        if is_known || !is_exclusive || !self.exclusive.values().any(elsewhere) {
            return None;
        }
        self.rules.undo_booking(&book.session.session_id, book.ticket);
        Some(Reason::AlreadyBooked.into())
    }

    /// Notes who excludes whom after this.
    fn note(&mut self, caller: Caller, asked: &Asked, outcome: Outcome) {
        let id = asked.command.session_id();
        match (&asked.command, asked.undo, outcome) {
            (Command::Book(book), None, Outcome::Booked { .. })
                if self.marks.get(id).is_some_and(|mark| mark.is_exclusive) =>
            {
                let exclusive = Exclusive { session: id.clone(), patient: book.patient_id.clone(), releaser: None };
                self.exclusive.entry(book.ticket).or_insert(exclusive);
            }
            (Command::Cancel(cancel), None, Outcome::Cancelled { .. }) => {
                if let Some(held) = self.exclusive.get_mut(&cancel.ticket) {
                    held.releaser.get_or_insert(caller);
                }
            }
            (Command::CloseSession(_), None, Outcome::Applied) => {
                for held in self.exclusive.values_mut().filter(|held| held.session == *id) {
                    held.releaser.get_or_insert(caller);
                }
            }
            (Command::Book(book), Some(Outcome::Booked { .. }), _) => {
                self.exclusive.remove(&book.ticket);
            }
            (Command::OpenSession(_), Some(Outcome::Applied), _) => {
                self.exclusive.retain(|_, held| held.session != *id);
            }
            _ => {}
        }
    }

    /// What this caller has released is committed.
    fn settle(&mut self, caller: Caller, command: &Command, outcome: Outcome) {
        let is_settled = |ticket: &ticket::Id, held: &Exclusive| match (command, outcome) {
            (Command::Cancel(cancel), Outcome::Cancelled { .. }) => *ticket == cancel.ticket,
            (Command::CloseSession(close), Outcome::Applied) => held.session == close.session.session_id,
            _ => false,
        };
        self.exclusive.retain(|ticket, held| held.releaser != Some(caller) || !is_settled(ticket, held));
    }

    fn mark(&mut self, asked: &Asked, outcome: Outcome) {
        let id = asked.command.session_id();
        if let (Command::OpenSession(session), None, Outcome::Applied) = (&asked.command, asked.undo, outcome) {
            let mark = self.marks.entry(id.clone()).or_insert_with(|| Mark {
                doctor: session.doctor_id.clone(),
                fence: asked.fence,
                version: 0,
                half: false,
                capacity: session.capacity,
                closed: false,
                is_exclusive: session.exclusivity == Exclusivity::DepartmentDay,
            });
            (mark.capacity, mark.closed) = (session.capacity, false);
        }
        if let (Command::OpenSession(_), Some(Outcome::Applied)) = (&asked.command, asked.undo) {
            self.marks.remove(id);
        }
        if let Some(mark) = self.marks.get_mut(id) {
            mark.version += 1;
            match (&asked.command, outcome) {
                (Command::ChangeCapacity(change), Outcome::Applied) => mark.capacity = change.capacity,
                (Command::CloseSession(_), Outcome::Applied) => mark.closed = true,
                _ => {}
            }
        }
    }

    fn versions(&self, call: &Call) -> Vec<(SessionId, Option<u64>)> {
        let named = call.asked.iter().map(|asked| (asked.command.session_id(), asked.command.doctor_id()));
        named
            .map(|(id, doctor)| {
                let mark = self.marks.get(id).filter(|mark| mark.doctor == *doctor);
                (id.clone(), mark.map(|mark| mark.version))
            })
            .collect()
    }
}

#[async_trait]
impl orderly_domain::port::Ledger for Port {
    async fn apply(&self, requests: &[Request<'_>]) -> Result<Vec<Admission>> {
        let asked = requests.iter().map(|request| Asked {
            position: request.position,
            logged_at: request.logged_at,
            fence: request.fence,
            command: request.command.clone(),
            undo: None,
        });
        self.call(asked.collect(), "ledger apply").await
    }

    async fn hold(&self, held: &HashMap<Partition, Fence>) -> Result<()> {
        if let Some(own) = &self.own {
            own.lock().unwrap_or_else(PoisonError::into_inner).hold(held);
            return Ok(());
        }
        self.known().versions.retain(|_, seen| held.get(&seen.partition) == Some(&seen.fence));
        Ok(())
    }

    async fn restore(&self, snapshots: Vec<(Fence, Snapshot)>) -> Result<()> {
        if let Some(own) = &self.own {
            let mut days = own.lock().unwrap_or_else(PoisonError::into_inner);
            for (fence, snapshot) in snapshots {
                days.put(fence, snapshot, None)?;
            }
            return Ok(());
        }
        let number = {
            let mut known = self.known();
            known.calls += 1;
            known.calls
        };
        let caller = (self.edge.node, self.edge.incarnation);
        let work = move |state: &mut State| {
            let days = snapshots.iter().map(|(_, snapshot)| &snapshot.session);
            let mut days = days.filter_map(|session| state.ledger.0.get(&(session.day, session.department.clone())));
            if days.any(|day| day.calls.get(&caller).is_some_and(|(last, ..)| *last >= number)) {
                return Err(Error::MayHaveHappened("a later call came first".into()));
            }
            let put = snapshots.into_iter().map(|(fence, snapshot)| {
                let key = (snapshot.session.day, snapshot.session.department.clone());
                let put = state.ledger.put(fence, snapshot, None)?;
                if let Some(day) = state.ledger.0.get_mut(&key) {
                    let last = day.calls.entry(caller).or_default();
                    *last = (number.max(last.0), Vec::new(), Vec::new());
                }
                Ok(put)
            });
            put.collect::<Result<Vec<_>>>()
        };
        let versions = self.edge.call(Server::Ledger, "ledger restore", work).await?;
        let mut known = self.known();
        for (id, seen) in versions.into_iter().flatten() {
            let answered = known.answered.entry(seen.key.clone()).or_default();
            *answered = number.max(*answered);
            known.versions.insert(id, seen);
        }
        Ok(())
    }

    async fn behind(&self, sessions: &[SessionState]) -> Result<Vec<SessionId>> {
        if self.own.is_some() {
            return Ok(Vec::new());
        }
        let sessions = sessions.to_vec();
        self.edge.call(Server::Ledger, "ledger behind", move |state| Ok(state.ledger.behind(&sessions))).await
    }

    async fn lend(&self, snapshots: Vec<(Fence, Snapshot)>, doubt: Doubt) -> Result<()> {
        let work = move |state: &mut State| {
            for (fence, snapshot) in snapshots {
                state.ledger.put(fence, snapshot, Some(doubt))?;
            }
            Ok(())
        };
        self.edge.call(Server::Ledger, "ledger lend", work).await
    }

    async fn undo(&self, refused: &[Decision]) -> Result<()> {
        let asked = refused.iter().filter_map(|decision| {
            Some(Asked {
                position: decision.position,
                logged_at: decision.logged_at,
                fence: decision.fence,
                command: decision.command.clone()?,
                undo: Some(decision.outcome),
            })
        });
        self.call(asked.collect(), "ledger undo").await.map(drop)
    }

    async fn settle(&self, committed: &[Decision]) -> Result<()> {
        if self.own.is_some() {
            return Ok(());
        }
        let caller = (self.edge.node, self.edge.incarnation);
        let releases = committed.iter().filter_map(|decision| Some((decision.command.clone()?, decision.outcome)));
        let releases: Vec<_> =
            releases.filter(|(command, _)| matches!(command, Command::Cancel(_) | Command::CloseSession(_))).collect();
        if releases.is_empty() {
            return Ok(());
        }
        let work = move |state: &mut State| {
            for (command, outcome) in releases {
                let (department, day) = command.department_day();
                if let Some(day) = state.ledger.0.get_mut(&(day, department.clone())) {
                    day.settle(caller, &command, outcome);
                }
            }
            Ok(())
        };
        self.edge.call(Server::Ledger, "ledger settle", work).await
    }

    async fn prune(&self, logged_at: Timestamp) -> Result<()> {
        if let Some(own) = &self.own {
            own.lock().unwrap_or_else(PoisonError::into_inner).prune(logged_at);
            return Ok(());
        }
        {
            let mut known = self.known();
            known.versions.retain(|_, seen| !is_past(seen.key.0, logged_at));
            known.answered.retain(|(day, _), _| !is_past(*day, logged_at));
        }
        let work = move |state: &mut State| {
            state.ledger.prune(logged_at);
            Ok(())
        };
        self.edge.call(Server::Ledger, "ledger prune", work).await
    }

    async fn remaining(&self) -> Result<Vec<(SessionId, u32)>> {
        Ok(match &self.own {
            Some(own) => own.lock().unwrap_or_else(PoisonError::into_inner).remaining(),
            None => self.edge.world.state().ledger.remaining(),
        })
    }
}

/// The partition that a session's doctor is decided in.
pub(crate) fn home(doctor: &DoctorId) -> Partition {
    partition_of(doctor, PARTITIONS)
}
