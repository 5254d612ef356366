//! The member of the consumer group: one thread that polls, whatever the reader does meanwhile.
//!
//! The group only assigns partitions; offsets come from the reader. A partition is fetched from when the reader has told
//! where to go on, and it is given up when the reader has finished what it had of it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use orderly_domain::port::log::Record;
use orderly_domain::port::{Error, Result};
use orderly_domain::{Offset, Partition, Position, Timestamp};
use prometheus::IntGauge;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use rdkafka::{ClientContext, TopicPartitionList};
use tokio::sync::watch;

use super::Options;
use super::inbox::{Inbox, Release};
use crate::kafka::{is_told_of, log_line};

/// How long a poll waits for a record: how soon the reader's wishes are seen to.
const POLL: Duration = Duration::from_millis(20);
/// How long the thread may be away before the group takes it for dead; it never is, for so long.
const MAX_POLL_INTERVAL_MS: &str = "300000";
/// How many records are taken at once, before the reader sees them.
const TURN_RECORDS: usize = 4_096;
/// How much librdkafka reads ahead on its own, beside what is held here.
const CLIENT_READ_AHEAD_KB: &str = "8192";
/// How much of a partition one answer of a broker has, at most.
const FETCH_BYTES_MAX: usize = 1024 * 1024;
const FETCH_BYTES_MIN: usize = 64 * 1024;
/// How often it is said at most that something is wrong that heals.
const WARN_EVERY: Duration = Duration::from_secs(5);
/// How long a topic may be unknown to the brokers before it counts as deleted.
const MISSING_MAX: Duration = Duration::from_secs(10);
/// How often it is looked for, and how long that may take.
const LOOK: Duration = Duration::from_secs(1);

/// How a reader comes by its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    /// The group assigns them.
    Member,
    /// It takes what it is told to, beside the group.
    Onlooker,
}

/// Reads for `inbox` until that is closed. `running` is dropped at the very end.
///
/// # Errors
/// `DidNotHappen` when the client cannot be made.
pub(super) fn join(
    options: &Options,
    membership: Membership,
    inbox: &Arc<Inbox>,
    read_ahead_records: IntGauge,
    running: watch::Receiver<()>,
) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::DidNotHappen(format!("the reader of Kafka's topic {} could not be made: {error}", options.topic))
    };
    let partition_bytes = (options.read_ahead_bytes_max / usize::from(options.partitions)).max(2 * FETCH_BYTES_MIN);
    let context = Context { changes: Mutex::default(), reason: Mutex::default(), leaving: AtomicBool::new(false) };
    let config = config(options, partition_bytes);
    let consumer: BaseConsumer<Context> = config.create_with_context(context).map_err(|error| failed(&error))?;
    match membership {
        Membership::Member => consumer.subscribe(&[&options.topic]).map_err(|error| failed(&error))?,
        // The client wants a group's name all the same; without a subscription it never joins it.
        Membership::Onlooker => {}
    }
    let group = Group {
        consumer,
        inbox: Arc::clone(inbox),
        topic: options.topic.clone(),
        partition_bytes,
        revoke_timeout: options.revoke_timeout,
        fetched: BTreeSet::new(),
        paused: BTreeSet::new(),
        leaving: None,
        missing: None,
        warned_at: None,
        read_ahead_records,
    };
    let guard = Guard(Arc::clone(inbox));
    std::thread::Builder::new()
        .name("orderly-kafka-reader".into())
        .spawn(move || {
            let _guard = guard;
            group.run();
            drop(running);
        })
        .map_err(|error| failed(&error))?;
    Ok(())
}

