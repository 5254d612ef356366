//! What is decided and old leaves the log; what is not decided stays, however old.

use std::sync::Arc;
use std::time::Duration;

use orderly_domain::Offset;
use orderly_domain::port::{IntentLog as _, Store as _};
use orderly_pipeline::{Options, Retention};
use prometheus::Registry;
use tokio::sync::watch;

use crate::kit::{Hospital, book, now, open, published};

const KEEP: Duration = Duration::from_secs(3_600);

/// One round, and how many records it counted.
async fn round(hospital: &Hospital) -> u64 {
    let registry = Registry::new();
    let (log, store) = (Arc::clone(&hospital.log) as _, Arc::clone(&hospital.store) as _);
    let retention = Retention::new(log, store, Arc::clone(&hospital.clock) as _, KEEP, &registry).unwrap();
    // It stops after the round that it begins with.
    let (_stop, stopped) = watch::channel(true);
    retention.run(stopped).await;
    let metrics = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let count = metrics.lines().find_map(|line| line.strip_prefix("orderly_log_trimmed_records_total "));
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
