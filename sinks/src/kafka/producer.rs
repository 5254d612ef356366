//! The producer: idempotent, `acks=all`, with a thread of its own that takes the delivery reports.
//!
//! A record that it has accepted is delivered or refused whatever becomes of the caller. An error that it cannot go on
//! after (the sequence of an idempotent producer is broken) makes it start over with a new client; what was under way
//! then may have happened.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use orderly_domain::clock::Timestamp;
use orderly_domain::port::{Error, Result};
use orderly_domain::{Offset, Partition, Position};
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message as _, Timestamp as MessageTime};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext, PurgeConfig};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::{oneshot, watch};

use super::connection::{Connection, log_line, millis};
use super::topic::Topic;
use super::trouble::Trouble;

/// How often the thread looks whether it is to end; reports do not wait for it.
const POLL: Duration = Duration::from_millis(50);
/// How long what was accepted may take to be delivered once the producer is closed.
const CLOSE_MAX: Duration = Duration::from_secs(10);
/// How long a client that was given up may take to tell what became of its records.
const GIVE_UP_MAX: Duration = Duration::from_secs(2);

/// How much may wait, and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Records that wait for their delivery.
    pub(crate) queue_records_max: usize,
    /// Their bytes.
    pub(crate) queue_bytes_max: usize,
    /// How long a record waits for company.
    pub(crate) linger: Duration,
    /// How long a record is tried, over all retries.
    pub(crate) delivery_timeout: Duration,
}

/// What became of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivered {
    pub(crate) position: Position,
    /// `None` when the topic does not keep the broker's time.
    pub(crate) logged_at: Option<Timestamp>,
}

/// Who counts.
pub(crate) trait Observer: Send + Sync + 'static {
    /// A record was taken, so long after it was given.
    fn delivered(&self, took: Duration);
    /// A record was not taken, or nobody knows.
    fn failed(&self);
    /// So many records wait.
    fn waiting(&self, records: usize);
    /// The client was replaced by a new one.
    fn restarted(&self);
}

/// A producer to one topic. Dropping it delivers what it has accepted in the background; [`Producer::close`] waits for
/// that.
pub(crate) struct Producer {
    shared: Arc<Shared>,
    /// Closed once the thread has ended.
    ended: watch::Sender<()>,
}

struct Shared {
    config: ClientConfig,
    topic: String,
    queue_records_max: usize,
    client: Mutex<Arc<Client>>,
    closing: AtomicBool,
    state: Arc<State>,
}

type Client = BaseProducer<Context>;

/// What outlives a client.
struct State {
    trouble: Trouble,
    observer: Box<dyn Observer>,
}

struct Context(Arc<State>);

struct Waiting {
    since: Instant,
    answer: oneshot::Sender<Result<Delivered>>,
}

impl Producer {
    /// # Errors
    /// `DidNotHappen` when the client cannot be made.
    pub(crate) fn start(
        connection: &Connection,
        topic: &Topic,
        limits: Limits,
        observer: Box<dyn Observer>,
    ) -> Result<Self> {
        let config = config(connection, topic, limits);
        let state = Arc::new(State { trouble: Trouble::default(), observer });
        let client = Arc::new(make(&config, &state)?);
        let shared = Arc::new(Shared {
            config,
            topic: topic.name.clone(),
            queue_records_max: limits.queue_records_max,
            client: Mutex::new(client),
            closing: AtomicBool::new(false),
            state,
        });
        let (ended, running) = watch::channel(());
        let thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("orderly-kafka-producer".into())
            .spawn(move || {
                thread.run();
                drop(running);
            })
            .map_err(|error| Error::DidNotHappen(format!("Kafka's producer could not be started: {error}")))?;
        Ok(Self { shared, ended })
    }

    /// Accepts a record. It is on its way when this returns; the answer tells what became of it.
    ///
    /// # Errors
    /// `Overloaded` when the queue is full, `DidNotHappen` when it is refused otherwise.
    pub(crate) fn send(
        &self,
        partition: Partition,
        key: &str,
        payload: &[u8],
    ) -> Result<oneshot::Receiver<Result<Delivered>>> {
        if self.shared.closing.load(Ordering::Acquire) {
            return Err(Error::DidNotHappen("the connection to Kafka is closed".into()));
        }
        let (answer, answered) = oneshot::channel();
        let waiting = Box::new(Waiting { since: Instant::now(), answer });
        let mut record =
            BaseRecord::with_opaque_to(&self.shared.topic, waiting).partition(partition.into()).payload(payload);
        if !key.is_empty() {
            record = record.key(key);
        }
        match self.shared.client().send(record) {
            Ok(()) => Ok(answered),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Err(Error::Overloaded(format!(
                "{} records wait for Kafka; try again later",
                self.shared.queue_records_max
            ))),
            Err((error, _)) => Err(Error::DidNotHappen(format!("Kafka's producer refused a record: {error}"))),
        }
    }

