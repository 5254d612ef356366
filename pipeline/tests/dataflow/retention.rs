//! What is decided and old leaves the log, and the store where it is told to; what is needed stays, however old.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use orderly_domain::port::{self, Feed, IntentLog as _, Store};
use orderly_domain::{Offset, Partition, partition_of};
use orderly_pipeline::{Options, Relay, Retention, StoreRetention};
use orderly_sinks::analytics::sqlite::Analytics;
use prometheus::Registry;
use tokio::sync::watch;

use crate::kit::{BeforeCommit, Hooked, Hospital, PARTITIONS, book, now, open, published, reference};

const KEEP: Duration = Duration::from_secs(3_600);

/// One round, and how many records it counted.
async fn round(hospital: &Hospital) -> u64 {
    round_on(hospital, Arc::clone(&hospital.store) as _).await
}

async fn round_on(hospital: &Hospital, store: Arc<dyn Store>) -> u64 {
    let registry = Registry::new();
    let log = Arc::clone(&hospital.log) as _;
    let retention = Retention::new(log, store, Arc::clone(&hospital.clock) as _, KEEP, &registry).unwrap();
    // It stops after the round that it begins with.
    let (_stop, stopped) = watch::channel(true);
    retention.run(stopped).await;
    counted(&registry, "orderly_log_trimmed_records_total ")
}

fn counted(registry: &Registry, name: &str) -> u64 {
    let metrics = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let count = metrics.lines().find_map(|line| line.strip_prefix(name));
    count.expect("it is registered").parse().unwrap()
}

/// Where the log starts and ends, over all partitions.
async fn extent(hospital: &Hospital) -> (Offset, Offset) {
    let extents = hospital.log.extents().await.unwrap();
    (extents.iter().map(|extent| extent.start).sum(), extents.iter().map(|extent| extent.end).sum())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_decided_and_old_leaves_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let hospital = Hospital::open(folder.path());
    let mut events = hospital.listen();
    let pipeline = hospital.start(Options::default()).await;
    for number in 0..10 {
        // Of two doctors, whose records lie in partitions of their own.
        let doctor = u8::try_from(number % 2).unwrap();
        if number < 2 {
            hospital.append(open(doctor, 10)).await;
        }
        hospital.append(book(number, number, doctor)).await;
    }
    published(&mut events, 12).await;
    hospital.clock.set(now().plus(KEEP));
    hospital.append(book(10, 10, 0)).await;
    published(&mut events, 1).await;
    pipeline.drain().await.unwrap();
    hospital.append(book(11, 11, 0)).await;
    hospital.append(book(12, 12, 1)).await;
    let outcomes = hospital.outcomes().await;
    assert_eq!((outcomes.len(), extent(&hospital).await), (13, (0, 15)));

    // Nothing is older than it may be.
    assert_eq!((round(&hospital).await, extent(&hospital).await), (0, (0, 15)));
    // The first twelve are; what was decided an hour later is not.
    hospital.clock.set(now().plus(KEEP + Duration::from_secs(1)));
    let before_commit =
        Box::new(|| async { Err(port::Error::MayHaveHappened("the disk failed".into())) }.boxed()) as BeforeCommit;
    let unsynced = Arc::new(Hooked { store: Arc::clone(&hospital.store), before_commit });
    assert_eq!(
        (round_on(&hospital, unsynced).await, extent(&hospital).await),
        (0, (0, 15)),
        "it may have to be decided again"
    );
    assert_eq!((round(&hospital).await, extent(&hospital).await), (12, (12, 15)));
    // However long it takes: nobody has decided the last two.
    hospital.clock.set(now().plus(100 * KEEP));
    assert_eq!((round(&hospital).await, extent(&hospital).await), (1, (13, 15)));
    assert_eq!(round(&hospital).await, 0);

    // They are decided after the restart, and go in their turn; every decision stays.
    let mut events = hospital.listen();
    let pipeline = hospital.start(Options::default()).await;
    published(&mut events, 2).await;
    pipeline.drain().await.unwrap();
    assert_eq!((round(&hospital).await, extent(&hospital).await), (2, (15, 15)));
    let after = hospital.outcomes().await;
    assert_eq!(after.len(), 15);
    assert!(outcomes.iter().all(|(position, outcome)| after[position] == *outcome));
    assert_eq!(hospital.store.progress().await.unwrap().iter().map(|progress| progress.next_offset).sum::<u64>(), 15);
}

