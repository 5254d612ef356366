//! Single records of a topic, by their places.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use orderly_domain::port::{Error, Result};
use orderly_domain::{Offset, Partition, Timestamp};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Message as _};
use tokio::sync::oneshot;

use super::connection::{Connection, Quiet};

/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);
/// How much of a partition is fetched at once, in bytes: one record is wanted, and longer ones come all the same.
const FETCH_BYTES: &str = "65536";

/// A record that was found.
pub(crate) struct Found {
    /// The broker's time.
    pub(crate) logged_at: Timestamp,
    pub(crate) payload: Vec<u8>,
}

/// Reads one record of each of these partitions, which must be there. Nothing is committed and no group is joined.
///
/// # Errors
/// `DidNotHappen` when the brokers do not give them in time.
pub(crate) async fn records_at(
    connection: &Connection,
    topic: &str,
    places: BTreeMap<Partition, Offset>,
) -> Result<BTreeMap<Partition, Found>> {
    if places.is_empty() {
        return Ok(BTreeMap::new());
    }
    let (connection, topic) = (connection.clone(), topic.to_owned());
    let (answer, answered) = oneshot::channel();
    // A thread of its own: the end of a consumer may take long, and nobody has to wait for it.
    std::thread::Builder::new()
        .name("orderly-kafka-records".into())
        .spawn(move || match consumer(&connection, &topic, &places) {
            Ok(consumer) => {
                let _ = answer.send(read(&connection, &topic, &consumer, &places));
            }
            Err(error) => {
                let _ = answer.send(Err(error));
            }
        })
        .map_err(|error| Error::DidNotHappen(format!("a thread that asks Kafka could not be started: {error}")))?;
    answered.await.unwrap_or_else(|_| Err(Error::DidNotHappen("asking Kafka was cut short".into())))
}

fn consumer(connection: &Connection, topic: &str, places: &BTreeMap<Partition, Offset>) -> Result<BaseConsumer<Quiet>> {
    let failed = |error| connection.unanswered("read a topic's records", &error);
    let mut config = connection.config();
    config
        // The client wants one, and never joins it: the partitions are assigned by hand.
        .set("group.id", "orderly.records")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("allow.auto.create.topics", "false")
        .set("queued.min.messages", "1")
        .set("fetch.message.max.bytes", FETCH_BYTES);
    let consumer: BaseConsumer<Quiet> = config.create_with_context(Quiet).map_err(failed)?;
    let mut list = TopicPartitionList::with_capacity(places.len());
    for (partition, offset) in places {
        let offset = rdkafka::Offset::Offset(i64::try_from(*offset).unwrap_or(i64::MAX));
        list.add_partition_offset(topic, (*partition).into(), offset).map_err(failed)?;
    }
    consumer.assign(&list).map_err(failed)?;
    Ok(consumer)
}

fn read(
    connection: &Connection,
    topic: &str,
    consumer: &BaseConsumer<Quiet>,
    places: &BTreeMap<Partition, Offset>,
) -> Result<BTreeMap<Partition, Found>> {
    let deadline = Instant::now() + connection.request_timeout;
    let mut records = BTreeMap::new();
    let mut trouble = None;
    while records.len() < places.len() {
        match consumer.poll(POLL) {
            // What follows it may come too.
            Some(Ok(message)) => records.extend(wanted(&message, places)),
            Some(Err(error)) => trouble = Some(error),
            None => {}
        }
        if Instant::now() > deadline {
            let cause = trouble.map_or_else(String::new, |error| format!(" ({error})"));
            return Err(Error::DidNotHappen(format!(
                "Kafka did not give records of the topic {topic} in time{cause}; see that its brokers run"
            )));
        }
    }
    Ok(records)
}

/// The message as a record, if it is one of those that are wanted.
fn wanted(message: &BorrowedMessage<'_>, places: &BTreeMap<Partition, Offset>) -> Option<(Partition, Found)> {
    let partition = Partition::try_from(message.partition()).ok()?;
    let offset = Offset::try_from(message.offset()).ok()?;
    (places.get(&partition) == Some(&offset)).then(|| {
        let logged_at = Timestamp::from_millis(message.timestamp().to_millis().unwrap_or(0));
        (partition, Found { logged_at, payload: message.payload().unwrap_or_default().to_vec() })
    })
}
