//! Committed decisions as a topic: one event a decision, for whoever wants to follow.
//!
//! The decision of the intent log's partition p is in the topic's partition p, in order, keyed by the doctor's id (without
//! a key when the session is unknown). Its value is a JSON object:
//!
//! | field | value |
//! |---|---|
//! | `partition`, `offset` | where the intent lies in the intent log: the event's identity |
//! | `logged_at`, `decided_at` | when the log took it and when it was decided, RFC 3339, UTC |
//! | `kind` | what was asked: `book`, `cancel`, `open_session`, … |
//! | `outcome` | `booked`, `cancelled`, `rejected` or `applied` |
//! | `reason` | why it was rejected; only then |
//! | `number` | the number that was booked or given back; only then |
//! | `repeat` | whether it repeats an earlier record's ticket |
//! | `session_id` | when it was readable |
//! | `doctor_id`, `department`, `campus`, `day` | of the session, when it is known |
//!
//! **An event may come twice**, after a crash or when a broker's answer was lost. Consumers are idempotent by
//! (`partition`, `offset`): what lies below the next offset of its partition was there before.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use orderly_domain::port::analytics::Row;
use orderly_domain::port::{self, Error, Result};
use orderly_domain::{CampusId, DepartmentId, DoctorId, Offset, Partition, Reason, SessionId, Timestamp};
use prometheus::{IntCounter, Registry};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::kafka::{Connection, Limits, Missing, Observer, Producer, Topic, Watermarks, records_at};
use crate::metrics;

/// An event is a few hundred bytes; names have a limit each.
const EVENT_BYTES_MAX: usize = 16 * 1024;
/// How many events are under way at once.
const QUEUE_RECORDS_MAX: usize = 16_384;
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long an event waits for company: they come in pages.
const LINGER: Duration = Duration::from_millis(5);

/// Where the events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where the brokers are: `host:port`, with commas between.
    pub brokers: String,
    /// The topic.
    pub topic: String,
    /// How many partitions it has: as many as the intent log. 1 to 1024.
    pub partitions: u16,
    /// How many replicas a new topic gets. With three or more, an event counts as there once two have it.
    pub replication: u16,
    /// How long a new topic keeps events. A partition whose events have all aged out is filled from its start again.
    pub retention: Duration,
    /// How long an event is tried, over all retries.
    pub delivery_timeout: Duration,
    /// How long one request may take before it is tried again, or a read fails.
    pub request_timeout: Duration,
    /// Further settings of librdkafka, for instance those of authentication.
    pub properties: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".into(),
            topic: "orderly.events".into(),
            partitions: 8,
            replication: 1,
            retention: Duration::from_secs(30 * 24 * 60 * 60),
            delivery_timeout: Duration::from_secs(5 * 60),
            request_timeout: Duration::from_secs(10),
            properties: Vec::new(),
        }
    }
}

/// The feed of events.
pub struct Feed {
    connection: Connection,
    topic: Topic,
    producer: Producer,
    watermarks: Watermarks,
    /// The first offset of each partition that has not arrived, as far as it is known. Held during an append: one at a
    /// time keeps each partition in order.
    next: Mutex<HashMap<Partition, Offset>>,
}

impl Feed {
    /// Connects to Kafka, and makes the topic when it is missing.
    ///
    /// # Errors
    /// `DidNotHappen` when no broker answers, the topic cannot be made, or it has another number of partitions or settings
    /// that do not fit.
    pub async fn open(options: Options, registry: &Registry) -> Result<Self> {
        if options.partitions == 0 || options.replication == 0 {
            return Err(Error::DidNotHappen("the feed's partitions and replication must be 1 or more".into()));
        }
        let measures = Measures::register(registry)
            .map_err(|error| Error::DidNotHappen(format!("the feed's metrics could not be registered: {error}")))?;
        let connection = Connection {
            brokers: options.brokers,
            request_timeout: options.request_timeout,
            properties: options.properties,
        };
        let topic = Topic {
            name: options.topic,
            partitions: options.partitions,
            replication: options.replication,
            retention: options.retention,
            payload_bytes_max: EVENT_BYTES_MAX,
        };
        topic.settle(&connection, Missing::IsMade).await?;
        let watermarks = Watermarks::new(&connection, &topic.name, topic.partitions)?;
        let limits = Limits {
            queue_records_max: QUEUE_RECORDS_MAX,
            queue_bytes_max: QUEUE_BYTES_MAX,
            linger: LINGER,
            delivery_timeout: options.delivery_timeout,
        };
        let producer = Producer::start(&connection, &topic, limits, Box::new(measures))?;
        Ok(Self { connection, topic, producer, watermarks, next: Mutex::default() })
    }

    /// Takes no more events and returns when those under way are there, after ten seconds at most.
    pub async fn close(&self) {
        self.producer.close().await;
    }

    /// What the topic's last events say.
    async fn read_next(&self) -> Result<BTreeMap<Partition, Offset>> {
        let extents = self.watermarks.extents().await?;
        let last =
            extents.iter().filter(|extent| extent.end > extent.start).map(|e| (e.partition, e.end - 1)).collect();
        let last = records_at(&self.connection, &self.topic.name, last).await?;
        last.into_iter()
            .map(|(partition, record)| match serde_json::from_slice::<Place>(&record.payload) {
                Ok(place) if place.partition == partition => Ok((partition, place.offset + 1)),
                Ok(_) | Err(_) => Err(Error::Corrupt(format!(
                    "the last record of partition {partition} of Kafka's topic {} is no event of that partition; somebody \
                     else writes there: name another topic",
                    self.topic.name
                ))),
            })
            .collect()
    }