    /// Why records may not get through now, as far as is known. `None` again after the next one that does, and half a minute
    /// after it was told of last.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.shared.state.trouble.cause(Instant::now())
    }

    /// Notes that the brokers have answered another client: a lost connection of this one is no trouble any more.
    pub(crate) fn reached(&self) {
        self.shared.state.trouble.reached();
    }

    /// Accepts no more, and returns when what was accepted is delivered or ten seconds have passed.
    pub(crate) async fn close(&self) {
        self.shared.closing.store(true, Ordering::Release);
        self.ended.closed().await;
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
    }
}

impl Shared {
    fn client(&self) -> Arc<Client> {
        Arc::clone(&lock(&self.client))
    }

    fn run(&self) {
        loop {
            let client = self.client();
            client.poll(POLL);
            self.state.observer.waiting(usize::try_from(client.in_flight_count()).unwrap_or(0));
            if self.closing.load(Ordering::Acquire) {
                if let Err(error) = client.flush(CLOSE_MAX) {
                    tracing::warn!(%error, topic = self.topic, "some records were not delivered when the producer closed");
                    client.purge(PurgeConfig::default().queue().inflight());
                    let _ = client.flush(GIVE_UP_MAX);
                }
                return;
            }
            if let Some((code, reason)) = client.client().fatal_error() {
                self.start_over(&client, &format!("{code}: {reason}"));
            }
        }
    }

