//! What fails stops or waits; it never skips.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use orderly_domain::inventory::{Admission, Snapshot};
use orderly_domain::port::ledger::{Ledger, Request};
use orderly_domain::port::log::{Appended, Delivery, Extent, LogReader};
use orderly_domain::port::{self, Error, IntentLog, Store as _};
use orderly_domain::{Decision, Fence, Offset, Outcome, Partition, Position, Reason, SessionId, Timestamp};
use orderly_pipeline::{Options, Pipeline, Ports, same_log};
use orderly_sinks::ledger::memory::Ledger as Memory;
use prometheus::Registry;
use tokio::sync::Semaphore;

use crate::kit::{Hooked, Hospital, book, expected, open, published};

async fn stopped(pipeline: &Pipeline) -> String {
    tokio::time::timeout(Duration::from_secs(60), pipeline.failed()).await.expect("it stops").to_string()
}

/// Rush for one place, and a pipeline whose store does something before each commit.
async fn rush(folder: &std::path::Path) -> Hospital {
    let hospital = Hospital::open(folder);
    hospital.append(open(1, 1)).await;
    for patient in 0..100 {
        hospital.append(book(patient, patient, 1)).await;
    }
    hospital
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_stops_with_its_cause_and_skips_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let hospital = rush(folder.path()).await;
    let store = Hooked { store: Arc::clone(&hospital.store), before_commit: Box::new(|| panic!("a bug in the store")) };
    let pipeline = hospital.start_on(Options { workers: 2, ..Options::default() }, Arc::new(store)).await;
    assert!(stopped(&pipeline).await.contains("commit panicked"));
    assert!(!pipeline.state().state().running);
    assert!(pipeline.drain().await.is_err());
    assert!(hospital.outcomes().await.is_empty(), "nothing is decided that was not committed");

    let mut events = hospital.listen();
    let pipeline = hospital.start(Options::default()).await;
    published(&mut events, 101).await;
    pipeline.drain().await.unwrap();
    assert_eq!(hospital.outcomes().await, expected(&hospital).await);
}

/// The real log, whose reader panics as soon as there are records.
struct Mined(Arc<orderly_sinks::log::sqlite::Log>);

struct MinedReader(Box<dyn LogReader>);

#[async_trait]
impl IntentLog for Mined {
    fn partitions(&self) -> u16 {
        self.0.partitions()
    }
    async fn append(&self, partition: Partition, key: &str, payload: Vec<u8>) -> port::Result<Appended> {
        self.0.append(partition, key, payload).await
    }
    async fn extents(&self) -> port::Result<Vec<Extent>> {
        self.0.extents().await
    }
    async fn logged_at(&self, places: &[Position]) -> port::Result<Vec<Option<Timestamp>>> {
        self.0.logged_at(places).await
    }
    fn trouble(&self) -> Option<String> {
        self.0.trouble()
    }
    async fn reader(&self) -> port::Result<Box<dyn LogReader>> {
        Ok(Box::new(MinedReader(self.0.reader().await?)))
    }
    async fn scan(&self, from: &[(Partition, Offset)]) -> port::Result<Box<dyn LogReader>> {
        self.0.scan(from).await
    }
    async fn trim(&self, before: Timestamp, decided: &[(Partition, Offset)]) -> port::Result<u64> {
        self.0.trim(before, decided).await
    }
}