const DAY: Duration = Duration::from_secs(86_400);

/// One round of the store's retention, which keeps a week, and how many decisions it counted.
async fn store_round(hospital: &Hospital, feed: &Arc<Analytics>) -> u64 {
    let registry = Registry::new();
    let (log, store, clock) = (Arc::clone(&hospital.log), Arc::clone(&hospital.store), Arc::clone(&hospital.clock));
    let feeds = vec![Arc::clone(feed) as Arc<dyn Feed>];
    let retention = StoreRetention::new(log, store, feeds, clock, 7, &registry).unwrap();
    let (_stop, stopped) = watch::channel(true);
    retention.run(stopped).await;
    counted(&registry, "orderly_store_pruned_decisions_total ")
}

/// Carries everything to a feed.
async fn relay(hospital: &Hospital, feed: &Arc<Analytics>) {
    let store = Arc::clone(&hospital.store) as _;
    let relay = Relay::new(&store, vec![Arc::clone(feed) as _], None, &Registry::new()).unwrap();
    // It catches up before it stops.
    let (_stop, stopped) = watch::channel(true);
    relay.run(stopped).await;
}

async fn kept(hospital: &Hospital, doctor: u8) -> Vec<Offset> {
    let rows = hospital.store.decisions(partition(doctor), 0, 100).await.unwrap();
    rows.iter().map(|row| row.decision.position.offset).collect()
}

fn partition(doctor: u8) -> Partition {
    partition_of(&reference(doctor).doctor_id, PARTITIONS)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_forgets_what_nobody_needs_any_more() {
    let (folder, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let hospital = Hospital::open(folder.path());
    let analytics = Arc::new(Analytics::open(folder.path(), Default::default(), &Registry::new()).unwrap());
    let mut events = hospital.listen();
    let pipeline = hospital.start(Options::default()).await;
    assert_eq!(store_round(&hospital, &analytics).await, 0, "nothing is decided");
    let other = (1..).find(|other| partition(*other) != partition(0)).unwrap();
    for command in [open(0, 10), book(0, 0, 0), open(other, 10), book(1, 1, other)] {
        hospital.append(command).await;
    }
    published(&mut events, 4).await;
    // The sessions are past by then.
    hospital.clock.set(now().plus(20 * DAY));
    for number in 2..4 {
        hospital.append(book(number, number, 0)).await;
    }
    published(&mut events, 2).await;
    pipeline.drain().await.unwrap();
    let outcomes = hospital.outcomes().await;

    assert_eq!(store_round(&hospital, &analytics).await, 0, "analytics have none of it");
    assert_eq!((kept(&hospital, 0).await, kept(&hospital, other).await), (vec![0, 1, 2, 3], vec![0, 1]));
    relay(&hospital, &analytics).await;
    assert_eq!(store_round(&hospital, &analytics).await, 3);
    // A partition's newest decision stays, however old: a takeover reads its time.
    assert_eq!((kept(&hospital, 0).await, kept(&hospital, other).await), (vec![2, 3], vec![1]));
    let today = now().plus(20 * DAY).to_jiff().to_zoned(jiff::tz::TimeZone::UTC).date();
    assert_eq!(hospital.store.kept_since().await.unwrap(), today.checked_sub(jiff::Span::new().days(7)).ok());

    // Who begins now has what is kept.
    let late = Arc::new(Analytics::open(empty.path(), Default::default(), &Registry::new()).unwrap());
    relay(&hospital, &late).await;
    let mut expected = vec![(partition(0), 4), (partition(other), 2)];
    expected.sort_unstable();
    assert_eq!(late.next_offsets().await.unwrap(), expected);

    // While nothing is decided, time does not pass: what waits may repeat what was decided last.
    hospital.clock.set(now().plus(400 * DAY));
    hospital.append(book(2, 2, 0)).await;
    assert_eq!(store_round(&hospital, &analytics).await, 0);
    let mut events = hospital.listen();
    let pipeline = hospital.start(Options::default()).await;
    published(&mut events, 1).await;
    pipeline.drain().await.unwrap();
    relay(&hospital, &analytics).await;
    assert_eq!(store_round(&hospital, &analytics).await, 2);
    let after = hospital.outcomes().await;
    assert_eq!(after.len(), 2);
    assert!(after.iter().all(|(position, outcome)| outcomes.get(position).is_none_or(|before| before == outcome)));
}