    /// Replaces a client that cannot go on. Tried again with the next poll when that fails.
    fn start_over(&self, broken: &Client, cause: &str) {
        match make(&self.config, &self.state) {
            Ok(client) => *lock(&self.client) = Arc::new(client),
            Err(error) => {
                tracing::error!(%error, "Kafka's producer could not be made again");
                return;
            }
        }
        tracing::error!(cause, topic = self.topic, "Kafka's producer could not go on and was made again");
        let cause = format!("Kafka's producer was made again after an error that was final ({cause})");
        self.state.trouble.started_over(cause, Instant::now());
        self.state.observer.restarted();
        broken.purge(PurgeConfig::default().queue().inflight());
        if let Err(error) = broken.flush(GIVE_UP_MAX) {
            tracing::warn!(%error, "a producer that was given up did not tell what became of all its records");
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log_line(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // A connection that is lost is made again, and while others stand, records get through.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            tracing::debug!(%error, reason, "Kafka's producer met an error; it goes on trying");
            return;
        }
        let cause = format!("Kafka's producer reaches no broker: {reason}");
        if self.0.trouble.unreachable(cause.clone(), Instant::now()) {
            tracing::warn!(cause, "records wait for Kafka");
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Waiting>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Box<Waiting>) {
        let outcome = match result {
            Ok(message) => delivered(message.partition(), message.offset(), message.timestamp()),
            Err((error, _)) => Err(refusal(error)),
        };
        match &outcome {
            Ok(_) => {
                self.0.observer.delivered(waiting.since.elapsed());
                self.0.trouble.delivered();
            }
            Err(_) => self.0.observer.failed(),
        }
        // Whoever waited may have gone; the record is where it is.
        let _ = waiting.answer.send(outcome);
    }
}

/// What the client is made with.
fn config(connection: &Connection, topic: &Topic, limits: Limits) -> ClientConfig {
    let mut config = connection.config();
    config
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", millis(limits.linger))
        .set("message.timeout.ms", millis(limits.delivery_timeout))
        .set("request.timeout.ms", millis(connection.request_timeout))
        .set("message.max.bytes", topic.message_bytes_max().to_string())
        .set("queue.buffering.max.messages", limits.queue_records_max.to_string())
        .set("queue.buffering.max.kbytes", (limits.queue_bytes_max / 1024).max(1).to_string());
    config
}

fn make(config: &ClientConfig, state: &Arc<State>) -> Result<Client> {
    config
        .create_with_context(Context(Arc::clone(state)))
        .map_err(|error| Error::DidNotHappen(format!("Kafka's producer could not be made: {error}")))
}

fn delivered(partition: i32, offset: i64, time: MessageTime) -> Result<Delivered> {
    let (Ok(partition), Ok(offset)) = (Partition::try_from(partition), Offset::try_from(offset)) else {
        // So says a broker that knows only that it had this record before.
        return Err(Error::MayHaveHappened("Kafka has the record and does not tell where".into()));
    };
    let logged_at = match time {
        MessageTime::LogAppendTime(millis) => Some(Timestamp::from_millis(millis)),
        MessageTime::CreateTime(_) | MessageTime::NotAvailable => None,
    };
    Ok(Delivered { position: Position { partition, offset }, logged_at })
}

/// What a failed delivery lets one conclude. Only what no earlier try can have brought into the log did not happen.
fn refusal(error: &KafkaError) -> Error {
    use RDKafkaErrorCode as Code;
    let text = format!("Kafka did not take the record ({error})");
    match error.rdkafka_error_code() {
        Some(
            Code::MessageSizeTooLarge
            | Code::InvalidMessageSize
            | Code::MessageBatchTooLarge
            | Code::InvalidRecord
            | Code::UnknownPartition
            | Code::UnknownTopic
            | Code::InvalidTopic,
        ) => Error::DidNotHappen(text),
        _ => Error::MayHaveHappened(text),
    }
}

/// A thread that panicked while it held the lock left a value that is whole: it is only ever replaced.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use rdkafka::mocking::MockCluster;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    use super::*;

    #[derive(Default)]
    struct Counts {
        failed: AtomicUsize,
        restarted: AtomicUsize,
    }

    impl Observer for Arc<Counts> {
        fn delivered(&self, _took: Duration) {}

        fn failed(&self) {
            self.failed.fetch_add(1, Ordering::SeqCst);
        }

        fn waiting(&self, _records: usize) {}

        fn restarted(&self) {
            self.restarted.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn topic() -> Topic {
        Topic {
            name: "t".into(),
            partitions: 1,
            replication: 1,
            retention: Duration::from_secs(60),
            payload_bytes_max: 100,
        }
    }

    const LIMITS: Limits = Limits {
        queue_records_max: 100,
        queue_bytes_max: 1024 * 1024,
        linger: Duration::ZERO,
        delivery_timeout: Duration::from_secs(60),
    };

    /// What is told to be taken is on every broker that is in step, once and in order, whatever somebody configured.
    #[test]
    fn a_record_is_taken_by_all_and_once() {
        let properties = [("acks", "1"), ("enable.idempotence", "false")];
        let connection = Connection {
            brokers: "127.0.0.1:9".into(),
            request_timeout: Duration::from_secs(10),
            properties: properties.map(|(name, value)| (name.into(), value.into())).into(),
        };
        let config = config(&connection, &topic(), LIMITS);
        for (name, value) in [("acks", "all"), ("enable.idempotence", "true"), ("message.timeout.ms", "60000")] {
            assert_eq!(config.get(name), Some(value), "{name}");
        }
    }

    /// A broker that says, as a real one hardly ever does, that the sequence is broken.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn starts_over_after_an_error_that_is_final() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        let brokers = cluster.bootstrap_servers();
        let connection = Connection { brokers, request_timeout: Duration::from_secs(10), properties: Vec::new() };
        let counts = Arc::new(Counts::default());
        let producer = Producer::start(&connection, &topic(), LIMITS, Box::new(Arc::clone(&counts))).unwrap();
        let send = |text: &str| producer.send(0, "key", text.as_bytes());
        assert_eq!(send("first").unwrap().await.unwrap().unwrap().position.offset, 0);

        let broken = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        cluster.request_errors(RDKafkaApiKey::Produce, &[broken]);
        let answer = send("second").unwrap().await.unwrap();
        assert!(matches!(answer, Err(Error::MayHaveHappened(_))), "{answer:?}");
        while !producer.trouble().is_some_and(|told| told.contains("made again after an error that was final")) {
            tokio::task::yield_now().await;
        }
        producer.reached();
        assert!(producer.trouble().is_some(), "only a record tells that it goes on");
        let again = loop {
            // Refused until there is a new client.
            match send("third") {
                Ok(answer) => break answer.await.unwrap(),
                Err(error) => assert!(matches!(error, Error::DidNotHappen(_)), "{error}"),
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(again.unwrap().position.partition, 0, "it goes on");
        assert_eq!((counts.restarted.load(Ordering::SeqCst), producer.trouble()), (1, None));
        assert!(counts.failed.load(Ordering::SeqCst) >= 1);
        producer.close().await;
        assert!(matches!(send("late"), Err(Error::DidNotHappen(_))), "closed is closed");
    }
}
