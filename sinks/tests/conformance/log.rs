//! What every intent log must do.

pub(crate) mod kafka;
mod sqlite;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join_all;
use orderly_domain::clock::Timestamp;
use orderly_domain::port::Error;
use orderly_domain::port::log::{Appended, Delivery, Extent, IntentLog, LogReader, Record};
use orderly_domain::{Offset, Partition, Position};

/// How many partitions the suite asks for.
pub(crate) const PARTITIONS: u16 = 4;

/// Where one log lies. It may be opened as often as one likes, one after the other.
#[async_trait::async_trait]
pub(crate) trait Place {
    /// Whether records that come while one reads are in order over the partitions too, and not only those that lay in the
    /// log before.
    const ORDERS_WHAT_COMES: bool = true;

    /// Opens the log, with [`PARTITIONS`] partitions; it is new the first time.
    async fn open(&self) -> Arc<dyn IntentLog>;
}

/// Declares the suite's tests for an adapter, whose place is made by `$place`.
macro_rules! suite {
    ($place:expr) => {
        crate::log::suite!($place;
            appends_without_gaps, survives_reopening, merges_by_time, keeps_payloads, goes_on_from_a_seek,
            can_be_looked_at_beside_a_reader, tells_when_it_took_records, begins_anew_with_what_it_has,
            refuses_impossible_seeks, loses_nothing_to_a_dropped_future, delivers_what_comes_later, trims_what_is_decided,
            refuses_an_unknown_partition);
    };
    ($place:expr; $($name:ident),*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::log::$name(&$place).await;
            }
        )*
    };
}
pub(crate) use suite;

fn payload(number: usize) -> Vec<u8> {
    format!("record {number}").into_bytes()
}

/// Appends `count` records from many callers at once, spread over the partitions.
async fn fill(log: &dyn IntentLog, count: usize) -> Vec<(Appended, Vec<u8>)> {
    let appends = (0..count).map(|number| async move {
        let partition = u16::try_from(number * 7 % 11 % usize::from(PARTITIONS)).expect("small");
        (log.append(partition, "doctor", payload(number)).await.expect("it is taken"), payload(number))
    });
    join_all(appends).await
}

fn starts(extents: &[Extent]) -> Vec<(Partition, Offset)> {
    extents.iter().map(|extent| (extent.partition, extent.start)).collect()
}

fn ends(extents: &[Extent]) -> Vec<(Partition, Offset)> {
    extents.iter().map(|extent| (extent.partition, extent.end)).collect()
}

/// A reader that was assigned all partitions.
async fn assigned(log: &dyn IntentLog) -> Box<dyn LogReader> {
    let mut reader = log.reader().await.expect("it can be read");
    until_assigned(&mut *reader, log.partitions()).await;
    reader
}

/// Waits until all partitions were assigned.
async fn until_assigned(reader: &mut dyn LogReader, all: u16) {
    let mut partitions = HashSet::new();
    while partitions.len() < usize::from(all) {
        match reader.next(10).await.expect("it can be read") {
            Delivery::Assigned(more) => partitions.extend(more),
            other => panic!("nothing comes before the assignment: {other:?}"),
        }
    }
}

/// The next `count` records, read in small steps.
async fn take(reader: &mut dyn LogReader, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    while records.len() < count {
        let most = (count - records.len()).min(97);
        match reader.next(most).await.expect("it can be read") {
            Delivery::Records(more) => {
                assert!((1..=most).contains(&more.len()), "{} of at most {most}", more.len());
                records.extend(more);
            }
            other => panic!("nobody else reads: {other:?}"),
        }
    }
    records
}

/// All that the log holds.
async fn read_all(log: &dyn IntentLog) -> Vec<Record> {
    let extents = log.extents().await.expect("it can be read");
    let mut reader = assigned(log).await;
    reader.seek(&starts(&extents)).await.expect("the starts are there");
    let count: u64 = extents.iter().map(|extent| extent.end - extent.start).sum();
    take(&mut *reader, usize::try_from(count).expect("small")).await
}

fn assert_gap_free(records: &[Record], from: &[(Partition, Offset)]) {
    let mut next: BTreeMap<Partition, Offset> = from.iter().copied().collect();
    for record in records {
        let expected = next.get_mut(&record.position.partition).expect("a partition of the log");
        assert_eq!(record.position.offset, *expected, "offsets rise by one in partition {}", record.position.partition);
        *expected += 1;
    }
}

