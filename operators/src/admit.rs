//! Admit: asks the ledger, and spares it what is known already.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use orderly_domain::inventory::{Admission, Snapshot, is_past};
use orderly_domain::planted::{self, Bug};
use orderly_domain::port;
use orderly_domain::port::ledger::{Ledger, Request};
use orderly_domain::{Book, Command, Decision, DoctorId, Outcome, Reason, SessionId, Timestamp, ticket};

use crate::draft::Draft;
use crate::operator::{AsyncOperator, Error};
use crate::retry::Retry;

/// What is remembered of the sessions of this process's partitions: whether they are known to be full, and which tickets
/// ever booked in them. Once a session is full, a booking is refused without a call, until a command on the session, which
/// comes by on the same partition, frees a number. Memory is in proportion to capacity, not to demand.
#[derive(Clone, Debug, Default)]
pub struct SessionMemory(Arc<Mutex<HashMap<SessionId, Known>>>);

#[derive(Debug)]
struct Known {
    doctor_id: DoctorId,
    day: jiff::civil::Date,
    full_until: Option<Timestamp>,
    booked: HashSet<ticket::Id>,
}

impl SessionMemory {
    /// Takes over what a store knows of sessions.
    pub fn restore<'a>(&self, snapshots: impl IntoIterator<Item = &'a Snapshot>) {
        let mut sessions = self.lock();
        for Snapshot { session, holdings, .. } in snapshots {
            let known = Known {
                doctor_id: session.doctor_id.clone(),
                day: session.day,
                full_until: None,
                booked: holdings.iter().map(|holding| holding.ticket).collect(),
            };
            sessions.insert(session.session_id.clone(), known);
        }
    }

    /// Forgets sessions whose day is past for records that the log takes from `logged_at` on.
    pub(crate) fn prune(&self, logged_at: Timestamp) {
        self.lock().retain(|_, known| !is_past(known.day, logged_at));
    }

    /// A number of these decisions' sessions may be free though it was not thought to be.
    pub(crate) fn doubt(&self, refused: &[Decision]) {
        let mut sessions = self.lock();
        for command in refused.iter().filter_map(|decision| decision.command.as_ref()) {
            if let Some(known) = sessions.get_mut(command.session_id()) {
                known.full_until = None;
                if let Some(ticket) = command.ticket() {
                    known.booked.remove(&ticket);
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Whether the ledger is sure to answer `sold_out`.
    fn refuses(&self, book: &Book, logged_at: Timestamp) -> bool {
        self.full_until.is_some_and(|ends_at| logged_at < ends_at)
            && self.doctor_id == book.session.doctor_id
            && self.day == book.session.day
            && !is_past(book.session.day, logged_at)
            && (!self.booked.contains(&book.ticket) || planted::is(Bug::SoldOutForHolders))
    }

    fn learn(&mut self, command: &Command, admission: Admission) {
        match (command, admission.outcome) {
            (Command::Book(book), Outcome::Booked { .. }) => {
                self.booked.insert(book.ticket);
                self.full_until = admission.full_until;
            }
            (Command::Book(_), Outcome::Rejected(Reason::SoldOut)) => self.full_until = admission.full_until,
            (Command::Book(_), _) => {}
            _ if planted::is(Bug::SoldOutStays) => {}
            _ => self.full_until = None,
        }
    }
}

/// The operator.
pub struct Admit {
    ledger: Arc<dyn Ledger>,
    memory: SessionMemory,
    retry: Retry,
}

impl Admit {
    /// Asks that ledger; `memory` is restored by whoever takes partitions over.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, memory: SessionMemory, retry: Retry) -> Self {
        Self { ledger, memory, retry }
    }

    /// The indexes of the drafts that the ledger must be asked about; the others get their outcome here.
    fn answer_known(&self, batch: &mut [Draft]) -> Vec<usize> {
        let mut sessions = self.memory.lock();
        let mut asked = Vec::with_capacity(batch.len());
        for (index, draft) in batch.iter_mut().enumerate() {
            let Some(command) = draft.command.as_ref().filter(|_| draft.outcome.is_none()) else { continue };
            match (command, sessions.get_mut(command.session_id())) {
                (Command::Book(book), Some(known)) if known.refuses(book, draft.logged_at) => {
                    draft.outcome = Some(Outcome::Rejected(Reason::SoldOut));
                }
                (Command::Book(_), _) | (_, None) => asked.push(index),
                (_, Some(known)) => {
                    known.full_until = known.full_until.filter(|_| planted::is(Bug::SoldOutStays));
                    asked.push(index);
                }
            }
        }
        asked
    }

    async fn ask(&self, requests: &[Request<'_>]) -> port::Result<Vec<Admission>> {
        let instead = |reason: Reason| Ok(requests.iter().map(|_| reason.into()).collect());
        match self.ledger.apply(requests).await {
            Err(port::Error::MayHaveHappened(_)) if planted::is(Bug::TimeoutIsNo) => instead(Reason::SoldOut),
            Err(port::Error::Lost(_)) if planted::is(Bug::LostIsIgnored) => instead(Reason::UnknownSession),
            answer => answer,
        }
    }

    fn learn(&self, command: &Command, admission: Admission, sessions: &mut HashMap<SessionId, Known>) {
        if let (Command::OpenSession(session), Outcome::Applied) = (command, admission.outcome) {
            sessions.entry(session.session_id.clone()).or_insert_with(|| Known {
                doctor_id: session.doctor_id.clone(),
                day: session.day,
                full_until: None,
                booked: HashSet::new(),
            });
        }
        if let Some(known) = sessions.get_mut(command.session_id()) {
            known.learn(command, admission);
        }
    }
}

#[async_trait]
impl AsyncOperator for Admit {
    type In = Draft;
    type Out = Decision;

    fn name(&self) -> &'static str {
        "admit"
    }

    /// What a ledger keeps together is decided in order: a department's local day.
    fn lane(&self, draft: &Draft) -> u64 {
        draft.command.as_ref().map_or(0, |command| rustc_hash::FxBuildHasher.hash_one(command.department_day()))
    }

    async fn process_batch(&self, mut batch: Vec<Draft>) -> Result<Vec<Decision>, Error> {
        let asked = self.answer_known(&mut batch);
        let requests: Vec<_> = asked
            .iter()
            .filter_map(|index| {
                let Draft { position, logged_at, fence, command, .. } = &batch[*index];
                let (position, logged_at, fence) = (*position, *logged_at, *fence);
                command.as_ref().map(|command| Request { position, logged_at, fence, command })
            })
            .collect();
        if !requests.is_empty() {
            let admissions = self.retry.until_final("ledger", || self.ask(&requests)).await?;
            drop(requests);
            let mut sessions = self.memory.lock();
            for (index, admission) in asked.into_iter().zip(admissions) {
                let draft = &mut batch[index];
                if let Some(command) = &draft.command {
                    self.learn(command, admission, &mut sessions);
                }
                draft.outcome = Some(admission.outcome);
            }
        }
        let decided = batch.into_iter().map(|mut draft| {
            let outcome = draft.outcome.take().expect("every draft was answered here or by the ledger");
            draft.decide(outcome)
        });
        Ok(decided.collect())
    }
}
