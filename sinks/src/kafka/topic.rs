//! A topic as an adapter needs it: made when it is missing, refused when it is another.

use std::sync::Arc;
use std::time::Duration;

use orderly_domain::port::{Error, Result};
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::Instant;

use super::blocking;
use super::connection::{Connection, Quiet, millis};

/// How often a new topic is looked for, until all its partitions have a leader.
const POLL: Duration = Duration::from_millis(50);
/// What a record has beside its payload, at most: key, headers of the record and of its batch.
const OVERHEAD_BYTES: usize = 4 * 1024;
/// Kafka's own limit; a topic that takes longer records is asked for only where one is needed.
const MESSAGE_BYTES: usize = 1_000_000;

/// What a topic must be.
#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) partitions: u16,
    /// How many replicas a new topic gets.
    pub(crate) replication: u16,
    /// How long a new topic keeps its records.
    pub(crate) retention: Duration,
    /// The longest payload it must take.
    pub(crate) payload_bytes_max: usize,
}

/// What becomes of a topic that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    IsMade,
    IsRefused,
}

/// What is known of a topic.
struct Found {
    partitions: usize,
    /// Whether every partition can be written and read.
    led: bool,
}

impl Topic {
    /// The longest message that its producers may send, in bytes.
    pub(crate) fn message_bytes_max(&self) -> usize {
        MESSAGE_BYTES.max(self.payload_bytes_max + OVERHEAD_BYTES)
    }

    /// Checks that the topic is there and what is needed. One that is missing is made, if that is wanted.
    ///
    /// # Errors
    /// `DidNotHappen` when no broker answers, there is no such topic or it cannot be made, or it has another shape.
    pub(crate) async fn settle(&self, connection: &Connection, missing: Missing) -> Result<()> {
        let mut config = connection.config();
        config.set("allow.auto.create.topics", "false");
        let admin: AdminClient<Quiet> = config
            .create_with_context(Quiet)
            .map_err(|error| Error::DidNotHappen(format!("Kafka's client could not be made: {error}")))?;
        let admin = Arc::new(admin);
        let outcome = self.settle_with(connection, missing, &admin).await;
        // Its end joins a thread.
        drop(tokio::task::spawn_blocking(move || drop(admin)));
        outcome
    }

    async fn settle_with(
        &self,
        connection: &Connection,
        missing: Missing,
        admin: &Arc<AdminClient<Quiet>>,
    ) -> Result<()> {
        if self.find(connection, admin).await?.is_none() {
            match missing {
                Missing::IsMade => self.create(connection, admin).await?,
                Missing::IsRefused => {
                    return Err(Error::DidNotHappen(format!(
                        "Kafka at {} has no topic {}; name the one that was written to, or bring it back",
                        connection.brokers, self.name
                    )));
                }
            }
        }
        let deadline = Instant::now() + connection.request_timeout;
        loop {
            match self.find(connection, admin).await? {
                Some(found) if found.led => {
                    self.check_partitions(found.partitions)?;
                    break;
                }
                _ if Instant::now() > deadline => {
                    return Err(Error::DidNotHappen(format!(
                        "not every partition of Kafka's topic {} has a leader; see that its brokers run",
                        self.name
                    )));
                }
                _ => tokio::time::sleep(POLL).await,
            }
        }
        self.check_settings(connection, admin).await
    }

    async fn find(&self, connection: &Connection, admin: &Arc<AdminClient<Quiet>>) -> Result<Option<Found>> {
        let (admin, name, connection) = (Arc::clone(admin), self.name.clone(), connection.clone());
        blocking(move || {
            // All topics: asking for one by name would make a broker that makes topics by itself make it.
            let metadata = admin
                .inner()
                .fetch_metadata(None, connection.request_timeout)
                .map_err(|error| connection.unanswered("tell its topics", &error))?;
            let topic = metadata.topics().iter().find(|topic| topic.name() == name && topic.error().is_none());
            Ok(topic.map(|topic| Found {
                partitions: topic.partitions().len(),
                led: topic.partitions().iter().all(|partition| partition.leader() >= 0),
            }))
        })
        .await
    }

