//! The embedded log: the suite, and what is its own.

use std::path::Path;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::join_all;
use orderly_domain::Position;
use orderly_domain::clock::{Clock, Manual, System, Timestamp};
use orderly_domain::port::Error;
use orderly_domain::port::log::{Appended, Extent, IntentLog, Record};
use orderly_sinks::log::sqlite::{Import, Log, Options};
use orderly_sinks::metrics;
use prometheus::Registry;
use tempfile::TempDir;

use super::{
    PARTITIONS, Place, assert_acknowledged, assert_gap_free, assert_in_order, assigned, ends, fill, payload, read_all,
    starts, take,
};

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder can be made"))
    }
}

#[async_trait::async_trait]
impl Place for Folder {
    async fn open(&self) -> Arc<dyn IntentLog> {
        Arc::new(open(self.0.path(), options()).expect("it can be opened"))
    }
}

super::suite!(Folder::new());

/// Behind a breaker.
mod guarded {
    use super::*;

    struct Guarded(Folder);

    #[async_trait::async_trait]
    impl Place for Guarded {
        async fn open(&self) -> Arc<dyn IntentLog> {
            crate::guarded::guards().log(self.0.open().await)
        }
    }

    super::super::suite!(Guarded(Folder::new()));
}

fn options() -> Options {
    Options { partitions: PARTITIONS, ..Options::default() }
}

fn open(folder: &Path, options: Options) -> Result<Log, Error> {
    Log::open(folder, options, Arc::new(System), &Registry::new())
}

fn refusal(outcome: Result<Log, Error>) -> String {
    match outcome {
        Err(Error::DidNotHappen(cause)) => cause,
        Err(other) => panic!("another refusal: {other}"),
        Ok(_) => panic!("it was opened"),
    }
}

fn value(registry: &Registry, name: &str) -> f64 {
    let family = registry.gather().into_iter().find(|family| family.name() == name).expect("it is registered");
    let metric = &family.get_metric()[0];
    metric.get_counter().get_value() + metric.get_gauge().get_value()
}

#[tokio::test]
async fn one_folder_has_one_writer() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let log = open(folder.path(), options()).expect("it can be opened");
    let cause = refusal(open(folder.path(), options()));
    assert!(cause.contains(&folder.path().display().to_string()) && cause.contains("in use"), "{cause}");
    log.append(0, "doctor", payload(0)).await.expect("the first one is not disturbed");
    log.close().await;
    assert!(matches!(log.append(0, "doctor", payload(0)).await, Err(Error::DidNotHappen(_))), "closed is closed");
    let again = open(folder.path(), options()).expect("the folder is free once it is closed");
    drop(log);
    drop(again);
    open(folder.path(), options()).expect("and once it is dropped");
}

#[tokio::test]
async fn the_number_of_partitions_is_fixed() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    drop(open(folder.path(), options()).expect("it can be opened"));
    let cause = refusal(open(folder.path(), Options { partitions: 5, ..options() }));
    assert!(cause.contains("4 partitions") && cause.contains('5'), "{cause}");
    for partitions in [0, Options::PARTITIONS_MAX + 1] {
        refusal(open(folder.path(), Options { partitions, ..options() }));
    }
    refusal(open(folder.path(), Options { queue_records_max: 0, ..options() }));
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    drop(open(folder.path(), options()).expect("it can be opened"));
    let connection = rusqlite::Connection::open(folder.path().join("log.sqlite")).expect("it is a database");
    connection.pragma_update(None, "user_version", 99).expect("it can be written");
    drop(connection);
    for refusal in [open(folder.path(), options()).err(), Log::open_read_only(folder.path()).err()] {
        let refusal = refusal.expect("it is refused").to_string();
        assert!(refusal.contains("version 99"), "{refusal}");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named() {
    let parent = tempfile::tempdir().expect("a folder can be made");
    // A file where the folder should be: not even root can write into it.
    let folder = parent.path().join("data");
    std::fs::write(&folder, b"").expect("a file can be made");
    for folder in [folder.clone(), folder.join("below")] {
        let cause = refusal(open(&folder, options()));
        assert!(cause.contains(&folder.display().to_string()) && cause.contains("cannot be written"), "{cause}");
    }
    let cause = refusal(Log::open_read_only(&parent.path().join("nothing")));
    assert!(cause.contains("no intent log"), "{cause}");
}

#[tokio::test]
async fn a_file_that_is_no_log_is_refused() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::write(folder.path().join("log.sqlite"), [0xA5; 8_192]).expect("a file can be made");
    assert!(matches!(open(folder.path(), options()), Err(Error::Corrupt(_))));
    assert!(matches!(Log::open_read_only(folder.path()), Err(Error::Corrupt(_))));
}