#[async_trait]
impl LogReader for MinedReader {
    async fn next(&mut self, records_max: usize) -> port::Result<Delivery> {
        match self.0.next(records_max).await? {
            Delivery::Records(_) => panic!("a bug in the log"),
            told => Ok(told),
        }
    }
    async fn seek(&mut self, from: &[(Partition, Offset)]) -> port::Result<()> {
        self.0.seek(from).await
    }
    fn restart(&mut self) {
        self.0.restart();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_of_the_logs_reader_stops_with_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let hospital = rush(folder.path()).await;
    let ports = Ports { log: Arc::new(Mined(Arc::clone(&hospital.log))), ..hospital.ports() };
    let pipeline = Pipeline::start(Options::default(), ports, &Registry::new()).await.unwrap();
    assert!(stopped(&pipeline).await.contains("the log's reader panicked"));
    assert!(pipeline.drain().await.is_err());
    assert!(hospital.outcomes().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_partition_is_taken_over_before_it_is_committed_to() {
    let folder = tempfile::tempdir().unwrap();
    let hospital = Hospital::open(folder.path());
    let position = hospital.append(open(1, 1)).await;
    let mut events = hospital.listen();
    let pipeline = hospital.start(Options::default()).await;
    published(&mut events, 1).await;
    let taken = hospital.store.claim(&[position.partition], "another node").await.unwrap();
    let booking = hospital.append(book(1, 1, 1)).await;
    // The opening may be published again before it.
    while !published(&mut events, 1).await.contains_key(&booking) {}
    let progress = hospital.store.progress().await.unwrap();
    let progress = progress.iter().find(|progress| progress.partition == position.partition).unwrap();
    assert!(progress.fence > taken[0].fence, "it was committed under a takeover of its own");
    assert_eq!(hospital.outcomes().await, expected(&hospital).await);
    pipeline.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_a_newer_version_stops_the_reader() {
    let folder = tempfile::tempdir().unwrap();
    let hospital = Hospital::open(folder.path());
    // An envelope that asks for reader version 7: field 1 = 7, field 2 = CRC-32 of nothing (0), field 3 empty.
    hospital.append_bytes(0, vec![0x08, 7, 0x15, 0, 0, 0, 0, 0x1a, 0]).await;
    let pipeline = hospital.start(Options::default()).await;
    let cause = stopped(&pipeline).await;
    assert!(cause.contains("needs a reader of version 7"), "{cause}");
    assert!(hospital.outcomes().await.is_empty());
    assert!(pipeline.drain().await.is_err());
}

/// A full disk is waited out, and ops can see what is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_full_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let hospital = rush(folder.path()).await;
    let refusals = Arc::new(AtomicUsize::new(3));
    let left = Arc::clone(&refusals);
    let before_commit = Box::new(move || {
        let refuse = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let result = if refuse { Err(Error::StorageFull("the test's disk".into())) } else { Ok(()) };
        Box::pin(std::future::ready(result)) as _
    });
    let store = Arc::new(Hooked { store: Arc::clone(&hospital.store), before_commit });
    let mut events = hospital.listen();
    let pipeline = hospital.start_on(Options::default(), store).await;
    published(&mut events, 101).await;
    assert_eq!(refusals.load(Ordering::SeqCst), 0);
    assert_eq!(hospital.outcomes().await, expected(&hospital).await);
    pipeline.drain().await.unwrap();
}

/// While the store does not answer, reading stops at the bound; when it answers again, everything is decided.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let hospital = rush(folder.path()).await;
    let gate = Arc::new(Semaphore::new(0));
    let waiting = Arc::new(Semaphore::new(0));
    let (closed, arrived) = (Arc::clone(&gate), Arc::clone(&waiting));
    let before_commit = Box::new(move || {
        let (gate, arrived) = (Arc::clone(&closed), Arc::clone(&arrived));
        Box::pin(async move {
            arrived.add_permits(1);
            gate.acquire().await.expect("open").forget();
            Ok(())
        }) as _
    });
    let store = Arc::new(Hooked { store: Arc::clone(&hospital.store), before_commit });
    let options = Options {
        epoch_records_max: 1,
        epochs_in_flight_max: 4,
        batch_records_max: 1,
        epoch_linger: Duration::ZERO,
        ..Options::default()
    };
    let mut events = hospital.listen();
    let pipeline = hospital.start_on(options, store).await;
    waiting.acquire().await.unwrap().forget();
    let state = pipeline.state();
    for _ in 0..50 {
        assert!(state.state().epochs_in_flight <= 4);
        tokio::task::yield_now().await;
    }
    assert!(hospital.outcomes().await.is_empty());
    gate.add_permits(1_000);
    let outcomes = published(&mut events, 101).await;
    let booked = outcomes.values().filter(|row| matches!(row.outcome, Outcome::Booked { .. })).count();
    let refused = outcomes.values().filter(|row| row.outcome == Outcome::Rejected(Reason::SoldOut)).count();
    assert_eq!((booked, refused), (1, 99));
    pipeline.drain().await.unwrap();
}

/// Outcomes that were committed and not published before a crash are published by the next start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_outcomes_are_published_again() {
    let folder = tempfile::tempdir().unwrap();
    let hospital = rush(folder.path()).await;
    let mut events = hospital.listen();
    let pipeline = hospital.start(Options::default()).await;
    published(&mut events, 101).await;
    // No drain: the marks of the last commits are not written, as in a crash.
    std::mem::forget(pipeline);
    let mut events = hospital.listen();
    let pipeline = hospital.start(Options { owner: "next".into(), ..Options::default() }).await;
    let again = published(&mut events, 1).await;
    assert!(again.keys().all(|position| position.offset <= 101));
    pipeline.drain().await.unwrap();
}

/// A ledger that forgets everything at some calls, and says so to all who do not know it yet.
struct Forgetful {
    knows: Mutex<Arc<Memory>>,
    calls: AtomicUsize,
    /// The takeover under which it forgot last.
    forgot_under: AtomicU64,
}

impl Forgetful {
    fn knows(&self) -> Arc<Memory> {
        Arc::clone(&self.knows.lock().unwrap())
    }
}

#[async_trait]
impl Ledger for Forgetful {
    async fn apply(&self, requests: &[Request<'_>]) -> port::Result<Vec<Admission>> {
        let fence = requests[0].fence;
        let forgets = [2, 5, 9].contains(&self.calls.fetch_add(1, Ordering::SeqCst));
        if forgets && self.forgot_under.fetch_max(fence, Ordering::SeqCst) < fence {
            *self.knows.lock().unwrap() = Arc::default();
        }
        if fence <= self.forgot_under.load(Ordering::SeqCst) {
            return Err(Error::Lost("the test's ledger forgot everything".into()));
        }
        self.knows().apply(requests).await
    }
    async fn hold(&self, held: &HashMap<Partition, Fence>) -> port::Result<()> {
        self.knows().hold(held).await
    }
    async fn restore(&self, snapshots: Vec<(Fence, Snapshot)>) -> port::Result<()> {
        self.knows().restore(snapshots).await
    }
    async fn undo(&self, refused: &[Decision]) -> port::Result<()> {
        self.knows().undo(refused).await
    }
    async fn prune(&self, logged_at: Timestamp) -> port::Result<()> {
        self.knows().prune(logged_at).await
    }
    async fn remaining(&self) -> port::Result<Vec<(SessionId, u32)>> {
        self.knows().remaining().await
    }
}

/// Losing the ledger costs a pause, not a booking: every decision is the one that would have been made without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_ledger_is_restored_and_nothing_is_decided_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let hospital = Hospital::open(folder.path());
    for doctor in 0..4 {
        hospital.append(open(doctor, 40)).await;
    }
    for patient in 0..200 {
        hospital.append(book(patient, patient / 2, u8::try_from(patient % 4).unwrap())).await;
    }
    let ledger =
        Arc::new(Forgetful { knows: Mutex::default(), calls: AtomicUsize::new(0), forgot_under: AtomicU64::new(0) });
    let options = Options { workers: 2, epoch_records_max: 20, batch_records_max: 20, ..Options::default() };
    let mut events = hospital.listen();
    let pipeline = hospital.start_with(options, Arc::clone(&hospital.store) as _, Arc::clone(&ledger) as _).await;
    published(&mut events, 204).await;
    assert!(ledger.forgot_under.load(Ordering::SeqCst) > 0, "it forgot at least once");
    assert_eq!(hospital.outcomes().await, expected(&hospital).await);
    pipeline.drain().await.unwrap();
}

/// What lies in the log is not what was decided: it was lost, and others' records have come to lie in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_replaced_is_noticed_however_far_it_has_grown() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let hospital = Hospital::open(folder.path());
    let mut events = hospital.listen();
    let pipeline = hospital.start(Options::default()).await;
    same_log(&*hospital.log, &*hospital.store).await.expect("nothing is decided yet");
    hospital.append(open(1, 1)).await;
    hospital.append(book(1, 1, 1)).await;
    published(&mut events, 2).await;
    pipeline.drain().await.unwrap();
    same_log(&*hospital.log, &*hospital.store).await.expect("it is the one that was decided from");
    let outcomes = hospital.outcomes().await;

    let other = Hospital::open(elsewhere.path());
    other.clock.advance(Duration::from_secs(1));
    let replaced = Hospital { log: Arc::clone(&other.log), ..hospital };
    let refused = same_log(&*replaced.log, &*replaced.store).await.unwrap_err();
    assert!(matches!(&refused, Error::Corrupt(cause) if cause.contains("ends before offset 0")), "{refused}");
    let pipeline = replaced.start(Options::default()).await;
    assert!(stopped(&pipeline).await.contains("corrupt"), "it does not wait for records that were decided");
    assert!(pipeline.drain().await.is_err());

    for patient in 0..5 {
        replaced.append(book(patient, patient, 1)).await;
    }
    let refused = same_log(&*replaced.log, &*replaced.store).await.unwrap_err();
    assert!(matches!(&refused, Error::Corrupt(cause) if cause.contains("lost or replaced")), "{refused}");
    let pipeline = replaced.start(Options::default()).await;
    let cause = stopped(&pipeline).await;
    assert!(cause.contains("corrupt") && cause.contains("lost or replaced"), "{cause}");
    assert!(pipeline.drain().await.is_err());
    assert_eq!(replaced.outcomes().await, outcomes, "nothing of it was decided");
}