fn assert_in_order(records: &[Record]) {
    assert!(
        records.windows(2).all(|pair| (pair[0].logged_at, pair[0].position) < (pair[1].logged_at, pair[1].position)),
        "records are merged by time, then place"
    );
}

/// Every acknowledged record is in `records`, once, at its place, as it was appended.
fn assert_acknowledged(records: &[Record], acknowledged: &[(Appended, Vec<u8>)]) {
    let there: BTreeMap<_, _> = records.iter().map(|record| (record.position, record)).collect();
    assert_eq!(there.len(), records.len(), "no record comes twice");
    for (appended, payload) in acknowledged {
        let record = there.get(&appended.position).expect("an acknowledged record is there");
        assert_eq!((record.logged_at, &record.payload), (appended.logged_at, payload));
    }
}

pub(crate) async fn appends_without_gaps(place: &impl Place) {
    let log = place.open().await;
    assert_eq!(log.partitions(), PARTITIONS);
    let extents = log.extents().await.expect("it can be read");
    let none = (0..PARTITIONS).map(|partition| Extent { partition, start: 0, end: 0 });
    assert_eq!(extents, none.collect::<Vec<_>>(), "a new log is empty");
    let appended = fill(&*log, 1_000).await;
    let records = read_all(&*log).await;
    assert_eq!(records.len(), appended.len());
    assert_gap_free(&records, &starts(&extents));
    assert_acknowledged(&records, &appended);
}

pub(crate) async fn survives_reopening(place: &impl Place) {
    let mut acknowledged = Vec::new();
    for round in 1..=3 {
        let log = place.open().await;
        acknowledged.extend(fill(&*log, 200).await);
        let records = read_all(&*log).await;
        assert_eq!(records.len(), round * 200);
        assert_gap_free(&records, &starts(&log.extents().await.expect("it can be read")));
        assert_in_order(&records);
        assert_acknowledged(&records, &acknowledged);
    }
}

pub(crate) async fn merges_by_time(place: &impl Place) {
    let log = place.open().await;
    // One partition has nearly everything, so that it and the others are read at different speeds.
    for number in 0..20 {
        join_all((0..300).map(|at| log.append(if at == 150 { number % PARTITIONS } else { 1 }, "doctor", payload(at))))
            .await;
    }
    fill(&*log, 1_000).await;
    let records = read_all(&*log).await;
    assert_eq!(records.len(), 7_000);
    assert_in_order(&records);
}

pub(crate) async fn keeps_payloads(place: &impl Place) {
    let log = place.open().await;
    let all_bytes: Vec<u8> = (0..=255).collect();
    let payloads = [vec![], vec![0], vec![0; 5_000], all_bytes.repeat(40), b"\xff\xfe not UTF-8 \xc3".to_vec()];
    let mut acknowledged = Vec::new();
    for payload in payloads {
        acknowledged.push((log.append(2, "doctor", payload.clone()).await.expect("it is taken"), payload));
    }
    assert_acknowledged(&read_all(&*log).await, &acknowledged);
}

pub(crate) async fn goes_on_from_a_seek(place: &impl Place) {
    let log = place.open().await;
    fill(&*log, 400).await;
    let all = read_all(&*log).await;
    let middle: Vec<_> =
        log.extents().await.expect("it can be read").iter().map(|extent| (extent.partition, extent.end / 2)).collect();
    let after: Vec<_> = all
        .iter()
        .filter(|record| record.position.offset >= middle[usize::from(record.position.partition)].1)
        .cloned()
        .collect();
    let mut reader = assigned(&*log).await;
    assert!(reader.next(10).now_or_never().is_none(), "nothing is delivered before a seek");
    reader.seek(&middle).await.expect("the middle is there");
    assert_eq!(take(&mut *reader, after.len()).await, after);
    reader.seek(&middle).await.expect("the middle is there");
    assert_eq!(take(&mut *reader, 10).await, after[..10], "a reader can go back");
    reader.seek(&middle).await.expect("the middle is there");
    assert_eq!(take(&mut *reader, after.len()).await, after, "also when it had not read to the end");
    // One reader at a time: in a log that several share, the second would get a part.
    drop(reader);
    let one: Vec<_> = after.iter().filter(|record| record.position.partition == 1).cloned().collect();
    let mut reader = assigned(&*log).await;
    reader.seek(&middle[1..2]).await.expect("the middle is there");
    assert_eq!(take(&mut *reader, one.len()).await, one, "only what was sought is delivered");
}

