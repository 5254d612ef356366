//! A booking that has to wait for another node's cancellation holds up nothing that lies before it.

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
/// The takeover under which the neighbour decides.
const DECIDER: Fence = 4;

/// A store of one process, in which a patient is held by another one's partition, as in a store that several write.
struct Shared {
    store: sqlite::Store,
    /// The booking that is held, and how often it still is.
    held: Mutex<(Position, u32)>,
    decider: Option<Fence>,
    /// The offsets of each commit that was made, and the bookings that resigned.
    made: Mutex<Vec<(Vec<Offset>, Vec<Position>)>>,
}

#[async_trait]
impl Store for Shared {
    async fn claim(&self, partitions: &[Partition], owner: &str) -> Result<Vec<Claim>> {
        self.store.claim(partitions, owner).await
    }
    async fn commit(&self, commit: &Asked) -> Result<Vec<Committed>> {
        {
            let mut held = self.held.lock().unwrap();
            let (at, times) = *held;
            let meets = commit.decisions.iter().any(|decision| decision.position == at);
            if meets && times > 0 && !commit.resigned.contains(&at) {
                held.1 -= 1;
                return Err(Error::Held { at, by: BY, decider: self.decider });
            }
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
    marks: PublishedMarks,
    _folder: tempfile::TempDir,
}

async fn stage(held: (Position, u32), decider: Option<Fence>) -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite::Store::open(folder.path(), sqlite::Options::default(), &Registry::new()).unwrap();
    store.claim(&[PARTITION], "test").await.unwrap();
    let marks = PublishedMarks::default();
    marks.start(PARTITION, 1, 0);
    let store = Arc::new(Shared { store, held: Mutex::new(held), decider, made: Mutex::default() });
    Stage { store, neighbours: Neighbours::register(&Registry::new()).unwrap(), marks, _folder: folder }
}

impl Stage {
    /// A life of the dataflow.
    fn commit(&self) -> Commit {
        let (ledger, clock, memory) = (counted(), Arc::new(Manual::default()), SessionMemory::default());
        let (neighbours, marks) = (self.neighbours.clone(), self.marks.clone());
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

#[tokio::test(start_paused = true)]
async fn what_lies_before_a_booking_that_waits_is_committed_alone() {
    let stage = stage((at(3), 20), Some(DECIDER)).await;
    let committed = stage.commit().process_batch(decisions()).await.unwrap();
    let outcomes: Vec<_> = committed.iter().map(|row| (row.position, row.outcome)).collect();
    let expected: Vec<_> = decisions().iter().map(|decision| (decision.position, decision.outcome)).collect();
    assert_eq!(outcomes, expected, "each has its answer, in order");
    let offsets: Vec<_> = stage.made().into_iter().map(|(offsets, _)| offsets).collect();
    assert_eq!(offsets, [vec![0, 1, 2], vec![3], vec![4]]);
    assert!(stage.neighbours.doubted().is_empty());
}

/// Whoever waited in vain decides everything once more; what was cancelled by the neighbour is doubted then, once.
#[tokio::test(start_paused = true)]
async fn a_booking_that_waited_in_vain_is_decided_once_more_and_then_refused() {
    let stage = stage((at(3), u32::MAX), Some(DECIDER)).await;
    let first = stage.commit();
    let answer = first.process_batch(decisions()).await;
    assert!(matches!(answer, Err(orderly_operators::Error::Port(Error::Lost(_)))), "{answer:?}");
    assert!(first.has_committed(), "what lay before it is decided");
    assert_eq!(stage.neighbours.doubted(), [(BY.partition, Some(DECIDER))].into());
    assert!(stage.neighbours.doubted().is_empty(), "they are told once");

    let second = stage.commit();
    assert!(!second.has_committed());
    second.process_batch(decisions().split_off(3)).await.unwrap();
    assert_eq!(stage.made(), [(vec![0, 1, 2], vec![]), (vec![3], vec![at(3)]), (vec![4], vec![at(3)])]);
}

/// Its commits follow one another: whatever this process cancelled there is committed.
#[tokio::test(start_paused = true)]
async fn a_booking_does_not_wait_for_its_own_process() {
    let stage = stage((at(1), u32::MAX), Some(DECIDER)).await;
    stage.marks.start(BY.partition, DECIDER, 0);
    let before = tokio::time::Instant::now();
    let answer = stage.commit().process_batch(decisions()).await;
    assert!(matches!(answer, Err(orderly_operators::Error::Port(Error::Lost(_)))), "{answer:?}");
    assert_eq!(before.elapsed(), std::time::Duration::ZERO);
}

/// A neighbour that is amid a commit is given more time than one that is not heard of.
#[tokio::test(start_paused = true)]
async fn a_commit_that_is_under_way_is_waited_for() {
    // A look every ten milliseconds, for a second.
    let stage = stage((at(3), 100), None).await;
    assert_eq!(stage.commit().process_batch(decisions()).await.unwrap().len(), 5);
}
