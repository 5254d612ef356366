//! ClickHouse is away for long: patients notice nothing, and analysts miss nothing once it is back.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use jiff::civil::{date, time};
use orderly_domain::envelope::{Intent, encode};
use orderly_domain::port::IntentLog as _;
use orderly_domain::{Book, Command, DoctorId, Exclusivity, PatientId, Session, Timestamp, partition_of, ticket};
use orderly_sinks::log;
use prometheus::Registry;
use serde_json::{Value, json};

use crate::program::{orderly, output};
use crate::server::Server;
use crate::stack::{CONFIG, Servers};

/// Records that are decided while it is away.
const BACKLOG: u32 = 100_000;
/// Appends that wait for the log at once.
const APPENDS: usize = 512;
/// Patients who book through the API meanwhile.
const PATIENTS: u32 = 60;
/// The relay's pages, and so the largest insert.
const PAGE_ROWS: u64 = 2_000;
/// What the relay may need more than before to catch up, in bytes: some pages, not the backlog.
const MEMORY_MAX: u64 = 96 << 20;
/// Long enough for any machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn analytics_that_were_away_miss_nothing_and_cost_patients_nothing() {
    let mut servers = tokio::task::block_in_place(Servers::start);
    let (relay, pipeline) = (servers.node("relay"), servers.node("pipeline"));
    let ingress = servers.node("ingress");
    let log = log::kafka::Options { brokers: servers.kafka.brokers(), ..log::kafka::Options::default() };
    let log = log::kafka::Log::open(log, &Registry::new()).await.expect("Kafka answers");
    append(&log, Command::OpenSession(Box::new(session("booked", 1_000)))).await.expect("it is taken");
    // Nobody waits in the line behind the crowd's.
    let line = partition_of(&doctor("booked"), log.partitions());
    let names = (0..).map(|n| format!("crowd-{n}"));
    let crowds: Vec<_> = names.filter(|name| partition_of(&doctor(name), log.partitions()) != line).take(8).collect();
    for name in &crowds {
        append(&log, Command::OpenSession(Box::new(session(name, 40)))).await.expect("it is taken");
    }
    until(|| async { listed(&ingress, "booked").await }).await;
    let before = relay.memory_bytes("VmHWM");
    servers.clickhouse.process().kill().expect("it goes");

    let crowd = (0..BACKLOG).map(|number| {
        let session = session(&crowds[number as usize % crowds.len()], 40);
        let patient_id: PatientId = format!("crowd-{number}").parse().expect("valid");
        let ticket = ticket::Id::derive(&patient_id, "key");
        append(&log, Command::Book(Book { ticket, patient_id, session: session.reference(), details: None }))
    });
    let crowd = futures::stream::iter(crowd).buffer_unordered(APPENDS).try_collect::<()>();
    let (taken, booked) = tokio::join!(crowd, book_each(&servers, &ingress));
    taken.expect("they are taken");
    assert_eq!(booked, PATIENTS, "everybody was told their number while ClickHouse was away");
    let asked = u64::from(BACKLOG + PATIENTS);
    until(|| async { decided(&pipeline).await >= asked }).await;
    assert_eq!(booked_in(&ingress, "booked").await, PATIENTS, "and it was never back meanwhile");
    assert!(!servers.clickhouse.process().is_running());

    tokio::task::block_in_place(|| servers.clickhouse.restart()).expect("it is back");
    let records: u64 = log.extents().await.expect("Kafka answers").iter().map(|extent| extent.end).sum();
    let url = format!("{}/?database=orderly", servers.clickhouse.url());
    let http = reqwest::Client::new();
    let number = async |sql: &'static str| {
        let text = http.post(&url).body(sql).send().await.expect("an answer").text().await.expect("text");
        // It may not have its tables yet.
        text.trim().parse::<u64>().unwrap_or(0)
    };
    until(|| async { number("SELECT count() FROM decisions_once").await == records }).await;
    assert_eq!(number("SELECT count() FROM (SELECT DISTINCT partition, log_offset FROM decisions)").await, records);
    let largest = number("SELECT max(rows) FROM system.parts WHERE table = 'decisions' AND level = 0").await;
    assert!((1..=PAGE_ROWS).contains(&largest), "an insert had {largest} rows");
    let grown = relay.memory_bytes("VmHWM") - before;
    assert!(grown < MEMORY_MAX, "the relay took {grown} bytes more to catch up with {records} rows");
    log.close().await;
    // With analytics as complete as the store.
    output(orderly(servers.path()).args(["check", "--idle", "--config", CONFIG]));
    for node in [ingress, pipeline, relay] {
        assert!(node.terminate().success());
    }
}