/// Copies the files of an open log, as a crash would leave them.
fn crash(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().expect("a folder can be made");
    for file in ["log.sqlite", "log.sqlite-wal"] {
        std::fs::copy(folder.join(file), copy.path().join(file)).expect("it can be copied");
    }
    copy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn survives_a_torn_write() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let log = open(folder.path(), options()).expect("it can be opened");
    let mut acknowledged = fill(&log, 500).await;
    let write_ahead_log = |folder: &Path| folder.join("log.sqlite-wal");
    let durable_bytes = std::fs::metadata(write_ahead_log(folder.path())).expect("it is there").len();
    let later = fill(&log, 300).await;

    // Garbage after the last commit, as of a write that never ended.
    let torn = crash(folder.path());
    let mut bytes = std::fs::read(write_ahead_log(torn.path())).expect("it is there");
    bytes.extend([0xA5; 10_000]);
    std::fs::write(write_ahead_log(torn.path()), bytes).expect("it can be written");
    acknowledged.extend(later);
    check_reopened(torn.path(), &acknowledged).await;

    // The second half never reached the device: whatever is cut off there, the first half is whole.
    for extra in [0, 1, 24, 4_000] {
        let torn = crash(folder.path());
        let file = std::fs::File::options().write(true).open(write_ahead_log(torn.path())).expect("it is there");
        file.set_len(durable_bytes + extra).expect("it can be cut");
        drop(file);
        check_reopened(torn.path(), &acknowledged[..500]).await;
    }
}

/// The log in `folder` has what was acknowledged and goes on where it ends.
async fn check_reopened(folder: &Path, acknowledged: &[(Appended, Vec<u8>)]) {
    let checker = Log::open_read_only(folder).expect("it can be read after a crash");
    assert_acknowledged(&read_all(&checker).await, acknowledged);
    drop(checker);
    let log = open(folder, options()).expect("it can be opened");
    let records = read_all(&log).await;
    assert_eq!(records.len(), acknowledged.len(), "nothing half written is there");
    let extents = log.extents().await.expect("it can be read");
    assert_gap_free(&records, &starts(&extents));
    assert_in_order(&records);
    assert_acknowledged(&records, acknowledged);
    let appended = log.append(3, "doctor", payload(0)).await.expect("it is taken");
    assert_eq!(appended.position.offset, extents[3].end);
}

/// After a kill the write-ahead log may have what the disk has not, and never will when a sync has failed: it is written once
/// more, into the file, before it is read.
#[tokio::test]
async fn what_a_kill_left_is_in_the_file_before_it_is_read() {
    let killed = tempfile::tempdir().expect("a folder can be made");
    let log = open(killed.path(), options()).expect("it can be opened");
    let appended = fill(&log, 100).await;
    let left = crash(killed.path());
    let _reopened = open(left.path(), options()).expect("it can be opened");
    let file = tempfile::tempdir().expect("a folder can be made");
    std::fs::copy(left.path().join("log.sqlite"), file.path().join("log.sqlite")).expect("it can be copied");
    let alone = open(file.path(), options()).expect("it can be opened");
    assert_acknowledged(&read_all(&alone).await, &appended);
}

