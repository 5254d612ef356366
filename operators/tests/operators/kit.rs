//! Short names for commands, and a ledger that counts what it is asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use jiff::civil::{date, time};
use orderly_domain::inventory::{Admission, Snapshot};
use orderly_domain::port::Result;
use orderly_domain::port::ledger::{Ledger, Request};
use orderly_domain::{
    Book, Cancel, Command, Decision, Exclusivity, Fence, Partition, Position, Session, SessionId, SessionRef,
    Timestamp, ticket,
};
use orderly_operators::Draft;

pub(crate) const PARTITION: u16 = 3;

pub(crate) fn session(name: &str, capacity: u32) -> Session {
    Session {
        session_id: name.parse().unwrap(),
        doctor_id: "li".parse().unwrap(),
        doctor_name: "李明 Li Ming".into(),
        department: "cardiology".parse().unwrap(),
        campus: "east".parse().unwrap(),
        day: date(1970, 1, 1),
        start: time(8, 0, 0, 0),
        end: time(12, 0, 0, 0),
        timezone: "Asia/Shanghai".into(),
        capacity,
        release_at: Timestamp::from_micros(0),
        ends_at: Timestamp::from_micros(1_000_000),
        exclusivity: Exclusivity::DepartmentDay,
    }
}

pub(crate) fn reference(name: &str) -> SessionRef {
    session(name, 1).reference()
}

pub(crate) fn ticket(number: u8) -> ticket::Id {
    ticket::Id::from_bytes([number; 16])
}

pub(crate) fn book(number: u8, patient: &str, session: &str) -> Command {
    Command::Book(Book {
        ticket: ticket(number),
        patient_id: patient.parse().unwrap(),
        session: reference(session),
        details: None,
    })
}

pub(crate) fn cancel(number: u8, patient: &str, session: &str) -> Command {
    Command::Cancel(Cancel {
        ticket: ticket(number),
        patient_id: patient.parse().unwrap(),
        session: reference(session),
    })
}

pub(crate) fn draft(offset: u64, command: Command) -> Draft {
    Draft {
        position: Position { partition: PARTITION, offset },
        logged_at: Timestamp::from_micros(i64::try_from(offset).unwrap()),
        fence: 1,
        command: Some(command),
        outcome: None,
    }
}

/// The in-process ledger, counting what it is asked.
#[derive(Default)]
pub(crate) struct Counted {
    ledger: orderly_sinks::ledger::memory::Ledger,
    asked: AtomicUsize,
}

impl Counted {
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Ledger for Counted {
    async fn apply(&self, requests: &[Request<'_>]) -> Result<Vec<Admission>> {
        self.asked.fetch_add(requests.len(), Ordering::SeqCst);
        self.ledger.apply(requests).await
    }
    async fn hold(&self, held: &HashMap<Partition, Fence>) -> Result<()> {
        self.ledger.hold(held).await
    }
    async fn restore(&self, snapshots: Vec<(Fence, Snapshot)>) -> Result<()> {
        self.ledger.restore(snapshots).await
    }
    async fn undo(&self, refused: &[Decision]) -> Result<()> {
        self.ledger.undo(refused).await
    }
    async fn prune(&self, logged_at: Timestamp) -> Result<()> {
        self.ledger.prune(logged_at).await
    }
    async fn remaining(&self) -> Result<Vec<(SessionId, u32)>> {
        self.ledger.remaining().await
    }
}

pub(crate) fn counted() -> Arc<Counted> {
    Arc::new(Counted::default())
}
