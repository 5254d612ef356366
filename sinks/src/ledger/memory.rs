//! The ledger in process.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use jiff::civil::Date;
use orderly_domain::clock::Timestamp;
use orderly_domain::command::{Command, SessionRef};
use orderly_domain::decision::{Decision, Outcome};
use orderly_domain::inventory::{Admission, DepartmentDay, Snapshot, is_past};
use orderly_domain::port::ledger::Request;
use orderly_domain::port::{Error, Result};
use orderly_domain::{DepartmentId, Fence, Partition, SessionId};
use rustc_hash::FxHashMap;

#[derive(Default)]
struct Days {
    /// By day, then by department, so that both are found by reference. Only days on which a session is known are here:
    /// what is held grows with the sessions and their bookings, never with what is asked.
    days: BTreeMap<Date, FxHashMap<DepartmentId, DepartmentDay>>,
    /// Sessions that were opened here and not restored since: whether their opening was ever committed is not known.
    openings: FxHashMap<SessionId, Opening>,
}

struct Opening {
    partition: Partition,
    fence: Fence,
    session: SessionRef,
}

/// The ledger in process. It starts empty and is restored from the store.
#[derive(Default)]
pub struct Ledger {
    days: Mutex<Days>,
}

impl Ledger {
    fn days(&self) -> Result<MutexGuard<'_, Days>> {
        self.days.lock().map_err(|_| Error::Corrupt("a panic left the ledger half changed; restart the process".into()))
    }
}

impl Days {
    fn apply(&mut self, request: &Request<'_>) -> Admission {
        let admission = self.decide(request);
        if let (Command::OpenSession(session), Outcome::Applied) = (request.command, admission.outcome) {
            let (partition, fence) = (request.position.partition, request.fence);
            let opening = Opening { partition, fence, session: session.reference() };
            self.openings.insert(session.session_id.clone(), opening);
        }
        admission
    }

    /// Forgets what was opened outside of these takeovers and restored by none: it was never committed.
    fn hold(&mut self, held: &HashMap<Partition, Fence>) {
        let is_outside = |_: &SessionId, opening: &mut Opening| held.get(&opening.partition) != Some(&opening.fence);
        let outside: Vec<_> = self.openings.extract_if(is_outside).collect();
        for (id, opening) in outside {
            self.change(&opening.session, |day| day.forget(&id));
        }
    }

    fn decide(&mut self, request: &Request<'_>) -> Admission {
        let (department, date) = request.command.department_day();
        let (offset, logged_at) = (request.position.offset, request.logged_at);
        if let Some(day) = self.days.get_mut(&date).and_then(|departments| departments.get_mut(department)) {
            return day.apply(request.command, offset, logged_at);
        }
        let mut day = DepartmentDay::default();
        let admission = day.apply(request.command, offset, logged_at);
        if !day.is_empty() {
            self.days.entry(date).or_default().insert(department.clone(), day);
        }
        admission
    }

    fn undo(&mut self, command: &Command, outcome: Outcome) {
        match (command, outcome) {
            (Command::Book(book), Outcome::Booked { .. }) => {
                self.change(&book.session, |day| day.undo_booking(&book.session.session_id, book.ticket));
            }
            (Command::OpenSession(session), Outcome::Applied) => {
                self.openings.remove(&session.session_id);
                self.change(&session.reference(), |day| day.forget(&session.session_id));
            }
            _ => {}
        }
    }

    /// Changes a department's day, and drops it when no session is left in it.
    fn change(&mut self, session: &SessionRef, change: impl FnOnce(&mut DepartmentDay)) {
        let Some(departments) = self.days.get_mut(&session.day) else { return };
        let Some(day) = departments.get_mut(&session.department) else { return };
        change(day);
        if day.is_empty() {
            departments.remove(&session.department);
            if departments.is_empty() {
                self.days.remove(&session.day);
            }
        }
    }
}

#[async_trait]
impl orderly_domain::port::Ledger for Ledger {
    async fn apply(&self, requests: &[Request<'_>]) -> Result<Vec<Admission>> {
        let mut days = self.days()?;
        Ok(requests.iter().map(|request| days.apply(request)).collect())
    }

    async fn hold(&self, held: &HashMap<Partition, Fence>) -> Result<()> {
        self.days()?.hold(held);
        Ok(())
    }

    async fn restore(&self, snapshots: Vec<(Fence, Snapshot)>) -> Result<()> {
        let mut days = self.days()?;
        for (_, snapshot) in snapshots {
            let SessionRef { department, day, .. } = snapshot.session.reference();
            days.openings.remove(&snapshot.session.session_id);
            days.days.entry(day).or_default().entry(department).or_default().restore(snapshot);
        }
        Ok(())
    }

    async fn undo(&self, refused: &[Decision]) -> Result<()> {
        let mut days = self.days()?;
        for decision in refused {
            if let Some(command) = &decision.command {
                days.undo(command, decision.outcome);
            }
        }
        Ok(())
    }

    async fn prune(&self, logged_at: Timestamp) -> Result<()> {
        let mut days = self.days()?;
        days.days.retain(|date, _| !is_past(*date, logged_at));
        days.openings.retain(|_, opening| !is_past(opening.session.day, logged_at));
        Ok(())
    }

    async fn remaining(&self) -> Result<Vec<(SessionId, u32)>> {
        let days = self.days()?;
        let known = days.days.values().flat_map(|departments| departments.values());
        Ok(known.flat_map(DepartmentDay::remaining).map(|(session, remaining)| (session.clone(), remaining)).collect())
    }
}