#[tokio::test]
async fn a_log_that_cannot_be_brought_to_the_disk_is_not_opened() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let log = open(folder.path(), options()).expect("it can be opened");
    fill(&log, 10).await;
    let reader = rusqlite::Connection::open(folder.path().join("log.sqlite")).expect("it is a database");
    let tables = "SELECT count(*) FROM sqlite_schema";
    reader.execute_batch("BEGIN").expect("it begins");
    reader.query_row(tables, [], |_| Ok(())).expect("it reads");
    let appended = fill(&log, 10).await;
    drop(log);
    let refused = open(folder.path(), options()).map(|_| ()).expect_err("what came later cannot be copied");
    assert!(refused.to_string().contains("reads the file as it was; end the other program"), "{refused}");
    drop(reader);
    let log = open(folder.path(), options()).expect("it can be opened");
    assert!(read_all(&log).await.len() >= appended.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing_and_passes() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let registry = Registry::new();
    let limited = Options { size_max_bytes: Some(256 * 1024), ..options() };
    let log = Log::open(folder.path(), limited, Arc::new(System), &registry).expect("it can be opened");
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    while refused < 3 {
        let appends = join_all((0..50_u8).map(|at| {
            let payload = vec![at; 500];
            let append = log.append(u16::from(at) % PARTITIONS, "doctor", payload.clone());
            append.map(|outcome| (outcome, payload))
        }));
        for (outcome, payload) in appends.await {
            match outcome {
                Ok(appended) => acknowledged.push((appended, payload)),
                Err(Error::StorageFull(_)) => refused += 1,
                Err(other) => panic!("it did not fail otherwise: {other}"),
            }
        }
    }
    assert!(acknowledged.len() > 100, "there was room for some: {}", acknowledged.len());
    assert!(value(&registry, metrics::LOG_STORAGE_FULL_TOTAL) >= 1.0);
    assert!(log.failed().now_or_never().is_none(), "a full disk is not the end");
    let records = read_all(&log).await;
    assert_eq!(records.len(), acknowledged.len(), "what was refused is not there");
    assert_acknowledged(&records, &acknowledged);

    let decided = ends(&log.extents().await.expect("it can be read"));
    let dropped = log.trim(Timestamp::from_micros(i64::MAX), &decided).await.expect("it can be trimmed");
    assert_eq!(dropped, records.len() as u64);
    let appended = log.append(1, "doctor", vec![7; 500]).await.expect("there is room again");
    assert_eq!(appended.position.offset, decided[1].1, "no offset was lost to a refusal");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trims_by_age_in_every_partition() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let clock = Arc::new(Manual::at(Timestamp::from_millis(1_000)));
    let log = Log::open(folder.path(), options(), clock.clone(), &Registry::new()).expect("it can be opened");
    for _ in 0..5 {
        fill(&log, 5_000).await;
    }
    let old = log.extents().await.expect("it can be read");
    clock.set(Timestamp::from_millis(2_000_000));
    let young = fill(&log, 100).await;
    let decided = ends(&log.extents().await.expect("it can be read"));
    let dropped = log.trim(Timestamp::from_millis(2_000_000), &decided).await.expect("it can be trimmed");
    assert_eq!(dropped, 25_000, "all that is old, in however many steps");
    assert_eq!(starts(&log.extents().await.expect("it can be read")), ends(&old));
    assert_acknowledged(&read_all(&log).await, &young);
}

#[tokio::test]
async fn times_rise_whatever_the_clock_does() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let clock = Arc::new(Manual::at(Timestamp::from_micros(1_000)));
    let open =
        |clock: Arc<dyn Clock>| Log::open(folder.path(), options(), clock, &Registry::new()).expect("it can be opened");
    let mut last = Timestamp::from_micros(0);
    for (micros, expected) in [(1_000, 1_000), (1_000, 1_001), (500, 1_002), (2_000, 2_000), (-5, 2_001)] {
        clock.set(Timestamp::from_micros(micros));
        let log = open(clock.clone());
        last = log
            .append(u16::try_from(expected % 4).expect("small"), "doctor", payload(0))
            .await
            .expect("it is taken")
            .logged_at;
        assert_eq!(last.as_micros(), expected);
    }
    let log = open(clock.clone());
    let decided = ends(&log.extents().await.expect("it can be read"));
    assert_eq!(log.trim(Timestamp::from_micros(i64::MAX), &decided).await.expect("it can be trimmed"), 5);
    drop(log);
    let appended = open(clock).append(0, "doctor", payload(0)).await.expect("it is taken");
    assert!(appended.logged_at > last, "also when no record is left to tell");
}

#[tokio::test]
async fn a_full_queue_refuses_and_closing_answers_it() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let small = Options { queue_records_max: 8, group_records_max: 2, ..options() };
    let log = open(folder.path(), small).expect("it can be opened");
    // On one thread nothing takes the answers meanwhile: far more are asked for than fit in the queue.
    let outcomes = join_all((0..5_000).map(|at| log.append(0, "doctor", payload(at)))).await;
    let (taken, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert!(refused.iter().all(|outcome| matches!(outcome, Err(Error::Overloaded(_)))), "only for want of room");
    assert!(!refused.is_empty() && taken.len() >= 8, "{} refused", refused.len());

    let waiting: Vec<_> = (0..8).map(|at| log.append(0, "doctor", payload(at))).collect();
    let (answers, ()) = tokio::join!(join_all(waiting), log.close());
    assert!(answers.iter().all(Result::is_ok), "what was queued is served before it ends: {answers:?}");
    let reopened = open(folder.path(), options()).expect("it can be opened");
    assert_eq!(reopened.extents().await.expect("it can be read")[0].end, taken.len() as u64 + 8);
}

