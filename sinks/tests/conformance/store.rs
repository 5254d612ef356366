//! What every store must do.
#![cfg(test)]

mod details;
mod effects;
mod model;
pub(crate) mod postgres;
mod progress;
mod reads;
mod retention;
mod sqlite;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::{Date, date, time};
use orderly_domain::command::{ChangeCapacity, CloseSession};
use orderly_domain::port::store::{Advance, Commit, Committed};
use orderly_domain::port::{self, Store};
use orderly_domain::{
    Book, Cancel, Command, Decision, Exclusivity, Fence, Offset, Outcome, Partition, Position, Reason, Session,
    SessionId, SessionRef, Timestamp, ticket,
};

const RELEASE: i64 = 1_000;
const END: i64 = 9_000_000;
const DAY: Date = date(1970, 1, 1);

/// Where an adapter keeps a store; it can be opened, dropped and opened again.
pub(crate) trait Place {
    async fn open(&self) -> Arc<dyn Store>;
}

/// Declares the suite's tests for an adapter; `$place` makes a new place.
macro_rules! suite {
    ($place:expr) => {
        crate::store::suite!($place;
            progress::claims_raise_the_fence, progress::commits_decisions_with_their_progress,
            progress::refuses_what_does_not_fit_and_changes_nothing, progress::refuses_an_owner_that_lost_a_partition,
            progress::answers_a_commit_that_is_there_already, progress::keeps_everything_when_it_is_opened_again,
            progress::marks_what_is_published,
            effects::books_and_cancels, effects::applies_over_partitions_in_the_order_given,
            effects::has_the_last_word_on_bookings, effects::has_the_last_word_on_what_ops_ask,
            effects::cancels_nothing_that_is_not_held, effects::answers_repeats_with_the_first_outcome,
            effects::closes_and_reopens_sessions,
            details::keeps_what_is_given_with_what_it_books, details::seals_anew_page_by_page,
            details::forgets_them_with_their_appointments,
            reads::finds_the_appointment_of_a_ticket, reads::sees_tickets_within_bounds,
            reads::lists_sessions_from_a_day_on, reads::snapshots_let_a_ledger_go_on, reads::numbers_policies, retention::forgets_old_days_and_what_goes_with_them);

        #[test]
        fn keeps_what_the_rules_decided() {
            crate::store::model::keeps_what_the_rules_decided(|| $place);
        }
    };
    ($place:expr; $($module:ident::$name:ident),*) => {
        $(
            #[tokio::test]
            async fn $name() {
                crate::store::$module::$name(&$place).await;
            }
        )*
    };
}
pub(crate) use suite;

/// Session `number`, of a doctor of its own.
fn reference(number: u8) -> SessionRef {
    SessionRef {
        session_id: id(number),
        doctor_id: format!("doctor-{number}").parse().unwrap(),
        department: "cardiology".parse().unwrap(),
        day: DAY,
    }
}

fn id(number: u8) -> SessionId {
    format!("session-{number}").parse().unwrap()
}

fn session(number: u8, capacity: u32, exclusivity: Exclusivity) -> Session {
    let SessionRef { session_id, doctor_id, department, day } = reference(number);
    Session {
        session_id,
        doctor_id,
        doctor_name: "李明 Li Ming".into(),
        department,
        campus: "east".parse().unwrap(),
        day,
        start: time(8, 0, 0, 0),
        end: time(12, 30, 0, 0),
        timezone: "Asia/Shanghai".into(),
        capacity,
        release_at: Timestamp::from_micros(RELEASE),
        ends_at: Timestamp::from_micros(END),
        exclusivity,
    }
}

fn ticket(number: u8) -> ticket::Id {
    ticket::Id::from_bytes([number; 16])
}

fn open(number: u8, capacity: u32) -> Command {
    Command::OpenSession(Box::new(session(number, capacity, Exclusivity::DepartmentDay)))
}

fn book(number: u8, patient: u8, session: u8) -> Command {
    let patient_id = format!("patient-{patient}").parse().unwrap();
    Command::Book(Book { ticket: ticket(number), patient_id, session: reference(session), details: None })
}

fn cancel(number: u8, patient: u8, session: u8) -> Command {
    let patient_id = format!("patient-{patient}").parse().unwrap();
    Command::Cancel(Cancel { ticket: ticket(number), patient_id, session: reference(session) })
}

