//! What librdkafka can produce by itself: the limit of bookings over HTTP into Kafka.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use orderly_domain::envelope::{Intent, encode};
use orderly_domain::partition_of;
use orderly_sinks::log::kafka::Log;
use prometheus::Registry;
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use super::hospital::Hospital;
use super::servers::{PARTITIONS, Servers};

/// Records that are made before they are sent; then they are sent again.
const RECORDS: u32 = 100_000;
const TOPIC: &str = "produced";
const FLUSH_MAX: Duration = Duration::from_secs(30);

/// librdkafka with the log's settings, on a topic like the log's, with records like the ingress's.
pub(super) struct Producer {
    brokers: String,
    records: Vec<Record>,
}

impl Producer {
    pub(super) async fn new(servers: &Servers) -> anyhow::Result<Self> {
        // The topic is made as the log makes its own.
        Log::open(servers.log(TOPIC), &Registry::new()).await?.close().await;
        Ok(Self { brokers: servers.kafka.brokers(), records: records()? })
    }

    /// Records a second that librdkafka delivers with the log's settings: as fast as it takes them, or with no more that
    /// are not delivered than `in_flight_max`, as when each has somebody who waits for it.
    pub(super) fn run(&self, length: Duration, in_flight_max: Option<usize>) -> anyhow::Result<f64> {
        let delivered = Arc::new(Delivered::new(in_flight_max.unwrap_or(usize::MAX)));
        let producer: ThreadedProducer<_> = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", "1")
            .create_with_context(Context(Arc::clone(&delivered)))?;
        let start = Instant::now();
        for Record { partition, key, payload } in self.records.iter().cycle() {
            if start.elapsed() > length {
                break;
            }
            delivered.wait_for_room();
            let mut record = BaseRecord::to(TOPIC).partition(*partition).key(key).payload(payload);
            while let Err((error, refused)) = producer.send(record) {
                let full = matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
                ensure!(full, "librdkafka took no record: {error}");
                record = refused;
                std::thread::yield_now();
            }
        }
        producer.flush(FLUSH_MAX).context("librdkafka did not deliver its records")?;
        let seconds = start.elapsed().as_secs_f64();
        let Counts { records, failed, .. } = *delivered.counts();
        ensure!(failed == 0, "librdkafka did not deliver all its records");
        Ok(records as f64 / seconds)
    }
}

/// A record as the ingress writes it.
struct Record {
    partition: i32,
    key: String,
    payload: Vec<u8>,
}

fn records() -> anyhow::Result<Vec<Record>> {
    let hospital = Hospital::new(1)?;
    let rush = hospital.rush(RECORDS)?.map(|command| {
        let intent = Intent { requested_by: "bench".to_owned(), command: command? };
        let doctor = intent.command.doctor_id();
        let partition = partition_of(doctor, PARTITIONS).into();
        Ok(Record { partition, key: doctor.to_string(), payload: encode(&intent) })
    });
    rush.collect()
}

/// Counts what was delivered, and holds the sender back while too much is not.
struct Delivered {
    in_flight_max: usize,
    counts: Mutex<Counts>,
    one_less: Condvar,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    in_flight: usize,
    records: u64,
    failed: u64,
}

impl Delivered {
    fn new(in_flight_max: usize) -> Self {
        Self { in_flight_max, counts: Mutex::default(), one_less: Condvar::new() }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one in, as soon as it fits.
    fn wait_for_room(&self) {
        let full = |counts: &mut Counts| counts.in_flight >= self.in_flight_max;
        let mut counts = self.one_less.wait_while(self.counts(), full).unwrap_or_else(PoisonError::into_inner);
        counts.in_flight += 1;
    }
}

struct Context(Arc<Delivered>);

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut counts = self.0.counts();
        counts.in_flight -= 1;
        *if result.is_ok() { &mut counts.records } else { &mut counts.failed } += 1;
        drop(counts);
        self.0.one_less.notify_one();
    }
}