#[tokio::test]
async fn a_payload_that_is_too_long_is_refused() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let log = open(folder.path(), Options { payload_bytes_max: 10, ..options() }).expect("it can be opened");
    assert!(matches!(log.append(0, "doctor", vec![1; 11]).await, Err(Error::DidNotHappen(_))));
    log.append(0, "doctor", vec![1; 10]).await.expect("that fits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checker_reads_while_another_writes() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let log = open(folder.path(), options()).expect("it can be opened");
    let mut acknowledged = fill(&log, 100).await;
    let checker = Log::open_read_only(folder.path()).expect("it needs no lock");
    assert_eq!(checker.partitions(), PARTITIONS);
    assert_eq!(checker.extents().await.expect("it can be read"), log.extents().await.expect("it can be read"));
    let mut reader = assigned(&checker).await;
    reader.seek(&[(0, 0), (1, 0), (2, 0), (3, 0)]).await.expect("the starts are there");
    let mut records = take(&mut *reader, 100).await;
    acknowledged.extend(fill(&log, 100).await);
    records.extend(take(&mut *reader, 100).await);
    assert_acknowledged(&records, &acknowledged);
    assert!(matches!(checker.append(0, "doctor", payload(0)).await, Err(Error::DidNotHappen(_))));
    assert!(matches!(checker.trim(Timestamp::from_micros(0), &[]).await, Err(Error::DidNotHappen(_))));
}