/// What the consumer is made with.
fn config(options: &Options, partition_bytes: usize) -> ClientConfig {
    let mut config = options.connection().config();
    config
        .set("group.id", &options.group)
        .set("session.timeout.ms", options.session_timeout.as_millis().to_string())
        // A member learns with its next heartbeat that partitions are shared anew, and everybody waits for the last one.
        .set("heartbeat.interval.ms", (options.session_timeout.as_millis() / 10).clamp(100, 3_000).to_string())
        .set("max.poll.interval.ms", MAX_POLL_INTERVAL_MS)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("allow.auto.create.topics", "false")
        .set("check.crcs", "true")
        .set("fetch.error.backoff.ms", "100")
        .set("fetch.queue.backoff.ms", "10")
        .set("queued.max.messages.kbytes", CLIENT_READ_AHEAD_KB)
        .set("fetch.message.max.bytes", (partition_bytes / 2).clamp(FETCH_BYTES_MIN, FETCH_BYTES_MAX).to_string());
    config
}

struct Group {
    consumer: BaseConsumer<Context>,
    inbox: Arc<Inbox>,
    topic: String,
    /// How much is held of a partition before it is paused.
    partition_bytes: usize,
    revoke_timeout: Duration,
    /// The partitions that are read from.
    fetched: BTreeSet<Partition>,
    /// Those of them that have enough for now.
    paused: BTreeSet<Partition>,
    /// Partitions that the reader finishes, and since when.
    leaving: Option<(BTreeSet<Partition>, Instant)>,
    missing: Option<Missing>,
    /// When it was said last that something is wrong that heals.
    warned_at: Option<Instant>,
    read_ahead_records: IntGauge,
}

/// The brokers do not know the topic.
struct Missing {
    since: Instant,
    look_at: Instant,
}

impl Group {
    fn run(mut self) {
        while !self.inbox.is_closing() {
            self.give_up_finished();
            if self.inbox.take_restart() {
                // Else a whole backlog would be fetched and thrown away while a takeover waits for the store.
                self.unassign(&self.fetched.clone());
            }
            self.go_on();
            self.pause_and_resume();
            self.look_for_topic();
            let records = self.poll();
            self.read_ahead_records.set(i64::try_from(self.inbox.put(records)).unwrap_or(i64::MAX));
            self.follow_changes();
        }
        // From here on the group's wishes are met at once. The consumer's drop leaves the group, however long that takes.
        self.consumer.context().leaving.store(true, Ordering::Release);
        if let Some((partitions, _)) = self.leaving.take() {
            self.give_up(&partitions);
        }
        self.read_ahead_records.set(0);
    }

    /// Takes what is there, or waits a moment for the first of it.
    fn poll(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        let mut patience = POLL;
        while records.len() < TURN_RECORDS {
            match self.consumer.poll(patience) {
                None => break,
                Some(Ok(message)) => records.extend(record(&message)),
                Some(Err(error)) => {
                    let verdict = judge(&error);
                    self.suffer(&error, verdict);
                }
            }
            patience = Duration::ZERO;
        }
        records
    }

    fn follow_changes(&mut self) {
        while let Some(change) = self.consumer.context().next_change() {
            match change {
                Change::Assigned(partitions) => {
                    // Nothing is fetched until the reader has told from where; the group needs an answer now.
                    self.assign(&TopicPartitionList::new());
                    if !partitions.is_empty() {
                        self.inbox.assigned(partitions);
                    }
                }
                Change::Revoked { partitions, lost } => match self.inbox.revoked(partitions.clone(), lost) {
                    Release::Now => self.give_up(&partitions),
                    Release::Later => self.leaving = Some((partitions, Instant::now())),
                },
            }
        }
    }

    fn give_up_finished(&mut self) {
        let Some((_, since)) = &self.leaving else { return };
        let late = since.elapsed() > self.revoke_timeout;
        if !late && !self.inbox.has_finished() {
            return;
        }
        if late {
            tracing::warn!("partitions go to another node before what was read of them is finished here");
        }
        if let Some((partitions, _)) = self.leaving.take() {
            self.give_up(&partitions);
            self.inbox.released();
        }
    }

    /// Tells the group that these partitions are free.
    fn give_up(&mut self, partitions: &BTreeSet<Partition>) {
        let fetched = partitions.intersection(&self.fetched).copied().collect();
        self.unassign(&fetched);
    }