pub(crate) async fn can_be_looked_at_beside_a_reader(place: &impl Place) {
    let log = place.open().await;
    fill(&*log, 400).await;
    let extents = log.extents().await.expect("it can be read");
    let mut reader = assigned(&*log).await;
    reader.seek(&ends(&extents)).await.expect("one may wait at the end");
    let from = (1, extents[1].end / 2);
    let mut scan = log.scan(&[from]).await.expect("the middle is there");
    let records = take(&mut *scan, usize::try_from(extents[1].end - from.1).expect("small")).await;
    assert!(records.iter().all(|record| record.position.partition == 1), "only what was asked for");
    assert_gap_free(&records, &[from]);
    assert!(matches!(log.scan(&[(1, extents[1].end + 1)]).await, Err(Error::Corrupt(_))), "nothing is there");
    let appended = log.append(1, "doctor", payload(0)).await.expect("it is taken");
    for reader in [&mut reader, &mut scan] {
        assert_eq!(take(&mut **reader, 1).await[0].position, appended.position, "both go on");
    }
}

pub(crate) async fn begins_anew_with_what_it_has(place: &impl Place) {
    let log = place.open().await;
    fill(&*log, 400).await;
    let from = starts(&log.extents().await.expect("it can be read"));
    let mut reader = assigned(&*log).await;
    let mut all = Vec::new();
    // Before a seek, in the middle, and at the end of the log.
    for read in [0, 150, 400] {
        reader.seek(&from).await.expect("the starts are there");
        all = take(&mut *reader, read).await;
        reader.restart();
        until_assigned(&mut *reader, PARTITIONS).await;
        assert!(reader.next(10).now_or_never().is_none(), "nothing is delivered before a seek");
    }
    assert_eq!(all.len(), 400);
    let appended = log.append(3, "doctor", payload(0)).await.expect("it is taken");
    assert!(reader.next(10).now_or_never().is_none(), "not even what comes");
    reader.seek(&from).await.expect("the starts are there");
    assert_eq!(take(&mut *reader, 400).await, all);
    assert_eq!(take(&mut *reader, 1).await[0].position, appended.position, "it goes on");
}

pub(crate) async fn tells_when_it_took_records(place: &impl Place) {
    let log = place.open().await;
    let appended = fill(&*log, 400).await;
    let extents = log.extents().await.expect("it can be read");
    // The first record of one partition, one in the middle of another, the last of a third, and one behind it.
    let offsets = [0, extents[1].end / 2, extents[2].end - 1, extents[3].end];
    let places: Vec<_> = (0..).zip(offsets).map(|(partition, offset)| Position { partition, offset }).collect();
    let times = log.logged_at(&places).await.expect("it can be read");
    for (place, time) in places.iter().zip(&times) {
        let taken = appended.iter().find(|(appended, _)| appended.position == *place);
        assert_eq!(*time, taken.map(|(appended, _)| appended.logged_at), "{place}");
    }
    assert_eq!(times[3], None, "nothing is there yet");
    let elsewhere = Position { partition: PARTITIONS, offset: 0 };
    assert_eq!(log.logged_at(&[elsewhere]).await.expect("it can be read"), [None]);
    assert_eq!(log.trouble(), None, "and nothing stands in its way");
}

pub(crate) async fn refuses_impossible_seeks(place: &impl Place) {
    let log = place.open().await;
    fill(&*log, 40).await;
    let extents = log.extents().await.expect("it can be read");
    let mut reader = assigned(&*log).await;
    let beyond = extents[2].end + 1;
    match reader.seek(&[(2, beyond)]).await {
        Err(Error::Corrupt(cause)) => {
            assert!(cause.contains("partition 2") && cause.contains(&beyond.to_string()), "{cause}");
        }
        other => panic!("nothing is there: {other:?}"),
    }
    assert!(matches!(reader.seek(&[(PARTITIONS, 0)]).await, Err(Error::Corrupt(_))), "no such partition");
    reader.seek(&ends(&extents)).await.expect("one may wait at the end");
    let appended = log.append(2, "doctor", payload(0)).await.expect("it is taken");
    assert_eq!(take(&mut *reader, 1).await[0].position, appended.position);
}

