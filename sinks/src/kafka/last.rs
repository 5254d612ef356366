//! The last record of each partition.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use orderly_domain::port::log::Extent;
use orderly_domain::port::{Error, Result};
use orderly_domain::{Offset, Partition};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use tokio::sync::oneshot;

use super::connection::{Connection, Quiet};

/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);

/// Reads the last record of every partition that has one. Nothing is committed and no group is joined.
///
/// # Errors
/// `DidNotHappen` when the brokers do not give them in time.
pub(crate) async fn last_records(
    connection: &Connection,
    topic: &str,
    extents: &[Extent],
) -> Result<BTreeMap<Partition, Vec<u8>>> {
    let last: BTreeMap<_, _> =
        extents.iter().filter(|extent| extent.end > extent.start).map(|e| (e.partition, e.end - 1)).collect();
    if last.is_empty() {
        return Ok(BTreeMap::new());
    }
    let (connection, topic) = (connection.clone(), topic.to_owned());
    let (answer, answered) = oneshot::channel();
    // A thread of its own: the end of a consumer may take long, and nobody has to wait for it.
    std::thread::Builder::new()
        .name("orderly-kafka-last".into())
        .spawn(move || match consumer(&connection, &topic, &last) {
            Ok(consumer) => {
                let _ = answer.send(read(&connection, &topic, &consumer, &last));
            }
            Err(error) => {
                let _ = answer.send(Err(error));
            }
        })
        .map_err(|error| Error::DidNotHappen(format!("a thread that asks Kafka could not be started: {error}")))?;
    answered.await.unwrap_or_else(|_| Err(Error::DidNotHappen("asking Kafka was cut short".into())))
}

fn consumer(connection: &Connection, topic: &str, last: &BTreeMap<Partition, Offset>) -> Result<BaseConsumer<Quiet>> {
    let failed = |error| connection.unanswered("read a topic's last records", &error);
    let mut config = connection.config();
    config
        // The client wants one, and never joins it: the partitions are assigned by hand.
        .set("group.id", "orderly.last")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("allow.auto.create.topics", "false");
    let consumer: BaseConsumer<Quiet> = config.create_with_context(Quiet).map_err(failed)?;
    let mut list = TopicPartitionList::with_capacity(last.len());
    for (partition, offset) in last {
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
    last: &BTreeMap<Partition, Offset>,
) -> Result<BTreeMap<Partition, Vec<u8>>> {
    let deadline = Instant::now() + connection.request_timeout;
    let mut records = BTreeMap::new();
    let mut trouble = None;
    while records.len() < last.len() {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                if let Ok(partition) = Partition::try_from(message.partition()) {
                    records.insert(partition, message.payload().unwrap_or_default().to_vec());
                }
            }
            Some(Err(error)) => trouble = Some(error),
            None => {}
        }
        if Instant::now() > deadline {
            let cause = trouble.map_or_else(String::new, |error| format!(" ({error})"));
            return Err(Error::DidNotHappen(format!(
                "Kafka did not give the last records of the topic {topic} in time{cause}; see that its brokers run"
            )));
        }
    }
    Ok(records)
}
