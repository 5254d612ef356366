//! Bookings that meet an appointment of which the ledger knows nothing.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::civil::Date;
use orderly_domain::clock::Manual;
use orderly_domain::inventory::Snapshot;
use orderly_domain::port::store::{
    Appointment, Claim, Commit as Asked, Committed, DecisionRow, Details, PolicyVersion, Progress, SeenTicket,
    SessionState, Store,
};
use orderly_domain::port::{Error, Result};
use orderly_domain::{Command, Decision, Fence, Offset, Outcome, Partition, Position, SessionId, Timestamp};
use orderly_operators::{AsyncOperator as _, Commit, Neighbours, PublishedMarks, Retry, SessionMemory};
use orderly_sinks::store::sqlite;
use prometheus::Registry;

use crate::kit::{PARTITION, book, counted, session};

const BY: Position = Position { partition: PARTITION + 1, offset: 9 };

/// A store of one process, in which a patient holds something in another one's partition, as in a store that several write.
struct Shared {
    store: sqlite::Store,
    /// The booking of that patient.
    held: Position,
    /// The offsets of each commit that was made, and the bookings that were to be refused.
    made: Mutex<Vec<(Vec<Offset>, Vec<Position>)>>,
}

#[async_trait]
impl Store for Shared {
    async fn claim(&self, partitions: &[Partition], owner: &str) -> Result<Vec<Claim>> {
        self.store.claim(partitions, owner).await
    }
    async fn commit(&self, commit: &Asked) -> Result<Vec<Committed>> {
        let meets = commit.decisions.iter().any(|decision| decision.position == self.held);
        if meets && !commit.resigned.contains(&self.held) {
            return Err(Error::Held { at: self.held, by: BY });
        }
        let offsets = commit.decisions.iter().map(|decision| decision.position.offset).collect();
        self.made.lock().unwrap().push((offsets, commit.resigned.clone()));
        self.store.commit(commit).await
    }
    async fn sync(&self) -> Result<()> {
        self.store.sync().await
    }
    async fn mark_published(&self, marks: &[(Partition, Fence, Offset)]) -> Result<()> {
        self.store.mark_published(marks).await
    }
    async fn decision(&self, position: Position) -> Result<Option<DecisionRow>> {
        self.store.decision(position).await
    }
    async fn decisions(&self, partition: Partition, from: Offset, rows_max: usize) -> Result<Vec<DecisionRow>> {
        self.store.decisions(partition, from, rows_max).await
    }
    async fn seen_tickets(&self, of: Partition, since: Timestamp, tickets_max: usize) -> Result<Vec<SeenTicket>> {
        self.store.seen_tickets(of, since, tickets_max).await
    }
    async fn snapshots(&self, partitions: &[Partition], since: Date) -> Result<Vec<Snapshot>> {
        self.store.snapshots(partitions, since).await
    }
    async fn sessions(&self, since: Date) -> Result<Vec<SessionState>> {
        self.store.sessions(since).await
    }
    async fn appointments(&self, session_id: &SessionId) -> Result<Vec<Appointment>> {
        self.store.appointments(session_id).await
    }
    async fn details(&self, of: &[Position]) -> Result<Vec<Details>> {
        self.store.details(of).await
    }
    async fn details_after(&self, after: Option<Position>, rows_max: usize) -> Result<Vec<Details>> {
        self.store.details_after(after, rows_max).await
    }
    async fn reseal(&self, details: &[Details]) -> Result<u64> {
        self.store.reseal(details).await
    }
    async fn progress(&self) -> Result<Vec<Progress>> {
        self.store.progress().await
    }
    async fn policies(&self, rows_max: usize) -> Result<Vec<PolicyVersion>> {
        self.store.policies(rows_max).await
    }
    async fn save_policy(&self, policy: &PolicyVersion) -> Result<()> {
        self.store.save_policy(policy).await
    }
    async fn prune(&self, before: Date, below: &[(Partition, Offset)]) -> Result<u64> {
        self.store.prune(before, below).await
    }
    async fn kept_since(&self) -> Result<Option<Date>> {
        self.store.kept_since().await
    }
}

struct Stage {
    store: Arc<Shared>,
    neighbours: Neighbours,
    _folder: tempfile::TempDir,
}

async fn stage() -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite::Store::open(folder.path(), sqlite::Options::default(), &Registry::new()).unwrap();
    store.claim(&[PARTITION], "test").await.unwrap();
    let store = Arc::new(Shared { store, held: at(3), made: Mutex::default() });
    Stage { store, neighbours: Neighbours::register(&Registry::new()).unwrap(), _folder: folder }
}

impl Stage {
    /// A life of the dataflow.
    fn commit(&self) -> Commit {
        let (ledger, clock, memory) = (counted(), Arc::new(Manual::default()), SessionMemory::default());
        let (neighbours, marks) = (self.neighbours.clone(), PublishedMarks::default());
        Commit::new(Arc::clone(&self.store) as _, ledger, clock, memory, marks, neighbours, Retry::default())
    }

    fn made(&self) -> Vec<(Vec<Offset>, Vec<Position>)> {
        self.store.made.lock().unwrap().clone()
    }
}

fn at(offset: Offset) -> Position {
    Position { partition: PARTITION, offset }
}

/// An opening, and four bookings.
fn decisions() -> Vec<Decision> {
    let command = |offset: u8| match offset {
        0 => (Command::OpenSession(Box::new(session("s", 9))), Outcome::Applied),
        _ => (book(offset, &format!("p{offset}"), "s"), Outcome::Booked { number: offset.into() }),
    };
    let decision = |offset: u8| {
        let (command, outcome) = command(offset);
        let logged_at = Timestamp::from_micros(offset.into());
        Decision { position: at(offset.into()), logged_at, fence: 1, command: Some(command), outcome }
    };
    (0..5).map(decision).collect()
}

/// Were it refused alone, the numbers after it would be wrong. What its neighbour holds is doubted until the ledger was told.
#[tokio::test]
async fn a_booking_that_the_ledger_had_no_reason_to_refuse_is_decided_once_more_and_then_refused() {
    let stage = stage().await;
    let first = stage.commit();
    let answer = first.process_batch(decisions()).await;
    assert!(matches!(answer, Err(orderly_operators::Error::Port(Error::Lost(_)))), "{answer:?}");
    assert!(!first.has_committed());
    assert_eq!(stage.neighbours.doubted(), [BY.partition].into());
    stage.neighbours.believe(&[PARTITION]);
    assert_eq!(stage.neighbours.doubted(), [BY.partition].into());
    stage.neighbours.believe(&[BY.partition]);
    assert!(stage.neighbours.doubted().is_empty());

    let second = stage.commit();
    second.process_batch(decisions()).await.unwrap();
    assert!(second.has_committed());
    assert_eq!(stage.made(), [((0..5).collect(), vec![at(3)])]);
}