    /// Takes the first offset of a partition that has not arrived out of those that are known, or reads it.
    async fn due(&self, known: &mut HashMap<Partition, Offset>, partition: Partition) -> Result<Offset> {
        match known.remove(&partition) {
            Some(due) => Ok(due),
            None => Ok(self.read_next().await?.get(&partition).copied().unwrap_or(0)),
        }
    }

    /// Sends events and waits until all are there. Sends a part, and waits, when the queue is full.
    async fn send(&self, rows: &[Row]) -> Result<()> {
        for rows in rows.chunks(QUEUE_RECORDS_MAX / 2) {
            let mut answers = Vec::with_capacity(rows.len());
            for row in rows {
                let value = serde_json::to_vec(&Event::new(row))
                    .map_err(|error| Error::DidNotHappen(format!("an event could not be written as JSON: {error}")))?;
                let key = row.session.as_ref().map_or("", |session| session.doctor_id.as_str());
                answers.push(self.producer.send(row.position.partition, key, &value)?);
            }
            for answer in answers {
                let ended = || Err(Error::MayHaveHappened("Kafka's producer ended without an answer".into()));
                answer.await.unwrap_or_else(|_| ended())?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl port::Feed for Feed {
    fn name(&self) -> &'static str {
        "events"
    }

    async fn next_offsets(&self) -> Result<Vec<(Partition, Offset)>> {
        let mut next = self.next.lock().await;
        let told = self.read_next().await?;
        *next = told.iter().map(|(partition, offset)| (*partition, *offset)).collect();
        Ok(told.into_iter().collect())
    }

    async fn append(&self, rows: &[Row]) -> Result<()> {
        let Some(first) = rows.first() else { return Ok(()) };
        let partition = first.position.partition;
        if partition >= self.topic.partitions {
            return Err(Error::DidNotHappen(format!(
                "there is no partition {partition}: Kafka's topic {} has {}",
                self.topic.name, self.topic.partitions
            )));
        }
        for (row, offset) in rows.iter().zip(first.position.offset..) {
            if row.position.partition != partition || row.position.offset != offset {
                return Err(Error::Conflict { expected: row.position.offset, found: offset });
            }
        }
        let mut next = self.next.lock().await;
        // Unknown from here on, until all are there: what fails, or is cut short, is read again.
        let due = self.due(&mut next, partition).await?;
        if first.position.offset > due {
            next.insert(partition, due);
            return Err(Error::Conflict { expected: first.position.offset, found: due });
        }
        let known = usize::try_from(due - first.position.offset).unwrap_or(usize::MAX).min(rows.len());
        self.send(&rows[known..]).await?;
        next.insert(partition, due.max(first.position.offset + rows.len() as u64));
        Ok(())
    }

    async fn skip_to(&self, partition: Partition, offset: Offset) -> Result<()> {
        let mut next = self.next.lock().await;
        let due = self.due(&mut next, partition).await?;
        next.insert(partition, due.max(offset));
        Ok(())
    }
}

/// An event's value; see the module.
#[derive(Serialize)]
struct Event<'a> {
    partition: Partition,
    offset: Offset,
    logged_at: Timestamp,
    decided_at: Timestamp,
    kind: &'static str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u32>,
    repeat: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<&'a SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    doctor_id: Option<&'a DoctorId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    department: Option<&'a DepartmentId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    campus: Option<&'a CampusId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<jiff::civil::Date>,
}

impl<'a> Event<'a> {
    fn new(row: &'a Row) -> Self {
        let session = row.session.as_ref();
        Self {
            partition: row.position.partition,
            offset: row.position.offset,
            logged_at: row.logged_at,
            decided_at: row.decided_at,
            kind: row.kind.as_str(),
            outcome: row.outcome.as_str(),
            reason: row.outcome.reason(),
            number: row.outcome.number(),
            repeat: row.repeat,
            session_id: row.session_id.as_ref().or(session.map(|session| &session.session_id)),
            doctor_id: session.map(|session| &session.doctor_id),
            department: session.map(|session| &session.department),
            campus: session.map(|session| &session.campus),
            day: session.map(|session| session.day),
        }
    }
}

/// The part of an event that says which one it is.
#[derive(Deserialize)]
struct Place {
    partition: Partition,
    offset: Offset,
}

struct Measures {
    sent_total: IntCounter,
    failed_total: IntCounter,
}

impl Measures {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        Ok(Self {
            sent_total: counter(metrics::EVENTS_SENT_TOTAL, "Events that arrived in Kafka, repeated ones included.")?,
            failed_total: counter(metrics::EVENTS_FAILED_TOTAL, "Events that did not arrive in Kafka, or may have.")?,
        })
    }
}

impl Observer for Measures {
    fn delivered(&self, _took: Duration) {
        self.sent_total.inc();
    }

    fn failed(&self) {
        self.failed_total.inc();
    }

    fn waiting(&self, _records: usize) {}

    fn restarted(&self) {}
}
