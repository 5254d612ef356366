//! The intent log on Kafka: one topic, written by an idempotent producer with `acks=all`, read by the members of one
//! consumer group.
//!
//! An append is answered by its delivery report: with as many replicas as must be in sync (two of three, see
//! [`Options::replication`]). Kafka does not sync to the disk before it answers: a killed broker loses nothing, all
//! replicas that lose power at once may lose the last moments.
//!
//! Times are the broker's, in whole milliseconds; over partitions, `(logged_at, position)` orders. The group only assigns
//! partitions: where to go on is the store's to say. Kafka ages records by itself, so [`IntentLog::trim`] drops none.

mod group;
mod inbox;
mod measures;
mod merge;
mod options;
mod reader;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orderly_domain::clock::Timestamp;
use orderly_domain::port::log::{Appended, Extent, IntentLog, LogReader};
use orderly_domain::port::{Error, Result};
use orderly_domain::{Offset, Partition, Position};
use prometheus::Registry;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::kafka::{Missing, Producer, Watermarks, records_at};
use group::Membership;
use measures::Measures;
pub use options::Options;
use reader::Reader;

/// How long a close waits for readers that were dropped to leave their group.
const LEAVE_MAX: Duration = Duration::from_secs(5);

/// How often it is looked whether the topic is there.
const LOOK: Duration = Duration::from_secs(2);
/// How long brokers may not know the topic before it counts as gone.
const UNKNOWN_MAX: Duration = Duration::from_secs(10);

/// The intent log on Kafka. Dropping it delivers what was accepted in the background; [`Log::close`] waits for that.
pub struct Log {
    options: Options,
    /// `None` when it was opened for reading only.
    producer: Option<Producer>,
    watermarks: Watermarks,
    measures: Measures,
    /// Has a receiver in every reader's thread.
    readers: watch::Sender<()>,
}

impl Log {
    /// Connects to Kafka, and makes the topic when it is missing.
    ///
    /// # Errors
    /// `DidNotHappen` when the options are out of range, no broker answers, the topic cannot be made, or it has another
    /// number of partitions or settings that do not fit.
    pub async fn open(options: Options, registry: &Registry) -> Result<Self> {
        Self::open_for_writing(options, Missing::IsMade, registry).await
    }

    /// Connects to Kafka where the topic must be there already, because it had records: made anew, it would give their
    /// offsets to others.
    ///
    /// # Errors
    /// As [`Log::open`], and when there is no such topic.
    pub async fn open_existing(options: Options, registry: &Registry) -> Result<Self> {
        Self::open_for_writing(options, Missing::IsRefused, registry).await
    }

    async fn open_for_writing(options: Options, missing: Missing, registry: &Registry) -> Result<Self> {
        options.validate().map_err(Error::DidNotHappen)?;
        let measures = Measures::register(registry).map_err(|error| {
            Error::DidNotHappen(format!("the intent log's metrics could not be registered: {error}"))
        })?;
        let (connection, topic) = (options.connection(), options.topic());
        topic.settle(&connection, missing).await?;
        let watermarks = Watermarks::new(&connection, &options.topic, options.partitions)?;
        let producer = Producer::start(&connection, &topic, options.limits(), Box::new(measures.clone()))?;
        Ok(Self { options, producer: Some(producer), watermarks, measures, readers: watch::Sender::new(()) })
    }

    /// Connects to Kafka for reading only; makes nothing.
    ///
    /// # Errors
    /// As [`Log::open`], and when there is no such topic.
    pub async fn open_read_only(options: Options) -> Result<Self> {
        options.validate().map_err(Error::DidNotHappen)?;
        let measures = Measures::register(&Registry::new())
            .map_err(|error| Error::DidNotHappen(format!("the intent log's metrics could not be made: {error}")))?;
        let connection = options.connection();
        options.topic().settle(&connection, Missing::IsRefused).await?;
        let watermarks = Watermarks::new(&connection, &options.topic, options.partitions)?;
        Ok(Self { options, producer: None, watermarks, measures, readers: watch::Sender::new(()) })
    }

    fn producer(&self) -> Result<&Producer> {
        self.producer.as_ref().ok_or_else(|| Error::DidNotHappen("the intent log was opened for reading only".into()))
    }