/// Patients book one after the other and wait for their outcomes; tells how many were booked.
async fn book_each(servers: &Servers, ingress: &Server) -> u32 {
    let http = reqwest::Client::new();
    let mut booked = 0;
    for patient in 0..PATIENTS {
        let token = ["token", "--config", CONFIG, "--role", "patient", "--sub", &format!("patient-{patient}")];
        let token = tokio::task::block_in_place(|| output(orderly(servers.path()).args(token)));
        let asked = http.post(format!("{}/v1/bookings", ingress.url())).bearer_auth(token.trim_end());
        let asked = asked.header("idempotency-key", "k").header("prefer", "wait=60");
        let answer = asked.json(&json!({ "session_id": "booked" })).send().await.expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        assert_eq!(answer["status"], "booked", "{answer}");
        booked += 1;
    }
    booked
}

async fn until<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "it takes too long");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn get(server: &Server, path: &str) -> reqwest::Response {
    reqwest::get(format!("{}{path}", server.url())).await.expect("an answer")
}

async fn listed(ingress: &Server, session: &str) -> bool {
    get(ingress, &format!("/v1/sessions/{session}")).await.status().is_success()
}

async fn booked_in(ingress: &Server, session: &str) -> u32 {
    let session: Value = get(ingress, &format!("/v1/sessions/{session}")).await.json().await.expect("JSON");
    let number = |field: &str| session[field].as_u64().expect("a number");
    u32::try_from(number("capacity") - number("remaining")).expect("few")
}

/// How many records a pipeline has decided.
async fn decided(pipeline: &Server) -> u64 {
    let metrics = get(pipeline, "/metrics").await.text().await.expect("text");
    let of =
        |line: &str| line.strip_prefix("orderly_pipeline_decisions_total")?.rsplit(' ').next()?.parse::<u64>().ok();
    metrics.lines().filter_map(of).sum()
}

async fn append(log: &log::kafka::Log, command: Command) -> anyhow::Result<()> {
    let partition = partition_of(command.doctor_id(), log.partitions());
    let intent = Intent { requested_by: "test".to_owned(), command };
    log.append(partition, intent.command.doctor_id().as_str(), encode(&intent)).await?;
    Ok(())
}

fn doctor(name: &str) -> DoctorId {
    name.parse().expect("valid")
}

/// The session of a doctor of that name.
fn session(name: &str, capacity: u32) -> Session {
    let midnight =
        |day: jiff::civil::Date| Timestamp::from(day.to_zoned(jiff::tz::TimeZone::UTC).expect("valid").timestamp());
    let day = date(2030, 1, 7);
    Session {
        session_id: name.parse().expect("valid"),
        doctor_id: doctor(name),
        doctor_name: name.to_owned(),
        department: name.parse().expect("valid"),
        campus: "east".parse().expect("valid"),
        day,
        start: time(8, 0, 0, 0),
        end: time(12, 0, 0, 0),
        timezone: "Asia/Shanghai".to_owned(),
        capacity,
        release_at: midnight(date(2020, 1, 1)),
        ends_at: midnight(day),
        exclusivity: Exclusivity::DepartmentDay,
    }
}
