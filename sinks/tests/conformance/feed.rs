//! What the feed of events on Kafka does. Against a real broker.
#![cfg(test)]

use std::time::Duration;

use jiff::civil::{date, time};
use orderly_domain::command::Kind;
use orderly_domain::port::analytics::Row;
use orderly_domain::port::{Error, Feed as _};
use orderly_domain::{Exclusivity, Outcome, Partition, Position, Reason, Session, Timestamp};
use orderly_sinks::feed::kafka::{Feed, Options};
use prometheus::Registry;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, TopicPartitionList};
use serde_json::{Value, json};

use crate::log::kafka::{brokers, unique};

async fn options() -> Options {
    let brokers = tokio::task::spawn_blocking(brokers).await.expect("Kafka can be started");
    Options { brokers, topic: unique("events"), partitions: 4, ..Options::default() }
}

async fn open(options: &Options) -> Feed {
    Feed::open(options.clone(), &Registry::new()).await.expect("it can be opened")
}

fn session() -> Session {
    Session {
        session_id: "card-am".parse().unwrap(),
        doctor_id: "li".parse().unwrap(),
        doctor_name: "Dr Li".into(),
        department: "cardiology".parse().unwrap(),
        campus: "east".parse().unwrap(),
        day: date(2026, 11, 23),
        start: time(8, 0, 0, 0),
        end: time(12, 0, 0, 0),
        timezone: "Asia/Shanghai".into(),
        capacity: 20,
        release_at: Timestamp::from_millis(500),
        ends_at: Timestamp::from_millis(10_000_000),
        exclusivity: Exclusivity::DepartmentDay,
    }
}

fn row(partition: Partition, offset: u64) -> Row {
    let logged_at = Timestamp::from_millis(i64::try_from(offset).unwrap());
    Row {
        position: Position { partition, offset },
        logged_at,
        decided_at: logged_at.plus(Duration::from_millis(7)),
        kind: Kind::Book,
        patient: Some("p-1".into()),
        outcome: Outcome::Booked { number: 3 },
        repeat: false,
        session_id: Some(session().session_id),
        session: Some(session()),
    }
}

fn rows(partition: Partition, offsets: std::ops::Range<u64>) -> Vec<Row> {
    offsets.map(|offset| row(partition, offset)).collect()
}

/// What a consumer sees of a partition: keys and values, as many as there are.
async fn events(options: &Options, partition: Partition, count: usize) -> Vec<(Option<String>, Value)> {
    let options = options.clone();
    tokio::task::spawn_blocking(move || {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &options.brokers).set("group.id", "a-test").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.set("enable.partition.eof", "true").create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&options.topic, partition.into(), rdkafka::Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        let mut events = Vec::new();
        loop {
            match consumer.poll(Duration::from_secs(1)) {
                Some(Ok(message)) => {
                    let key = message.key().map(|key| String::from_utf8_lossy(key).into_owned());
                    events.push((key, serde_json::from_slice(message.payload().unwrap()).unwrap()));
                }
                Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) if events.len() >= count => return events,
                Some(Err(_)) | None => {}
            }
        }
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_once_and_in_order() {
    let options = options().await;
    let feed = open(&options).await;
    assert_eq!(feed.next_offsets().await.unwrap(), []);
    feed.append(&[]).await.unwrap();
    feed.append(&rows(0, 0..3_000)).await.unwrap();
    feed.append(&rows(2, 0..5)).await.unwrap();
    feed.append(&rows(0, 0..3_000)).await.unwrap();
    feed.append(&rows(0, 2_990..3_010)).await.unwrap();
    assert_eq!(feed.next_offsets().await.unwrap(), [(0, 3_010), (2, 5)]);
    feed.close().await;
    drop(feed);

    let feed = open(&options).await;
    feed.append(&rows(0, 3_000..3_020)).await.unwrap();
    assert_eq!(feed.next_offsets().await.unwrap(), [(0, 3_020), (2, 5)]);
    let offsets: Vec<_> =
        events(&options, 0, 3_020).await.into_iter().map(|(_, event)| event["offset"].as_u64().unwrap()).collect();
    assert_eq!(offsets, (0..3_020).collect::<Vec<_>>());
    assert_eq!(events(&options, 2, 5).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_say_what_is_documented() {
    let options = options().await;
    let feed = open(&options).await;
    let unreadable = Row {
        kind: Kind::Malformed,
        outcome: Outcome::Rejected(Reason::Malformed),
        session_id: None,
        session: None,
        ..row(1, 1)
    };
    feed.append(&[row(1, 0), unreadable]).await.unwrap();
    let booked = json!({
        "partition": 1, "offset": 0, "logged_at": "1970-01-01T00:00:00Z", "decided_at": "1970-01-01T00:00:00.007Z",
        "kind": "book", "outcome": "booked", "number": 3, "repeat": false, "session_id": "card-am", "doctor_id": "li",
        "department": "cardiology", "campus": "east", "day": "2026-11-23",
    });
    let malformed = json!({
        "partition": 1, "offset": 1, "logged_at": "1970-01-01T00:00:00.001Z", "decided_at": "1970-01-01T00:00:00.008Z",
        "kind": "malformed", "outcome": "rejected", "reason": "malformed", "repeat": false,
    });
    assert_eq!(events(&options, 1, 2).await, [(Some("li".into()), booked), (None, malformed)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gaps_are_refused() {
    let options = options().await;
    let feed = open(&options).await;
    let gap = [row(0, 0), row(0, 2)];
    let two_partitions = [row(0, 0), row(1, 1)];
    for rows in [&rows(0, 1..3)[..], &gap, &two_partitions] {
        assert!(matches!(feed.append(rows).await, Err(Error::Conflict { .. })));
    }
    assert!(matches!(feed.append(&rows(4, 0..1)).await, Err(Error::DidNotHappen(_))), "no such partition");
    assert_eq!(feed.next_offsets().await.unwrap(), []);
    feed.append(&rows(0, 0..2)).await.unwrap();
    assert!(matches!(feed.append(&rows(0, 3..4)).await, Err(Error::Conflict { expected: 3, found: 2 })));
    assert_eq!(feed.next_offsets().await.unwrap(), [(0, 2)]);
    // Unless the store has nothing there any more.
    feed.skip_to(0, 5).await.unwrap();
    feed.skip_to(0, 4).await.unwrap();
    feed.skip_to(1, 3).await.unwrap();
    feed.append(&rows(0, 5..7)).await.unwrap();
    feed.append(&rows(1, 3..4)).await.unwrap();
    assert_eq!(feed.next_offsets().await.unwrap(), [(0, 7), (1, 4)]);
}