/// Removes a record behind the log's back.
fn remove_record(folder: &Path, partition: u16, offset: i64) {
    let connection = rusqlite::Connection::open(folder.join("log.sqlite")).expect("it is a database");
    let sql = "DELETE FROM records WHERE partition = ?1 AND log_offset = ?2";
    assert_eq!(connection.execute(sql, (partition, offset)).expect("it can be written"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_never_skipped() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let log = open(folder.path(), options()).expect("it can be opened");
    fill(&log, 100).await;
    remove_record(folder.path(), 1, 5);
    let mut reader = assigned(&log).await;
    reader.seek(&[(1, 0)]).await.expect("the start is there");
    for _ in 0..2 {
        match reader.next(100).await {
            Err(Error::Corrupt(cause)) => assert!(cause.contains("1/5"), "{cause}"),
            other => panic!("a gap was passed over: {other:?}"),
        }
    }
    reader.seek(&[(1, 6)]).await.expect("what follows is there");
    assert_eq!(take(&mut *reader, 1).await[0].position.offset, 6);
    drop((reader, log));
    remove_record(folder.path(), 1, 0);
    assert!(matches!(open(folder.path(), options()), Err(Error::Corrupt(_))), "a lost start is found on opening");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_in_the_way_stops_the_writer() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let log = open(folder.path(), options()).expect("it can be opened");
    fill(&log, 20).await;
    let end = log.extents().await.expect("it can be read")[0].end;
    let connection = rusqlite::Connection::open(folder.path().join("log.sqlite")).expect("it is a database");
    let offset = i64::try_from(end).expect("small");
    connection.execute("INSERT INTO records VALUES (0, ?1, 0, x'00')", [offset]).expect("it can be written");
    drop(connection);
    assert!(matches!(log.append(0, "doctor", payload(0)).await, Err(Error::DidNotHappen(_))), "it was not taken");
    let cause = log.failed().await;
    assert!(cause.contains("restart"), "{cause}");
    assert!(
        matches!(log.append(1, "doctor", payload(0)).await, Err(Error::DidNotHappen(_))),
        "and nothing is any more"
    );
    assert!(matches!(log.trim(Timestamp::from_micros(0), &[]).await, Err(Error::DidNotHappen(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_a_long_log_of_uneven_partitions_in_order() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let roomy = Options { queue_records_max: 100_000, ..options() };
    let registry = Registry::new();
    let log = Log::open(folder.path(), roomy, Arc::new(System), &registry).expect("it can be opened");
    // More than a read takes from a partition, first in one, then in another, then in all.
    for pattern in [&[0][..], &[1, 1, 1, 2], &[0, 1, 2, 3]] {
        let appends = (0..20_000).map(|at| log.append(pattern[at % pattern.len()], "doctor", vec![0; 20]));
        assert!(join_all(appends).await.iter().all(Result::is_ok));
    }
    let records = read_all(&log).await;
    assert_eq!(records.len(), 60_000);
    assert_in_order(&records);
    let extents = log.extents().await.expect("it can be read");
    assert_gap_free(&records, &starts(&extents));
    assert_eq!(extents.iter().map(|Extent { end, .. }| end).sum::<u64>(), 60_000);
    assert!((value(&registry, metrics::LOG_APPENDED_TOTAL) - 60_000.0).abs() < 0.5);
    assert!(value(&registry, metrics::LOG_SIZE_BYTES) > 60_000.0 * 20.0);
}

fn record(partition: u16, offset: u64, millis: i64) -> Record {
    let logged_at = Timestamp::from_millis(millis);
    Record {
        position: Position { partition, offset },
        logged_at,
        payload: format!("{partition}/{offset}").into_bytes(),
    }
}

/// More records have one time than a read takes from a partition, as in a log from elsewhere they may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_keeps_places_and_times() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut records: Vec<_> = [(0, 30_000, 5_000), (1, 12_000, 1), (3, 20_000, 40_000)]
        .into_iter()
        .flat_map(|(partition, count, per_milli)| {
            (0..count).map(move |offset: i64| record(partition, offset.unsigned_abs(), offset / per_milli))
        })
        .collect();
    records.sort_by_key(|record| (record.logged_at, record.position));
    let mut import = Import::begin(folder.path(), PARTITIONS).expect("it is new");
    refusal(open(folder.path(), options()));
    for batch in records.chunks(4_096) {
        import.add(batch).expect("they are taken");
    }
    drop(import);
    assert_eq!(read_all(&Log::open_read_only(folder.path()).expect("it is there")).await, records);

    let log = open(folder.path(), options()).expect("it is a log like any other");
    let last = records.last().expect("there are records").logged_at;
    assert!(log.append(0, "doctor", payload(0)).await.expect("it is taken").logged_at > last);
    drop(log);
    assert!(matches!(Import::begin(folder.path(), PARTITIONS), Err(Error::DidNotHappen(_))), "it has records");
}

#[tokio::test]
async fn an_import_is_refused_out_of_order() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut import = Import::begin(folder.path(), PARTITIONS).expect("it is new");
    import.add(&[record(1, 0, 10), record(0, 0, 5), record(1, 1, 10)]).expect("each partition is in order");
    for wrong in [record(1, 3, 11), record(1, 1, 11), record(1, 2, 9), record(PARTITIONS, 0, 11)] {
        let both = [record(0, 1, 5), wrong];
        assert!(matches!(import.add(&both), Err(Error::Corrupt(_))), "{both:?}");
    }
    import.add(&[record(0, 1, 5), record(1, 2, 10)]).expect("what failed left nothing");
    assert!(matches!(Import::begin(folder.path(), PARTITIONS), Err(Error::DidNotHappen(_))), "one at a time");
}

/// The pipeline's reader is handed what was just written, and reads the file when it was left behind or lost its place to
/// another: either way it gets every record once, in order.
#[tokio::test]
async fn a_reader_that_follows_gets_every_record_once() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let log = open(folder.path(), options()).expect("it can be opened");
    let mut acknowledged = fill(&log, 40).await;
    let mut reader = assigned(&log).await;
    reader.seek(&starts(&log.extents().await.expect("it can be read"))).await.expect("the starts are there");
    let mut records = take(&mut *reader, 40).await;
    // More than are kept for it come in the third round, and another reader takes its place in the fifth.
    for (round, count) in [30, 1, 10_000, 50, 60, 70].into_iter().enumerate() {
        acknowledged.extend(fill(&log, count).await);
        if round == 4 {
            assert_eq!(read_all(&log).await.len(), acknowledged.len());
        }
        records.extend(take(&mut *reader, count).await);
    }
    assert_gap_free(&records, &(0..PARTITIONS).map(|partition| (partition, 0)).collect::<Vec<_>>());
    assert_in_order(&records);
    assert_acknowledged(&records, &acknowledged);
    // What it has not fetched yet is there again after it was sent back.
    acknowledged.extend(fill(&log, 20).await);
    reader.seek(&starts(&log.extents().await.expect("it can be read"))).await.expect("the starts are there");
    assert_acknowledged(&take(&mut *reader, acknowledged.len()).await, &acknowledged);
}