    /// Reads from where the reader wants to.
    fn go_on(&mut self) {
        let sought = self.inbox.take_sought();
        if sought.is_empty() {
            return;
        }
        let again: BTreeSet<_> = sought.keys().filter(|partition| self.fetched.contains(partition)).copied().collect();
        if !again.is_empty() {
            self.unassign(&again);
        }
        let mut list = TopicPartitionList::with_capacity(sought.len());
        for (partition, offset) in &sought {
            let offset = rdkafka::Offset::Offset(i64::try_from(*offset).unwrap_or(i64::MAX));
            if let Err(error) = list.add_partition_offset(&self.topic, (*partition).into(), offset) {
                self.inbox.fail(format!("offset {offset:?} of partition {partition} is none of Kafka's: {error}"));
                return;
            }
        }
        self.assign(&list);
        self.fetched.extend(sought.keys());
    }

    fn assign(&self, list: &TopicPartitionList) {
        if let Err(error) = self.consumer.incremental_assign(list) {
            self.inbox
                .fail(format!("Kafka's client would not read the partitions it was given ({error}); start again"));
        }
    }

    fn unassign(&mut self, partitions: &BTreeSet<Partition>) {
        let paused: BTreeSet<_> = partitions.intersection(&self.paused).copied().collect();
        self.resume(&paused);
        self.fetched.retain(|partition| !partitions.contains(partition));
        if let Err(error) = self.consumer.incremental_unassign(&self.list(partitions)) {
            self.inbox.fail(format!("Kafka's client would not give partitions up ({error}); start again"));
        }
    }

    /// Stops fetching of partitions that have enough, and goes on when half of it is gone.
    fn pause_and_resume(&mut self) {
        let bytes = |partition: &Partition| self.inbox.bytes(*partition);
        let full = |partition: &Partition| bytes(partition) >= self.partition_bytes;
        let pause: BTreeSet<_> = self.fetched.difference(&self.paused).copied().filter(full).collect();
        let hungry = |partition: &Partition| bytes(partition) <= self.partition_bytes / 2;
        let resume: BTreeSet<_> = self.paused.iter().copied().filter(hungry).collect();
        if !pause.is_empty() {
            match self.consumer.pause(&self.list(&pause)) {
                Ok(()) => self.paused.extend(pause),
                Err(error) => {
                    tracing::warn!(%error, "partitions could not be paused; more is read ahead than should be");
                }
            }
        }
        self.resume(&resume);
    }

    fn resume(&mut self, partitions: &BTreeSet<Partition>) {
        if partitions.is_empty() {
            return;
        }
        match self.consumer.resume(&self.list(partitions)) {
            Ok(()) => self.paused.retain(|partition| !partitions.contains(partition)),
            Err(error) => tracing::warn!(%error, "partitions could not be resumed; this is tried again"),
        }
    }

    fn list(&self, partitions: &BTreeSet<Partition>) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&self.topic, (*partition).into());
        }
        list
    }

    fn suffer(&mut self, error: &KafkaError, verdict: Verdict) {
        let reason = self.consumer.context().reason();
        match verdict {
            Verdict::Heals => {
                let now = Instant::now();
                if self.warned_at.is_none_or(|at| now - at > WARN_EVERY) {
                    self.warned_at = Some(now);
                    tracing::warn!(%error, reason, "the intent log's reader met an error; it goes on trying");
                }
            }
            Verdict::Missing => {
                let now = Instant::now();
                self.missing.get_or_insert(Missing { since: now, look_at: now });
            }
            Verdict::Lost => self.inbox.fail(format!(
                "Kafka's topic {} has not what was to be read next ({error}: {reason}): undecided records were dropped, or the \
                 topic was replaced by another; compare it with the store before you start again",
                self.topic
            )),
            Verdict::Refused => self.inbox.fail(format!(
                "Kafka's topic {} cannot be read ({error}: {reason}); see the brokers' log, mend it and start again",
                self.topic
            )),
        }
    }

    /// Whether a topic that a broker did not know is gone: after a start, brokers learn of topics bit by bit.
    fn look_for_topic(&mut self) {
        let Some(missing) = &mut self.missing else { return };
        let now = Instant::now();
        if now < missing.look_at {
            return;
        }
        missing.look_at = now + LOOK;
        match self.consumer.fetch_metadata(Some(&self.topic), LOOK) {
            Ok(told) => match is_told_of(&told, &self.topic) {
                Some(true) => self.missing = None,
                Some(false) if missing.since.elapsed() > MISSING_MAX => {
                    self.missing = None;
                    self.inbox.fail(format!(
                        "Kafka has no topic {} any more; if it was deleted, so were records that the store may not have \
                         decided",
                        self.topic
                    ));
                }
                _ => {}
            },
            Err(error) => tracing::debug!(%error, "the brokers do not say whether the topic is there"),
        }
    }
}