    async fn create(&self, connection: &Connection, admin: &AdminClient<Quiet>) -> Result<()> {
        let retention = millis(self.retention);
        let message_bytes_max = self.message_bytes_max().to_string();
        // With three replicas, two of them hold a record before it counts as taken.
        let in_sync = if self.replication >= 3 { "2" } else { "1" };
        let topic = NewTopic::new(&self.name, self.partitions.into(), TopicReplication::Fixed(self.replication.into()))
            .set("cleanup.policy", "delete")
            .set("message.timestamp.type", "LogAppendTime")
            .set("retention.ms", &retention)
            .set("retention.bytes", "-1")
            .set("max.message.bytes", &message_bytes_max)
            .set("min.insync.replicas", in_sync)
            .set("unclean.leader.election.enable", "false");
        let made = admin.create_topics([&topic], &options(connection)).await;
        let made = made.map_err(|error| connection.unanswered("make a topic", &error))?;
        match made.into_iter().next() {
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {}
            Some(Err((_, code))) => {
                return Err(Error::DidNotHappen(format!(
                    "Kafka would not make the topic {} with {} partitions and {} replicas ({code}); make it by hand, or \
                     change the number of replicas",
                    self.name, self.partitions, self.replication
                )));
            }
            Some(Ok(_)) | None => tracing::info!(topic = self.name, partitions = self.partitions, "made a topic"),
        }
        Ok(())
    }

    fn check_partitions(&self, found: usize) -> Result<()> {
        if found == usize::from(self.partitions) {
            return Ok(());
        }
        Err(Error::DidNotHappen(format!(
            "Kafka's topic {} has {found} partitions and {} are configured; configure {found}, or name another topic: which \
             partition a doctor's records are in depends on their number, so it never changes",
            self.name, self.partitions
        )))
    }

    async fn check_settings(&self, connection: &Connection, admin: &AdminClient<Quiet>) -> Result<()> {
        let deadline = Instant::now() + connection.request_timeout;
        let described = loop {
            let described = admin.describe_configs([&ResourceSpecifier::Topic(&self.name)], &options(connection)).await;
            let described = described.map_err(|error| connection.unanswered("tell a topic's settings", &error))?;
            let described = described.into_iter().next();
            // A broker that has just heard of the topic has no settings of it for a moment.
            let is_told = described.as_ref().is_some_and(|topic| {
                let told = topic.as_ref().ok().and_then(|told| told.get("message.timestamp.type"));
                told.is_some_and(|entry| entry.value.is_some())
            });
            if is_told || Instant::now() > deadline {
                break described;
            }
            tokio::time::sleep(POLL).await;
        };
        let settings = match described {
            Some(Ok(settings)) => settings,
            other => {
                let cause = other
                    .and_then(std::result::Result::err)
                    .map_or_else(|| "nothing".into(), |error| format!("{error:?}"));
                return Err(Error::DidNotHappen(format!(
                    "Kafka did not tell the settings of the topic {} ({cause}); allow this client to describe it",
                    self.name
                )));
            }
        };
        self.check_setting(&settings, "message.timestamp.type", "LogAppendTime", |value| value == "LogAppendTime")?;
        self.check_setting(&settings, "cleanup.policy", "delete", |value| value == "delete")?;
        let most = self.payload_bytes_max + OVERHEAD_BYTES;
        self.check_setting(&settings, "max.message.bytes", &format!("{most} or more"), |value| {
            value.parse::<usize>().is_ok_and(|value| value >= most)
        })
    }

    fn check_setting(
        &self,
        settings: &ConfigResource,
        name: &str,
        needed: &str,
        fits: impl Fn(&str) -> bool,
    ) -> Result<()> {
        let value = settings.get(name).and_then(|entry| entry.value.as_deref()).unwrap_or_default();
        if fits(value) {
            return Ok(());
        }
        Err(Error::DidNotHappen(format!(
            "Kafka's topic {} has {name}={value} and needs {needed}; change it with kafka-configs, or name another topic",
            self.name
        )))
    }
}

fn options(connection: &Connection) -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(connection.request_timeout))
        .operation_timeout(Some(connection.request_timeout))
}
