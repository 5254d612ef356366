//! Both profiles decide alike: what the servers decided of a log is decided again by the embedded engine, and every ticket
//! has the same outcome.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use jiff::civil::{date, time};
use orderly_bench::replay;
use orderly_domain::envelope::{Intent, encode};
use orderly_domain::port::{IntentLog as _, Store as _};
use orderly_domain::{
    Book, Cancel, ChangeCapacity, CloseSession, Command, Exclusivity, PatientId, Session, Timestamp, partition_of,
    ticket,
};
use orderly_sinks::{log, store};
use prometheus::Registry;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

use crate::program::{check_once_idle, orderly, output};
use crate::replay::{bookings, write_policy};
use crate::stack::{CONFIG, Servers};

const INTENTS: u32 = 6_000;
const PATIENTS: u32 = 120;
const DOCTORS: u32 = 8;
/// Sessions of a doctor, a day apart.
const DAYS: u32 = 2;
/// Appends that wait for the log at once, so that many records have the same millisecond.
const APPENDS: usize = 256;
/// Long enough for any machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(180);

/// Replays what the servers hold; tells how many records of each outcome there were.
fn assert_replays(servers: &Servers, records: u64) -> Vec<Value> {
    let told = output(orderly(servers.path()).args(["replay", "--json", "--config", CONFIG]));
    let report: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!((&report["same"], &report["records"], &report["undecided"]), (&true.into(), &records.into(), &0.into()));
    report["outcomes"].as_array().expect("a list").clone()
}

/// How many bookings had that outcome.
fn bookings_of(outcomes: &[Value], outcome: &str) -> u64 {
    let of_it = outcomes.iter().filter(|row| row["kind"] == "book" && row["outcome"] == outcome);
    of_it.filter_map(|row| row["store"].as_u64()).sum()
}

/// Real bookings through two ingresses, decided by two pipelines as they come. A patient has one doctor in a clinic, so that
/// no two partitions contend: whoever asks first, the outcome is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_citys_bookings_are_decided_alike_by_both_profiles() {
    let Some(options) = bookings() else { return };
    let servers = tokio::task::block_in_place(Servers::start);
    let mut nodes = vec![servers.node("relay"), servers.node("pipeline"), servers.node("pipeline")];
    let policy = write_policy(servers.path());
    let demo = ["--demo", policy[0], policy[1]];
    let ingresses = [servers.node_with("ingress", &demo), servers.node_with("ingress", &demo)];
    let urls = ingresses.each_ref().map(|ingress| ingress.url().to_owned()).join(",");
    let report = replay::run(&urls, options).await.expect("it plays");
    assert!(report.passed(), "{}", report.to_text());
    check_once_idle(servers.path(), CONFIG);
    let log = open_log(&servers).await;
    let outcomes = assert_replays(&servers, records(&log).await);
    log.close().await;
    assert_eq!(bookings_of(&outcomes, "booked"), report.booked);
    nodes.extend(ingresses);
    for node in nodes.into_iter().rev() {
        assert!(node.terminate().success());
    }
}

/// A log that lies there full, in which patients go from doctor to doctor of a department, give numbers back and try again
/// under the same key, and sessions close, shrink and open again. One pipeline decides it in the order of its times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contended_log_is_decided_alike_by_both_profiles() {
    let servers = tokio::task::block_in_place(Servers::start);
    let kafka = open_log(&servers).await;
    let mut crowd = Crowd { random: SmallRng::seed_from_u64(11), bookings: Vec::new() };
    for doctor in 0..DOCTORS {
        for day in 0..DAYS {
            append(&kafka, Command::OpenSession(Box::new(session(doctor, day, 40)))).await.expect("it is taken");
        }
    }
    let intents: Vec<_> = (0..INTENTS).map(|number| crowd.intent(number)).collect();
    let appends = futures::stream::iter(intents).map(|command| append(&kafka, command));
    appends.buffer_unordered(APPENDS).try_collect::<()>().await.expect("they are taken");
    let records = records(&kafka).await;
    kafka.close().await;

    let pipeline = servers.node("pipeline");
    let url = servers.postgres.url("orderly");
    let store = store::postgres::Store::open(store::postgres::Options::new(&url), &Registry::new()).await;
    let store = Arc::new(store.expect("PostgreSQL answers"));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let decided: u64 =
            store.progress().await.expect("it answers").iter().map(|progress| progress.next_offset).sum();
        if decided == records {
            break;
        }
        assert!(Instant::now() < deadline, "{decided} of {records} records are decided");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let outcomes = assert_replays(&servers, records);
    for outcome in ["booked", "sold_out", "already_booked", "session_closed"] {
        assert!(bookings_of(&outcomes, outcome) > 0, "nobody was told {outcome}: {outcomes:?}");
    }
    assert!(pipeline.terminate().success());
}

async fn open_log(servers: &Servers) -> log::kafka::Log {
    let options = log::kafka::Options { brokers: servers.kafka.brokers(), ..log::kafka::Options::default() };
    log::kafka::Log::open(options, &Registry::new()).await.expect("Kafka answers")
}

async fn records(log: &log::kafka::Log) -> u64 {
    log.extents().await.expect("Kafka answers").iter().map(|extent| extent.end).sum()
}

async fn append(log: &log::kafka::Log, command: Command) -> anyhow::Result<()> {
    let partition = partition_of(command.doctor_id(), log.partitions());
    let intent = Intent { requested_by: "test".to_owned(), command };
    log.append(partition, intent.command.doctor_id().as_str(), encode(&intent)).await?;
    Ok(())
}

/// Patients and ops who ask for this and that.
struct Crowd {
    random: SmallRng,
    bookings: Vec<Book>,
}

impl Crowd {
    fn intent(&mut self, number: u32) -> Command {
        let random = &mut self.random;
        let (doctor, day) = (random.random_range(0..DOCTORS), random.random_range(0..DAYS));
        let session = session(doctor, day, random.random_range(20..60));
        let reference = session.reference();
        let former = self.bookings.get(random.random_range(0..self.bookings.len().max(1))).cloned();
        match (random.random_range(0..100), former) {
            (60..72, Some(former)) => Command::Book(former),
            (72..96, Some(Book { ticket, patient_id, session, .. })) => {
                Command::Cancel(Cancel { ticket, patient_id, session })
            }
            (96..98, _) => Command::ChangeCapacity(ChangeCapacity { session: reference, capacity: session.capacity }),
            (98, _) => Command::CloseSession(CloseSession { session: reference, cause: "ill".to_owned() }),
            (99, _) => Command::OpenSession(Box::new(session)),
            _ => {
                let patient_id: PatientId =
                    format!("patient-{}", random.random_range(0..PATIENTS)).parse().expect("valid");
                let ticket = ticket::Id::derive(&patient_id, &number.to_string());
                let book = Book { ticket, patient_id, session: reference, details: None };
                self.bookings.push(book.clone());
                Command::Book(book)
            }
        }
    }
}

fn session(doctor: u32, day: u32, capacity: u32) -> Session {
    let day = date(2030, 1, 7).saturating_add(jiff::Span::new().days(i64::from(day)));
    let midnight =
        |day: jiff::civil::Date| Timestamp::from(day.to_zoned(jiff::tz::TimeZone::UTC).expect("valid").timestamp());
    Session {
        session_id: format!("session-{doctor}-{day}").parse().expect("valid"),
        doctor_id: format!("doctor-{doctor}").parse().expect("valid"),
        doctor_name: format!("Doctor {doctor}"),
        department: format!("department-{}", doctor % 2).parse().expect("valid"),
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