fn close(session: u8) -> Command {
    Command::CloseSession(CloseSession { session: reference(session), cause: "the doctor is ill".into() })
}

fn resize(session: u8, capacity: u32) -> Command {
    Command::ChangeCapacity(ChangeCapacity { session: reference(session), capacity })
}

const fn booked(number: u32) -> Outcome {
    Outcome::Booked { number }
}

const fn cancelled(number: u32) -> Outcome {
    Outcome::Cancelled { number }
}

const fn rejected(reason: Reason) -> Outcome {
    Outcome::Rejected(reason)
}

const fn at(partition: Partition, offset: Offset) -> Position {
    Position { partition, offset }
}

/// An owner of partitions that commits one decision after the other, as a pipeline does.
struct Owner {
    store: Arc<dyn Store>,
    fences: BTreeMap<Partition, Fence>,
    next: BTreeMap<Partition, Offset>,
    now: i64,
    decisions: Vec<Decision>,
}

impl Owner {
    async fn claim(store: Arc<dyn Store>, partitions: &[Partition]) -> Self {
        let claims = store.claim(partitions, "owner").await.unwrap();
        Self {
            store,
            fences: claims.iter().map(|claim| (claim.partition, claim.fence)).collect(),
            next: claims.iter().map(|claim| (claim.partition, claim.next_offset)).collect(),
            now: RELEASE,
            decisions: Vec::new(),
        }
    }

    /// Adds a decision to the next commit.
    fn decide(&mut self, partition: Partition, command: impl Into<Option<Command>>, outcome: Outcome) -> Position {
        let next = self.next.get_mut(&partition).unwrap();
        let position = at(partition, *next);
        *next += 1;
        self.now += 1;
        self.decisions.push(Decision {
            position,
            logged_at: Timestamp::from_micros(self.now),
            fence: self.fences[&partition],
            command: command.into(),
            outcome,
        });
        position
    }

    /// The next commit; the decisions are taken out.
    fn take(&mut self) -> Commit {
        let decisions = std::mem::take(&mut self.decisions);
        let advance = |(&partition, &fence): (&Partition, &Fence)| {
            let rows = decisions.iter().filter(|decision| decision.position.partition == partition).count() as u64;
            let to = self.next[&partition];
            (rows > 0).then_some(Advance { partition, fence, from: to - rows, to, published: to - rows })
        };
        let advances = self.fences.iter().filter_map(advance).collect();
        Commit { decided_at: Timestamp::from_micros(self.now + 500), advances, decisions, resigned: Vec::new() }
    }

    async fn commit(&mut self) -> Vec<Committed> {
        let commit = self.take();
        self.store.commit(&commit).await.unwrap()
    }

    /// Commits one decision alone.
    async fn one(&mut self, partition: Partition, command: Command, outcome: Outcome) -> Committed {
        self.decide(partition, command, outcome);
        self.commit().await.pop().unwrap()
    }
}

/// Commits, and refuses each booking that is sent back: one after the other.
async fn insist(store: &dyn Store, commit: &Commit) -> Vec<Committed> {
    let mut commit = commit.clone();
    for _ in 0..commit.decisions.len() {
        match store.commit(&commit).await {
            Err(port::Error::Held { at, .. }) => commit.resigned.push(at),
            answer => return answer.unwrap(),
        }
    }
    store.commit(&commit).await.unwrap()
}

/// Everything that can be seen of a store, to tell whether anything changed.
async fn everything(store: &dyn Store) -> String {
    let mut seen = format!("{:?}", store.progress().await.unwrap());
    for session in store.sessions(Date::MIN).await.unwrap() {
        seen += &format!("{session:?}");
        seen += &format!("{:?}", store.appointments(&session.session.session_id).await.unwrap());
    }
    for progress in store.progress().await.unwrap() {
        seen += &format!("{:?}", store.decisions(progress.partition, 0, usize::MAX).await.unwrap());
    }
    seen
}

fn is_corrupt<T: std::fmt::Debug>(answer: &port::Result<T>) {
    assert!(matches!(answer, Err(port::Error::Corrupt(_))), "{answer:?}");
}

fn is_fenced<T: std::fmt::Debug>(answer: &port::Result<T>, partition: Partition) {
    assert!(matches!(answer, Err(port::Error::Fenced { partition: lost }) if *lost == partition), "{answer:?}");
}