pub(crate) async fn loses_nothing_to_a_dropped_future<P: Place>(place: &P) {
    let log = place.open().await;
    let mut appended = fill(&*log, 2_000).await;
    let mut reader = assigned(&*log).await;
    reader.seek(&starts(&log.extents().await.expect("it can be read"))).await.expect("the starts are there");
    let mut records = Vec::new();
    for more in [100, 0] {
        while records.len() < appended.len() {
            // Polled once and dropped, as a `select!` does; what it had begun to read must come later.
            match reader.next(13).now_or_never() {
                Some(Ok(Delivery::Records(more))) => records.extend(more),
                Some(other) => panic!("only records are left: {other:?}"),
                None => tokio::task::yield_now().await,
            }
        }
        // At the end of the log a call is sure to be dropped while it waits; what comes next must not be lost to it.
        assert!(reader.next(13).now_or_never().is_none(), "nothing is left");
        appended.extend(fill(&*log, more).await);
    }
    assert_in_order(if P::ORDERS_WHAT_COMES { &records } else { &records[..2_000] });
    assert_acknowledged(&records, &appended);
}

pub(crate) async fn delivers_what_comes_later(place: &impl Place) {
    let log = place.open().await;
    let mut reader = assigned(&*log).await;
    reader.seek(&starts(&log.extents().await.expect("it can be read"))).await.expect("the starts are there");
    for number in 0..50 {
        let partition = u16::try_from(number).expect("small") % PARTITIONS;
        let waiting = take(&mut *reader, 1);
        let (records, appended) = tokio::join!(waiting, log.append(partition, "doctor", payload(number)));
        assert_acknowledged(&records, &[(appended.expect("it is taken"), payload(number))]);
    }
}

pub(crate) async fn trims_what_is_decided(place: &impl Place) {
    let log = place.open().await;
    fill(&*log, 400).await;
    let before = log.extents().await.expect("it can be read");
    // Partition 0 is wholly decided, 1 in part, 2 not at all.
    let decided = [(0, before[0].end), (1, before[1].end - 3), (2, 0)];
    assert_eq!(log.trim(Timestamp::from_micros(0), &decided).await.expect("it can be trimmed"), 0, "nothing is so old");
    let later = Timestamp::from_micros(i64::MAX);
    let dropped = log.trim(later, &decided).await.expect("it can be trimmed");
    let after = log.extents().await.expect("it can be read");
    assert_eq!(ends(&after), ends(&before), "ends stay");
    assert!(decided.iter().all(|(partition, offset)| after[usize::from(*partition)].start <= *offset), "decided first");
    let started: u64 = after.iter().zip(&before).map(|(after, before)| after.start - before.start).sum();
    assert_eq!(started, dropped, "starts move as far as was dropped");
    drop(log);

    let log = place.open().await;
    assert_eq!(log.extents().await.expect("it can be read"), after, "after a restart too");
    let kept = read_all(&*log).await;
    assert_gap_free(&kept, &starts(&after));
    let appended = log.append(0, "doctor", payload(0)).await.expect("it is taken");
    assert_eq!(appended.position.offset, after[0].end, "offsets are never given out again");
    assert!(kept.iter().all(|record| record.logged_at <= appended.logged_at), "times go on");
    if let Some(trimmed) = after[0].start.checked_sub(1) {
        let mut reader = assigned(&*log).await;
        assert!(matches!(reader.seek(&[(0, trimmed)]).await, Err(Error::Corrupt(_))), "what was dropped is not there");
    }
}

pub(crate) async fn refuses_an_unknown_partition(place: &impl Place) {
    let log = place.open().await;
    assert!(matches!(log.append(PARTITIONS, "doctor", payload(0)).await, Err(Error::DidNotHappen(_))));
    let waited = tokio::time::timeout(Duration::from_secs(30), log.append(PARTITIONS - 1, "doctor", payload(0))).await;
    assert_eq!(waited.expect("in time").expect("it is taken").position.offset, 0, "the log goes on");
}