    fn read(&self, membership: Membership) -> Result<Reader> {
        let inbox = Arc::default();
        let gauge = self.measures.read_ahead_records.clone();
        group::join(&self.options, membership, &inbox, gauge, self.readers.subscribe())?;
        Ok(Reader { inbox, watermarks: self.watermarks.clone() })
    }

    /// Waits until the topic is gone, and says so: until brokers that answer have not known it for ten seconds, since after a
    /// start they learn of topics bit by bit. The process should not wait for its return then. Never returns otherwise.
    pub async fn lost(&self) -> String {
        let mut unknown_since = None;
        loop {
            tokio::time::sleep(LOOK).await;
            match self.watermarks.knows_topic().await {
                Ok(true) => unknown_since = None,
                Ok(false) => {
                    if unknown_since.get_or_insert_with(Instant::now).elapsed() > UNKNOWN_MAX {
                        return format!(
                            "Kafka at {} has no topic {} any more, and records with it that may not be decided",
                            self.options.brokers, self.options.topic
                        );
                    }
                }
                Err(error) => tracing::debug!(%error, "the brokers do not say whether the topic is there"),
            }
        }
    }

    /// Takes no more appends, delivers those that wait, for ten seconds at most, and waits, for five seconds at most, until
    /// readers that were dropped have left their group.
    pub async fn close(&self) {
        if let Some(producer) = &self.producer {
            producer.close().await;
        }
        let _ = tokio::time::timeout(LEAVE_MAX, self.readers.closed()).await;
    }
}

#[async_trait]
impl IntentLog for Log {
    fn partitions(&self) -> u16 {
        self.options.partitions
    }

    async fn append(&self, partition: Partition, key: &str, payload: Vec<u8>) -> Result<Appended> {
        let producer = self.producer()?;
        if partition >= self.options.partitions {
            return Err(Error::DidNotHappen(format!(
                "there is no partition {partition}: the log has {}",
                self.options.partitions
            )));
        }
        if payload.len() > self.options.payload_bytes_max {
            return Err(Error::DidNotHappen(format!(
                "the record has {} bytes and the log takes up to {}",
                payload.len(),
                self.options.payload_bytes_max
            )));
        }
        let answered = producer.send(partition, key, &payload)?;
        let delivered = answered
            .await
            .unwrap_or_else(|_| Err(Error::MayHaveHappened("Kafka's producer ended without an answer".into())))?;
        let logged_at = delivered.logged_at.ok_or_else(|| {
            Error::MayHaveHappened(format!(
                "Kafka has the record, at {}, without its own time: the topic {} must have \
                 message.timestamp.type=LogAppendTime",
                delivered.position, self.options.topic
            ))
        })?;
        Ok(Appended { position: delivered.position, logged_at })
    }

    async fn extents(&self) -> Result<Vec<Extent>> {
        let extents = self.watermarks.extents().await?;
        if let Some(producer) = &self.producer {
            producer.reached();
        }
        Ok(extents)
    }

    async fn logged_at(&self, places: &[Position]) -> Result<Vec<Option<Timestamp>>> {
        let extents = self.watermarks.extents().await?;
        let is_there = |place: &&Position| {
            let extent = extents.get(usize::from(place.partition));
            extent.is_some_and(|extent| (extent.start..extent.end).contains(&place.offset))
        };
        let there = places.iter().filter(is_there).map(|place| (place.partition, place.offset)).collect();
        let found = records_at(&self.options.connection(), &self.options.topic, there).await?;
        Ok(places.iter().map(|place| found.get(&place.partition).map(|record| record.logged_at)).collect())
    }

    fn trouble(&self) -> Option<String> {
        self.producer.as_ref().and_then(Producer::trouble)
    }

    async fn reader(&self) -> Result<Box<dyn LogReader>> {
        Ok(Box::new(self.read(Membership::Member)?))
    }

    async fn scan(&self, from: &[(Partition, Offset)]) -> Result<Box<dyn LogReader>> {
        let mut reader = self.read(Membership::Onlooker)?;
        reader.seek(from).await?;
        Ok(Box::new(reader))
    }

    async fn trim(&self, _before: Timestamp, _decided: &[(Partition, Offset)]) -> Result<u64> {
        Ok(0)
    }
}
