//! Where a topic's partitions start and end.

use std::sync::Arc;
use std::time::Duration;

use orderly_domain::port::log::Extent;
use orderly_domain::port::{Error, Result};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::metadata::Metadata;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::blocking;
use super::connection::{Connection, Quiet};

/// How long it waits before it asks again.
const RETRY: Duration = Duration::from_millis(50);

/// A client that only asks; it is in no group.
#[derive(Clone)]
pub(crate) struct Watermarks {
    client: Arc<BaseConsumer<Quiet>>,
    connection: Connection,
    topic: String,
    partitions: u16,
}

impl Watermarks {
    /// # Errors
    /// `DidNotHappen` when the client cannot be made.
    pub(crate) fn new(connection: &Connection, topic: &str, partitions: u16) -> Result<Self> {
        let client = connection
            .config()
            .set("allow.auto.create.topics", "false")
            .create_with_context(Quiet)
            .map_err(|error| Error::DidNotHappen(format!("Kafka's client could not be made: {error}")))?;
        Ok(Self { client: Arc::new(client), connection: connection.clone(), topic: topic.into(), partitions })
    }

    /// Every partition's extent, ascending by partition. Asks again for as long as a request may take: a partition whose
    /// leader is about to change, or was made just now, answers a moment later.
    ///
    /// # Errors
    /// `DidNotHappen` when a partition's broker does not answer.
    pub(crate) async fn extents(&self) -> Result<Vec<Extent>> {
        let deadline = Instant::now() + self.connection.request_timeout;
        let mut leaders_known = true;
        loop {
            match self.ask(leaders_known).await {
                Err(_) if Instant::now() < deadline => tokio::time::sleep(RETRY).await,
                told => return told,
            }
            leaders_known = false;
        }
    }

    /// Whether the brokers know the topic.
    ///
    /// # Errors
    /// `DidNotHappen` when none answers.
    pub(crate) async fn knows_topic(&self) -> Result<bool> {
        let this = self.clone();
        blocking(move || {
            let told = this.client.fetch_metadata(Some(&this.topic), this.connection.request_timeout);
            let told = told.map_err(|error| this.connection.unanswered("tell its topics", &error))?;
            is_told_of(&told, &this.topic).ok_or_else(|| {
                Error::DidNotHappen(format!("Kafka does not say whether the topic {} is there", this.topic))
            })
        })
        .await
    }

    async fn ask(&self, leaders_known: bool) -> Result<Vec<Extent>> {
        let this = self.clone();
        blocking(move || {
            if !leaders_known {
                // Otherwise it would go on asking a leader that is gone. Whether this fails shows next.
                let _ = this.client.fetch_metadata(Some(&this.topic), this.try_timeout());
            }
            let starts = this.offsets(Offset::Beginning)?;
            let ends = this.offsets(Offset::End)?;
            // What it has to say of its connections is told when it is asked.
            while this.client.poll(Duration::ZERO).is_some() {}
            let extents = (0..).zip(starts).zip(ends);
            Ok(extents.map(|((partition, start), end)| Extent { partition, start, end }).collect())
        })
        .await
    }

    /// How long one of several tries may take.
    fn try_timeout(&self) -> Duration {
        self.connection.request_timeout / 5
    }

    fn offsets(&self, end: Offset) -> Result<Vec<u64>> {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(&self.topic, 0, i32::from(self.partitions) - 1);
        let unanswered = |error| self.connection.unanswered("tell where a topic starts and ends", &error);
        asked.set_all_offsets(end).map_err(unanswered)?;
        let told = self.client.offsets_for_times(asked, self.try_timeout()).map_err(unanswered)?;
        let mut offsets = vec![None; usize::from(self.partitions)];
        for element in told.elements() {
            element.error().map_err(unanswered)?;
            let slot = usize::try_from(element.partition()).ok().and_then(|partition| offsets.get_mut(partition));
            if let (Some(slot), Offset::Offset(offset)) = (slot, element.offset()) {
                *slot = u64::try_from(offset).ok();
            }
        }
        let known: Option<Vec<u64>> = offsets.into_iter().collect();
        known.ok_or_else(|| {
            Error::DidNotHappen(format!(
                "Kafka did not tell where every partition of the topic {} starts and ends; see that the topic is there and \
                 that its brokers run",
                self.topic
            ))
        })
    }
}

/// Whether brokers know a topic, by what they told of it; `None` when they say neither, for instance because they may not
/// tell this client.
pub(crate) fn is_told_of(told: &Metadata, topic: &str) -> Option<bool> {
    let Some(topic) = told.topics().iter().find(|known| known.name() == topic) else { return Some(false) };
    match topic.error() {
        None => Some(!topic.partitions().is_empty()),
        Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => Some(false),
        Some(_) => None,
    }
}