/// What an error of the consumer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It passes.
    Heals,
    /// A broker does not know the topic.
    Missing,
    /// What should be there is not.
    Lost,
    /// It will not pass by itself.
    Refused,
}

fn judge(error: &KafkaError) -> Verdict {
    use RDKafkaErrorCode as Code;
    if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
        return Verdict::Refused;
    }
    match error.rdkafka_error_code() {
        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::NoOffset | Code::LogTruncation) => Verdict::Lost,
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicId) => {
            Verdict::Missing
        }
        Some(
            Code::BadMessage
            | Code::BadCompression
            | Code::InvalidMessage
            | Code::InvalidTopic
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::FencedInstanceId
            | Code::InvalidSessionTimeout
            | Code::InconsistentGroupProtocol,
        ) => Verdict::Refused,
        _ => Verdict::Heals,
    }
}

fn record(message: &BorrowedMessage<'_>) -> Option<Record> {
    let partition = Partition::try_from(message.partition()).ok()?;
    let offset = Offset::try_from(message.offset()).ok()?;
    Some(Record {
        position: Position { partition, offset },
        logged_at: Timestamp::from_millis(message.timestamp().to_millis().unwrap_or(0)),
        payload: message.payload().unwrap_or_default().to_vec(),
    })
}

/// What the group wants.
enum Change {
    Assigned(BTreeSet<Partition>),
    Revoked { partitions: BTreeSet<Partition>, lost: bool },
}

/// Notes what the group wants; the thread does it after the poll.
struct Context {
    changes: Mutex<VecDeque<Change>>,
    /// What was told with the last error.
    reason: Mutex<String>,
    /// Whether there is nobody left to finish anything.
    leaving: AtomicBool,
}

impl Context {
    fn next_change(&self) -> Option<Change> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn reason(&self) -> String {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log_line(level, facility, text);
    }

    fn error(&self, _error: KafkaError, reason: &str) {
        reason.clone_into(&mut self.reason.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, change: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if self.leaving.load(Ordering::Acquire) {
            // While it closes, the client takes either call for "everything is given up".
            if let Err(error) = consumer.incremental_unassign(list) {
                tracing::debug!(%error, "a closing reader could not give its partitions up");
            }
            return;
        }
        let partitions =
            list.elements().iter().filter_map(|element| Partition::try_from(element.partition()).ok()).collect();
        let change = if change == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            Change::Assigned(partitions)
        } else {
            Change::Revoked { partitions, lost: consumer.assignment_lost() }
        };
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).push_back(change);
    }
}

/// Tells the reader when the thread ends by a panic.
struct Guard(Arc<Inbox>);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("the thread that reads the intent log panicked; start again".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the group goes on is in the store, with what was decided.
    #[test]
    fn kafka_is_never_told_how_far_it_was_read() {
        // What somebody configured does not change that.
        let commits = ["enable.auto.commit", "enable.auto.offset.store"].map(|name| (name.into(), "true".into()));
        let config = config(&Options { properties: commits.into(), ..Options::default() }, FETCH_BYTES_MAX);
        for (name, value) in [
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            ("allow.auto.create.topics", "false"),
            ("check.crcs", "true"),
        ] {
            assert_eq!(config.get(name), Some(value), "{name}");
        }
    }
}
