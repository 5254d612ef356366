//! The log on Kafka: the suite, and what is its own. Against real brokers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join_all;
use orderly_domain::port::Error;
use orderly_domain::port::log::{Appended, Delivery, Extent, IntentLog, LogReader, Record};
use orderly_domain::{Offset, Partition, Position};
use orderly_sinks::log::kafka::{Log, Options};
use orderly_sinks::metrics;
use orderly_stack::kafka::Kafka;
use prometheus::Registry;
use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tempfile::TempDir;

use super::{
    PARTITIONS, Place, assert_acknowledged, assert_gap_free, assert_in_order, assigned, ends, fill, payload, read_all,
    starts, take,
};

/// The broker of all tests that do it no harm. Its folder goes with the next run.
static SHARED: LazyLock<Kafka> = LazyLock::new(|| {
    let folder = shared_folder();
    Kafka::start(&folder, &orderly_stack::kafka::Options::default()).expect("Kafka can be started")
});

const FOLDER_PREFIX: &str = "orderly-conformance-kafka-";

/// A folder of this process; those of processes that are gone are removed.
fn shared_folder() -> PathBuf {
    let parent = std::env::temp_dir();
    for entry in std::fs::read_dir(&parent).expect("it can be read").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(process) = name.strip_prefix(FOLDER_PREFIX)
            && !PathBuf::from(format!("/proc/{process}")).exists()
        {
            // Another run may be quicker.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    parent.join(format!("{FOLDER_PREFIX}{}", std::process::id()))
}

/// Where the shared broker is.
pub(crate) fn brokers() -> String {
    SHARED.brokers()
}

/// A name that no other test has.
pub(crate) fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

struct Topic(Options);

impl Topic {
    async fn new() -> Self {
        let brokers = tokio::task::spawn_blocking(brokers).await.expect("Kafka can be started");
        Self(options(&brokers))
    }
}

/// Of a topic and a group of their own.
fn options(brokers: &str) -> Options {
    let topic = unique("intents");
    Options { brokers: brokers.into(), group: topic.clone(), topic, partitions: PARTITIONS, ..Options::default() }
}

#[async_trait::async_trait]
impl Place for Topic {
    /// A record's time is the broker's and in milliseconds: what comes while one reads has no order over partitions.
    const ORDERS_WHAT_COMES: bool = false;

    async fn open(&self) -> Arc<dyn IntentLog> {
        Arc::new(open(&self.0).await.expect("it can be opened"))
    }
}

super::suite!(Topic::new().await);

async fn open(options: &Options) -> Result<Log, Error> {
    Log::open(options.clone(), &Registry::new()).await
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

fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers).create().expect("it can be made")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_topic_is_refused() {
    let place = Topic::new().await;
    drop(place.open().await);
    let cause = refusal(open(&Options { partitions: 5, ..place.0.clone() }).await);
    assert!(cause.contains("has 4 partitions") && cause.contains("5 are configured"), "{cause}");

    let admin = admin(&place.0.brokers);
    let topic = ResourceSpecifier::Topic(&place.0.topic);
    let altered = AlterConfig::new(topic).set("message.timestamp.type", "CreateTime");
    admin.alter_configs([&altered], &AdminOptions::new()).await.expect("it answers")[0]
        .as_ref()
        .expect("it is altered");
    let cause = loop {
        // A broker learns of it in its own time.
        if let Err(cause) = open(&place.0).await {
            break cause.to_string();
        }
    };
    assert!(cause.contains("message.timestamp.type=CreateTime and needs LogAppendTime"), "{cause}");

    let long = Options { payload_bytes_max: 2_000_000, ..options(&place.0.brokers) };
    let short =
        NewTopic::new(&long.topic, 4, TopicReplication::Fixed(1)).set("message.timestamp.type", "LogAppendTime");
    admin.create_topics([&short], &AdminOptions::new()).await.expect("it answers")[0].as_ref().expect("it is made");
    let cause = refusal(open(&long).await);
    assert!(cause.contains("max.message.bytes"), "{cause}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_out_of_range_is_named() {
    for (options, name) in [
        (Options { brokers: String::new(), ..Options::default() }, "brokers"),
        (Options { partitions: 0, ..Options::default() }, "partitions"),
        (Options { payload_bytes_max: 0, ..Options::default() }, "payload_bytes_max"),
        (Options { delivery_timeout: Duration::from_secs(1), ..Options::default() }, "delivery_timeout"),
    ] {
        let cause = refusal(open(&options).await);
        assert!(cause.contains(name), "{cause}");
    }
    // Nobody listens on the discard port.
    let nowhere =
        Options { brokers: "127.0.0.1:9".into(), request_timeout: Duration::from_millis(500), ..Options::default() };
    let cause = refusal(open(&nowhere).await);
    assert!(cause.contains("127.0.0.1:9") && cause.contains("brokers run"), "{cause}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_delivers_what_waits() {
    let place = Topic::new().await;
    let registry = Registry::new();
    let log = Log::open(Options { linger: Duration::from_millis(500), ..place.0.clone() }, &registry)
        .await
        .expect("it can be opened");
    let mut waiting: Vec<_> = (0..100).map(|at| log.append(1, "doctor", payload(at))).collect();
    for append in &mut waiting {
        assert!(append.now_or_never().is_none(), "it waits for company");
    }
    // The futures are gone; what they had given is not.
    drop(waiting);
    log.close().await;
    assert!(matches!(log.append(1, "doctor", payload(0)).await, Err(Error::DidNotHappen(_))), "closed is closed");
    assert!((value(&registry, metrics::LOG_APPENDED_TOTAL) - 100.0).abs() < 0.5);
    let records = read_all(&*place.open().await).await;
    assert_eq!(records.len(), 100);
    assert!(records.iter().zip(0..).all(|(record, at)| record.payload == payload(at)), "in the order they were given");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_that_is_too_long_is_refused() {
    let place = Topic::new().await;
    let log = open(&Options { payload_bytes_max: 2_000_000, ..place.0 }).await.expect("it can be opened");
    assert!(matches!(log.append(0, "doctor", vec![1; 2_000_001]).await, Err(Error::DidNotHappen(_))));
    log.append(0, "doctor", vec![1; 2_000_000]).await.expect("that fits");
    assert_eq!(read_all(&log).await[0].payload.len(), 2_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_a_long_log_of_uneven_partitions_in_order_and_little_ahead() {
    let place = Topic::new().await;
    let registry = Registry::new();
    let little = Options { read_ahead_bytes_max: 1024 * 1024, queue_records_max: 100_000, ..place.0 };
    let log = Log::open(little, &registry).await.expect("it can be opened");
    for pattern in [&[0][..], &[1, 1, 1, 2], &[0, 1, 2, 3]] {
        let appends = (0..20_000).map(|at| log.append(pattern[at % pattern.len()], "doctor", vec![0; 200]));
        assert!(join_all(appends).await.iter().all(Result::is_ok));
    }
    let extents = log.extents().await.expect("it can be read");
    let mut reader = assigned(&log).await;
    reader.seek(&starts(&extents)).await.expect("the starts are there");
    let mut records = Vec::new();
    let mut ahead_max = 0.0_f64;
    while records.len() < 60_000 {
        let Delivery::Records(more) = reader.next(500).await.expect("it can be read") else {
            panic!("nobody else reads")
        };
        records.extend(more);
        ahead_max = ahead_max.max(value(&registry, metrics::LOG_READ_AHEAD_RECORDS));
    }
    assert_in_order(&records);
    assert_gap_free(&records, &starts(&extents));
    assert!(ahead_max > 0.0 && ahead_max < 30_000.0, "{ahead_max} records were read ahead");
}

/// What a reader of the pipeline does with one delivery: it goes on where it is told, from the start.
async fn follow(reader: &mut dyn LogReader, delivery: Delivery, mine: &mut BTreeSet<Partition>) -> Vec<Record> {
    match delivery {
        Delivery::Assigned(partitions) => {
            let from: Vec<(Partition, Offset)> = partitions.iter().map(|partition| (*partition, 0)).collect();
            reader.seek(&from).await.expect("the start is there");
            mine.extend(partitions);
            Vec::new()
        }
        Delivery::Revoked(partitions) => {
            mine.retain(|partition| !partitions.contains(partition));
            Vec::new()
        }
        Delivery::Records(records) => records,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_moves_only_when_it_is_finished() {
    let place = Topic::new().await;
    let (here, there) = (place.open().await, place.open().await);
    let mut appended = fill(&*here, 100).await;
    let mut first = assigned(&*here).await;
    let everything: Vec<_> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    first.seek(&everything).await.expect("the start is there");
    take(&mut *first, 100).await;
    let mut mine: BTreeSet<_> = (0..PARTITIONS).collect();

    let mut second = there.reader().await.expect("it can be read");
    let mut theirs = BTreeSet::new();
    let revoked = loop {
        match first.next(10).await.expect("it can be read") {
            Delivery::Revoked(partitions) => break partitions,
            other => assert!(matches!(other, Delivery::Records(_)), "some go: {other:?}"),
        }
    };
    assert_eq!(revoked.len(), 2, "half of them");
    mine.retain(|partition| !revoked.contains(partition));
    // The first one is finishing what it had. Until it comes back, the second one gets nothing, however often it asks.
    for _ in 0..20 {
        appended.extend(fill(&*here, 10).await);
        assert!(second.next(10).now_or_never().is_none(), "nothing moves before its reader has finished");
    }
    // It comes back, and its next call says so.
    let mut records: Vec<Record> = Vec::new();
    let mut early: Vec<Record> = Vec::new();
    while theirs.len() < 2 {
        tokio::select! {
            delivery = first.next(100) => {
                early.extend(follow(&mut *first, delivery.expect("it can be read"), &mut mine).await);
            }
            delivery = second.next(100) => {
                records.extend(follow(&mut *second, delivery.expect("it can be read"), &mut theirs).await);
            }
        }
    }
    assert!(early.iter().all(|record| mine.contains(&record.position.partition)), "nothing of what it gave up");
    assert_eq!(theirs, revoked.into_iter().collect());
    let count = appended.iter().filter(|(record, _)| theirs.contains(&record.position.partition)).count();
    records.extend(take(&mut *second, count - records.len()).await);
    assert!(records.iter().all(|record| theirs.contains(&record.position.partition)));

    // When the first one leaves, the second one has all.
    drop(first);
    while theirs.len() < usize::from(PARTITIONS) {
        let delivery = second.next(100).await.expect("it can be read");
        records.extend(follow(&mut *second, delivery, &mut theirs).await);
    }
    records.extend(take(&mut *second, appended.len() - records.len()).await);
    assert_acknowledged(&records, &appended);
}

/// Reads on as the pipeline does, until that is refused.
async fn until_refused(reader: &mut dyn LogReader, next: &mut BTreeMap<Partition, Offset>) -> Error {
    loop {
        match reader.next(100).await {
            Err(error) => return error,
            Ok(Delivery::Assigned(partitions)) => {
                let from: Vec<_> = partitions.iter().map(|partition| (*partition, next[partition])).collect();
                if let Err(error) = reader.seek(&from).await {
                    return error;
                }
            }
            Ok(Delivery::Revoked(_)) => {}
            Ok(Delivery::Records(records)) => {
                for record in records {
                    next.insert(record.position.partition, record.position.offset + 1);
                }
            }
        }
    }
}

/// A log with 400 records, how far it reaches, and a reader that has had them all.
async fn read_to_its_end(place: &Topic) -> (Arc<dyn IntentLog>, Vec<Extent>, Box<dyn LogReader>) {
    let log = place.open().await;
    fill(&*log, 400).await;
    let extents = log.extents().await.expect("it can be read");
    let mut reader = assigned(&*log).await;
    reader.seek(&starts(&extents)).await.expect("the starts are there");
    take(&mut *reader, 400).await;
    (log, extents, reader)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_topic_stops_the_reader() {
    let place = Topic::new().await;
    let (log, extents, mut reader) = read_to_its_end(&place).await;

    let admin = admin(&place.0.brokers);
    let options = AdminOptions::new();
    admin.delete_topics(&[&place.0.topic], &options).await.expect("it answers")[0].as_ref().expect("it is deleted");
    let made =
        NewTopic::new(&place.0.topic, 4, TopicReplication::Fixed(1)).set("message.timestamp.type", "LogAppendTime");
    // It may still be about to be deleted.
    while admin.create_topics([&made], &options).await.expect("it answers")[0].is_err() {
        tokio::task::yield_now().await;
    }
    let mut next: BTreeMap<_, _> = ends(&extents).into_iter().collect();
    let error = until_refused(&mut *reader, &mut next).await;
    assert!(matches!(&error, Error::Corrupt(cause) if cause.contains("store") || cause.contains("decided")), "{error}");

    // And a later start finds out before it reads.
    drop((reader, log));
    let log = place.open().await;
    let mut reader = assigned(&*log).await;
    match reader.seek(&ends(&extents)).await {
        Err(Error::Corrupt(cause)) => assert!(cause.contains("do not belong together"), "{cause}"),
        other => panic!("the topic is another: {other:?}"),
    }
}

/// Where to go on is in the store alone: the group has no offsets that could be taken for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_is_not_told_what_was_read() {
    let place = Topic::new().await;
    let (log, _, reader) = read_to_its_end(&place).await;
    drop((reader, log));
    // Once the next one has all partitions, the one before has left, and would have told by then.
    let next = place.open().await;
    drop(assigned(&*next).await);
    let Options { brokers, group, topic, .. } = place.0;
    let committed = tokio::task::spawn_blocking(move || {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &brokers).set("group.id", &group);
        let asking: BaseConsumer = config.create().expect("it can be made");
        let mut partitions = rdkafka::TopicPartitionList::new();
        partitions.add_partition_range(&topic, 0, i32::from(PARTITIONS) - 1);
        asking.committed_offsets(partitions, Duration::from_secs(60)).expect("it answers")
    });
    let committed = committed.await.expect("it is asked");
    assert_eq!(committed.count(), usize::from(PARTITIONS));
    for partition in committed.elements() {
        assert_eq!(partition.offset(), rdkafka::Offset::Invalid, "{partition:?}");
    }
}

/// What the store has decided lay in that topic: made anew, it would give its offsets to others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_had_records_is_not_made_again() {
    let place = Topic::new().await;
    let cause = refusal(Log::open_existing(place.0.clone(), &Registry::new()).await);
    assert!(cause.contains(&format!("has no topic {}", place.0.topic)) && cause.contains("bring it back"), "{cause}");
    assert!(Log::open_read_only(place.0.clone()).await.is_err(), "and none was made");
    drop(place.open().await);
    Log::open_existing(place.0.clone(), &Registry::new()).await.expect("it is there now");
}

/// A reader whose group began anew with it is told of nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_gone_is_told() {
    let place = Topic::new().await;
    let log = open(&place.0).await.expect("it can be opened");
    let admin = admin(&place.0.brokers);
    let deleted = admin.delete_topics(&[&place.0.topic], &AdminOptions::new()).await.expect("it answers");
    deleted[0].as_ref().expect("it is deleted");
    let told = tokio::time::timeout(Duration::from_secs(120), log.lost()).await.expect("it is noticed");
    assert!(told.contains(&format!("has no topic {} any more", place.0.topic)), "{told}");
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_age_out_unread_stop_the_reader() {
    let place = Topic::new().await;
    let log = place.open().await;
    fill(&*log, 400).await;
    let extents = log.extents().await.expect("it can be read");
    let mut reader = assigned(&*log).await;
    let admin = admin(&place.0.brokers);
    let mut aged = rdkafka::TopicPartitionList::new();
    let offset = i64::try_from(extents[1].end - 1).expect("small");
    aged.add_partition_offset(&place.0.topic, 1, rdkafka::Offset::Offset(offset)).expect("it is one");
    admin.delete_records(&aged, &AdminOptions::new()).await.expect("it answers");
    match reader.seek(&starts(&extents)).await {
        Err(Error::Corrupt(cause)) => {
            assert!(cause.contains("partition 1") && cause.contains("0 was sought"), "{cause}");
        }
        other => panic!("they are gone: {other:?}"),
    }
    let old = Position { partition: 1, offset: 0 };
    assert_eq!(log.logged_at(&[old]).await.expect("it can be read"), [None], "who asks for it learns that it is gone");
    let start = log.extents().await.expect("it can be read")[1].start;
    assert_eq!(start, extents[1].end - 1);
    reader.seek(&[(1, start)]).await.expect("the last one is there");
    assert_eq!(take(&mut *reader, 1).await[0].position.offset, start);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_partitions_than_were_configured_are_refused() {
    let place = Topic::new().await;
    drop(place.open().await);
    let more = NewPartitions::new(&place.0.topic, 6);
    let admin = admin(&place.0.brokers);
    admin.create_partitions([&more], &AdminOptions::new()).await.expect("it answers")[0]
        .as_ref()
        .expect("they are made");
    let cause = loop {
        if let Err(cause) = open(&place.0).await {
            break cause.to_string();
        }
    };
    assert!(cause.contains("has 6 partitions"), "{cause}");
}

/// Brokers that may be killed and stopped, of one test alone.
struct Fragile {
    kafka: Mutex<Kafka>,
    _folder: TempDir,
}

impl Fragile {
    async fn start(nodes: u16) -> Arc<Self> {
        tokio::task::spawn_blocking(move || {
            let folder = tempfile::tempdir().expect("a folder can be made");
            let kafka = Kafka::start(folder.path(), &orderly_stack::kafka::Options { nodes, ..Default::default() });
            Arc::new(Self { kafka: Mutex::new(kafka.expect("Kafka can be started")), _folder: folder })
        })
        .await
        .expect("it can be started")
    }

    async fn with<T: Send + 'static>(self: &Arc<Self>, act: impl FnOnce(&mut Kafka) -> T + Send + 'static) -> T {
        let this = Arc::clone(self);
        tokio::task::spawn_blocking(move || act(&mut this.kafka.lock().expect("nobody panicked")))
            .await
            .expect("it is done")
    }

    async fn signal(self: &Arc<Self>, signal: nix::sys::signal::Signal) {
        self.with(move |kafka| kafka.process(0).signal(signal).expect("it runs")).await;
    }
}

/// Appends until each is taken, as clients do that try again. A record may then be there twice, never not at all.
async fn insist(log: &dyn IntentLog, partition: Partition, payload: Vec<u8>) -> Appended {
    loop {
        if let Ok(appended) = log.append(partition, "doctor", payload.clone()).await {
            return appended;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_dies_or_stops_loses_nothing() {
    use nix::sys::signal::Signal::{SIGCONT, SIGSTOP};

    let broker = Fragile::start(1).await;
    let brokers = broker.with(|kafka| kafka.brokers()).await;
    let quick = Options { request_timeout: Duration::from_millis(1_500), ..options(&brokers) };
    let log = open(&quick).await.expect("it can be opened");
    let mut appended = fill(&log, 500).await;
    let mut reader = assigned(&log).await;
    reader.seek(&starts(&log.extents().await.expect("it can be read"))).await.expect("the starts are there");
    let mut records = take(&mut *reader, 500).await;

    // Killed while records are on their way; they arrive once it is back.
    let appends = join_all((0..500).map(|at| log.append(u16::try_from(at % 4).expect("small"), "doctor", payload(at))));
    let (answers, ()) = tokio::join!(appends, broker.with(|kafka| kafka.restart(0).expect("it starts again")));
    appended.extend(answers.into_iter().enumerate().map(|(at, answer)| (answer.expect("it is taken"), payload(at))));
    appended.push((insist(&log, 2, payload(9_999)).await, payload(9_999)));
    assert!(log.trouble().is_none(), "it went on");
    let mut mine = BTreeSet::new();
    while records.len() < appended.len() {
        match reader.next(100).await.expect("a reader outlives its broker") {
            Delivery::Records(more) => records.extend(more),
            // Its group may have been made anew.
            other => follow_on(&mut *reader, other, &records, &mut mine).await,
        }
    }
    assert_acknowledged(&records, &appended);
    assert_gap_free(&sorted(&records), &[(0, 0), (1, 0), (2, 0), (3, 0)]);

    // Stopped for longer than a request may take: each is sent again, and is there once.
    broker.signal(SIGSTOP).await;
    let appends = join_all((0..200).map(|at| log.append(3, "doctor", payload(at))));
    let awake = async {
        while log.trouble().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        broker.signal(SIGCONT).await;
    };
    let (answers, ()) = tokio::join!(appends, awake);
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.expect("it is taken")).collect();
    let places: BTreeSet<_> = answers.iter().map(|appended| appended.position).collect();
    assert_eq!(places.len(), 200, "each has a place of its own");
    appended.extend(answers.into_iter().enumerate().map(|(at, appended)| (appended, payload(at))));
    let extents = log.extents().await.expect("it can be read");
    assert_eq!(log.trouble(), None, "brokers that answer are no trouble");
    let count: u64 = extents.iter().map(|extent| extent.end).sum();
    assert_eq!(count, appended.len() as u64, "none is there twice");
    drop(reader);
    let all = read_all(&log).await;
    assert_acknowledged(&all, &appended);
    assert_in_order(&all);

    // A queue that is full says so, and is served later.
    let small = open(&Options { queue_records_max: 50, ..quick }).await.expect("it can be opened");
    small.append(0, "doctor", payload(0)).await.expect("it is taken");
    broker.signal(SIGSTOP).await;
    let mut waiting: Vec<_> = (0..60).map(|at| small.append(0, "doctor", payload(at))).collect();
    let outcomes: Vec<_> = waiting.iter_mut().map(|append| append.now_or_never()).collect();
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, Some(Err(Error::Overloaded(_))))).count();
    assert!((1..60).contains(&refused), "{refused} of 60 were refused");
    broker.signal(SIGCONT).await;
    let unanswered =
        waiting.into_iter().zip(outcomes).filter(|(_, outcome)| outcome.is_none()).map(|(append, _)| append);
    assert!(join_all(unanswered).await.iter().all(Result::is_ok), "what was accepted is served");
    small.close().await;
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_brokers_may_die() {
    let cluster = Fragile::start(3).await;
    let brokers = cluster.with(|kafka| kafka.brokers()).await;
    let log = open(&Options { replication: 3, request_timeout: Duration::from_secs(20), ..options(&brokers) })
        .await
        .expect("it can be opened");
    let mut appended = fill(&log, 300).await;
    cluster.with(|kafka| kafka.process(0).kill().expect("it dies")).await;
    appended.extend(fill(&log, 300).await);
    assert_acknowledged(&read_all(&log).await, &appended);
    cluster.with(|kafka| kafka.restart(0).expect("it starts again")).await;
    appended.extend(fill(&log, 300).await);
    let records = read_all(&log).await;
    assert_acknowledged(&records, &appended);
    assert_eq!(records.len(), appended.len(), "none is there twice");
    log.close().await;
}

/// In a log that moved on: goes on after what was read.
async fn follow_on(reader: &mut dyn LogReader, delivery: Delivery, records: &[Record], mine: &mut BTreeSet<Partition>) {
    match delivery {
        Delivery::Assigned(partitions) => {
            let next = |partition: Partition| {
                let read = records.iter().filter(|record| record.position.partition == partition);
                (partition, read.map(|record| record.position.offset + 1).max().unwrap_or(0))
            };
            let from: Vec<_> = partitions.iter().copied().map(next).collect();
            reader.seek(&from).await.expect("the places are there");
            mine.extend(partitions);
        }
        Delivery::Revoked(partitions) => mine.retain(|partition| !partitions.contains(partition)),
        Delivery::Records(_) => unreachable!("records are taken elsewhere"),
    }
}

fn sorted(records: &[Record]) -> Vec<Record> {
    let mut records = records.to_vec();
    records.sort_by_key(|record| record.position);
    records
}
