//! What an operator may choose.

use std::time::Duration;

use crate::kafka::{Connection, Limits, Topic};

/// How the log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where the brokers are: `host:port`, with commas between.
    pub brokers: String,
    /// The topic.
    pub topic: String,
    /// How many partitions a new topic gets; an existing one must have as many. 1 to 1024.
    pub partitions: u16,
    /// How many replicas a new topic gets. With three or more, a record counts as taken once two have it; with fewer, once
    /// the leader has it.
    pub replication: u16,
    /// How long a new topic keeps records. Longer than the pipeline is ever down: what ages before it is decided is lost,
    /// and the pipeline stops there.
    pub retention: Duration,
    /// The consumer group, by which the readers of all processes share the partitions.
    pub group: String,
    /// How many appends may wait; further ones are refused as `Overloaded`.
    pub queue_records_max: usize,
    /// How many bytes of payload may wait; further ones are refused as `Overloaded`.
    pub queue_bytes_max: usize,
    /// The longest payload that is taken, in bytes.
    pub payload_bytes_max: usize,
    /// How long an append waits for company.
    pub linger: Duration,
    /// How long a record is tried, over all retries. Far longer than a caller waits: a record that is given up too early
    /// breaks the order of those behind it.
    pub delivery_timeout: Duration,
    /// How long one request may take before it is tried again, or a read fails.
    pub request_timeout: Duration,
    /// How long a process may be silent before its partitions go to others.
    pub session_timeout: Duration,
    /// How long a reader may take to finish what it has of partitions that are to go to others; then they go all the same.
    pub revoke_timeout: Duration,
    /// How many bytes a reader reads ahead at most, over all partitions, give or take a fetch.
    pub read_ahead_bytes_max: usize,
    /// Further settings of librdkafka, for instance those of authentication. What the log's promises rest on stays as it is.
    pub properties: Vec<(String, String)>,
}

impl Options {
    /// The most partitions a log can have.
    pub const PARTITIONS_MAX: u16 = 1024;

    /// The largest payload: Kafka is not made for larger messages.
    const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;
    /// librdkafka's own limits.
    const QUEUE_MAX: usize = 10_000_000;
    const BYTES_MAX: usize = 1024 * 1024 * 1024;

    /// Says what is out of range, if something is.
    pub(super) fn validate(&self) -> Result<(), String> {
        for (name, value) in [("brokers", &self.brokers), ("topic", &self.topic), ("group", &self.group)] {
            if value.trim().is_empty() {
                return Err(format!("the log's {name} must be named"));
            }
        }
        for (name, value, most) in [
            ("partitions", self.partitions.into(), Self::PARTITIONS_MAX.into()),
            ("replication", self.replication.into(), 100),
            ("queue_records_max", self.queue_records_max, Self::QUEUE_MAX),
            ("queue_bytes_max", self.queue_bytes_max, Self::BYTES_MAX),
            ("payload_bytes_max", self.payload_bytes_max, Self::PAYLOAD_BYTES_MAX),
            ("read_ahead_bytes_max", self.read_ahead_bytes_max, Self::BYTES_MAX),
        ] {
            if !(1..=most).contains(&value) {
                return Err(format!("the log's {name} must be 1 to {most}, not {value}"));
            }
        }
        let minute = Duration::from_secs(60);
        for (name, value, least, most) in [
            ("linger", self.linger, Duration::ZERO, minute),
            ("request_timeout", self.request_timeout, Duration::from_millis(100), 5 * minute),
            ("delivery_timeout", self.delivery_timeout, self.request_timeout, 24 * 60 * minute),
            ("session_timeout", self.session_timeout, Duration::from_secs(1), 4 * minute),
            ("revoke_timeout", self.revoke_timeout, Duration::from_secs(1), 4 * minute),
            ("retention", self.retention, minute, 3650 * 24 * 60 * minute),
        ] {
            if !(least..=most).contains(&value) {
                return Err(format!("the log's {name} must be {least:?} to {most:?}, not {value:?}"));
            }
        }
        Ok(())
    }

    pub(super) fn connection(&self) -> Connection {
        Connection {
            brokers: self.brokers.clone(),
            request_timeout: self.request_timeout,
            properties: self.properties.clone(),
        }
    }

    pub(super) fn topic(&self) -> Topic {
        Topic {
            name: self.topic.clone(),
            partitions: self.partitions,
            replication: self.replication,
            retention: self.retention,
            payload_bytes_max: self.payload_bytes_max,
        }
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            queue_records_max: self.queue_records_max,
            queue_bytes_max: self.queue_bytes_max,
            linger: self.linger,
            delivery_timeout: self.delivery_timeout,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".into(),
            topic: "orderly.intents".into(),
            partitions: 8,
            replication: 1,
            retention: Duration::from_secs(7 * 24 * 60 * 60),
            group: "orderly.pipeline".into(),
            queue_records_max: 16_384,
            queue_bytes_max: 256 * 1024 * 1024,
            payload_bytes_max: 64 * 1024,
            linger: Duration::from_millis(1),
            delivery_timeout: Duration::from_secs(5 * 60),
            request_timeout: Duration::from_secs(10),
            // A broker that comes back, or its successor, is mostly there by then. Members that have given it up meanwhile come as
            // new ones, and wait as long again for those that they were.
            session_timeout: Duration::from_secs(8),
            revoke_timeout: Duration::from_secs(60),
            read_ahead_bytes_max: 64 * 1024 * 1024,
            properties: Vec::new(),
        }
    }
}
