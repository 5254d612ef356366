//! The decide path: a log that lies there full, decided from its start, beside raw inserts of the same rows.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::civil::{Date, date, time};
use orderly_domain::clock::System;
use orderly_domain::envelope::{Intent, encode};
use orderly_domain::port::{IntentLog, Store as _};
use orderly_domain::{
    Book, Clock as _, Command, Exclusivity, PatientId, Session, SessionRef, Timestamp, partition_of, ticket,
};
use orderly_pipeline::{Pipeline, Ports};
use orderly_sinks::{fanout, ledger, log, store};
use prometheus::Registry;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, Zipf};
use rusqlite::{Connection, types::Value};

use super::report::Ratio;

const DOCTORS: u32 = 60;
const SESSIONS_PER_DOCTOR: u32 = 10;
const CAPACITY: u32 = 30;
/// Appends that wait for the log at once while it is filled.
const APPENDS: usize = 8_192;
/// Rows of one raw transaction.
const RAW_ROWS: usize = 1_000;

/// Decisions a second from a filled log to committed rows, and inserts a second of the same rows.
pub(super) async fn measure(intents: u32) -> anyhow::Result<Ratio> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_owned();
    // The pipeline gets a runtime as it has in the server, not the load client's single thread.
    let value = tokio::task::spawn_blocking(move || -> anyhow::Result<f64> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(decide(&path, intents))
    })
    .await??;
    let path = folder.path().to_owned();
    let limit = tokio::task::spawn_blocking(move || insert_again(&path)).await??;
    Ok(Ratio { what: "decisions a second, committed", value, limit })
}

async fn decide(folder: &Path, intents: u32) -> anyhow::Result<f64> {
    let registry = Registry::new();
    let clock = Arc::new(System);
    let log = log::sqlite::Log::open(folder, log::sqlite::Options::default(), Arc::clone(&clock) as _, &registry)?;
    let log = Arc::new(log);
    fill(&log, intents).await?;
    let records: u64 = log.extents().await?.iter().map(|extent| extent.end).sum();
    let store = Arc::new(store::sqlite::Store::open(folder, store::sqlite::Options::default(), &registry)?);
    let ports = Ports {
        log: Arc::clone(&log) as _,
        ledger: Arc::new(ledger::memory::Ledger::default()),
        store: Arc::clone(&store) as _,
        fanout: Arc::new(fanout::memory::Fanout::new(64)),
        clock,
    };
    let start = Instant::now();
    let pipeline = Pipeline::start(orderly_pipeline::Options::default(), ports, &registry).await?;
    let state = pipeline.state();
    while state.state().decided_total < records {
        tokio::select! {
            error = pipeline.failed() => return Err(error.into()),
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
    }
    let rate = records as f64 / start.elapsed().as_secs_f64();
    pipeline.drain().await?;
    log.close().await;
    let decided: u64 = store.progress().await?.iter().map(|progress| progress.next_offset).sum();
    anyhow::ensure!(decided == records, "{decided} of {records} records were decided");
    Ok(rate)
}

/// A rush as it lies in the log: doctors by Zipf, far more patients than numbers.
async fn fill(log: &log::sqlite::Log, intents: u32) -> anyhow::Result<()> {
    let today: Date = System.now().to_jiff().to_zoned(jiff::tz::TimeZone::UTC).date();
    let sessions: Vec<_> =
        (0..DOCTORS * SESSIONS_PER_DOCTOR).map(|number| session(number, today)).collect::<Result<_, _>>()?;
    for session in &sessions {
        append(log, Command::OpenSession(Box::new(session.clone()))).await?;
    }
    let references: Vec<SessionRef> = sessions.iter().map(Session::reference).collect();
    let mut random = SmallRng::seed_from_u64(1);
    let popularity = Zipf::new(f64::from(DOCTORS), 1.1)?;
    let bookings = (0..intents).map(|number| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "Zipf draws whole numbers from 1 to DOCTORS"
        )]
        let doctor = popularity.sample(&mut random) as u32 - 1;
        let session =
            &references[(doctor * SESSIONS_PER_DOCTOR + random.random_range(0..SESSIONS_PER_DOCTOR)) as usize];
        let patient_id: PatientId = format!("patient-{}", random.random_range(0..intents)).parse()?;
        let ticket = ticket::Id::derive(&patient_id, &number.to_string());
        anyhow::Ok(Command::Book(Book { ticket, patient_id, session: session.clone() }))
    });
    futures::stream::iter(bookings)
        .map(|command| async move { append(log, command?).await })
        .buffer_unordered(APPENDS)
        .try_collect::<()>()
        .await
}

async fn append(log: &log::sqlite::Log, command: Command) -> anyhow::Result<()> {
    let partition = partition_of(command.doctor_id(), log.partitions());
    let intent = Intent { requested_by: "bench".to_owned(), command };
    log.append(partition, intent.command.doctor_id().as_str(), encode(&intent)).await?;
    Ok(())
}

fn session(number: u32, today: Date) -> anyhow::Result<Session> {
    let (doctor, nth) = (number / SESSIONS_PER_DOCTOR, number % SESSIONS_PER_DOCTOR);
    let day = today.checked_add(jiff::Span::new().days(i64::from(nth) + 2))?;
    Ok(Session {
        session_id: format!("session-{doctor}-{day}").parse()?,
        doctor_id: format!("doctor-{doctor}").parse()?,
        doctor_name: format!("Doctor {doctor}"),
        department: format!("department-{}", doctor % 12).parse()?,
        campus: format!("campus-{}", doctor % 3).parse()?,
        day,
        start: time(8, 0, 0, 0),
        end: time(12, 0, 0, 0),
        timezone: "Asia/Shanghai".to_owned(),
        capacity: CAPACITY,
        release_at: date(2020, 1, 1).to_zoned(jiff::tz::TimeZone::UTC)?.timestamp().into(),
        ends_at: Timestamp::from(day.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp()),
        exclusivity: Exclusivity::DepartmentDay,
    })
}

/// Inserts the rows of a decided store into the same tables of an empty one, in the order of the log, and tells how many
/// decisions a second that makes.
fn insert_again(folder: &Path) -> anyhow::Result<f64> {
    let source = Connection::open(folder.join("store.sqlite"))?;
    let target = Connection::open(folder.join("raw.sqlite"))?;
    let page_bytes: i64 = source.pragma_query_value(None, "page_size", |row| row.get(0))?;
    target.pragma_update(None, "page_size", page_bytes)?;
    target.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    target.pragma_update(None, "synchronous", "FULL")?;
    target.pragma_update(None, "cache_size", -16_384)?;
    target.pragma_update(None, "foreign_keys", false)?;
    let mut schema =
        source.prepare("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND type IN ('table', 'index')")?;
    for sql in schema.query_map([], |row| row.get::<_, String>(0))? {
        target.execute_batch(&sql?)?;
    }
    let appointments = rows(&source, "SELECT * FROM appointments ORDER BY partition, log_offset", [])?;
    let mut spent = insert(&target, "appointments", &appointments)?;
    source.execute_batch(
        "CREATE TEMP TABLE in_log_order AS SELECT * FROM decisions ORDER BY logged_at_us, partition, log_offset",
    )?;
    let mut decisions = 0;
    loop {
        let select = "SELECT * FROM in_log_order WHERE rowid > ?1 ORDER BY rowid LIMIT 100000";
        let batch = rows(&source, select, [i64::try_from(decisions)?])?;
        if batch.is_empty() {
            break;
        }
        decisions += batch.len();
        spent += insert(&target, "decisions", &batch)?;
    }
    Ok(decisions as f64 / spent.as_secs_f64())
}

fn rows(source: &Connection, select: &str, parameters: impl rusqlite::Params) -> anyhow::Result<Vec<Vec<Value>>> {
    let mut statement = source.prepare(select)?;
    let columns = statement.column_count();
    let rows = statement.query_map(parameters, |row| (0..columns).map(|column| row.get(column)).collect())?;
    rows.collect::<Result<_, _>>().context("the decided rows cannot be read")
}

/// Inserts, [`RAW_ROWS`] a transaction, and tells how long that took.
fn insert(target: &Connection, table: &str, rows: &[Vec<Value>]) -> anyhow::Result<Duration> {
    let Some(first) = rows.first() else { return Ok(Duration::ZERO) };
    let places = vec!["?"; first.len()].join(",");
    let start = Instant::now();
    let mut statement = target.prepare(&format!("INSERT INTO {table} VALUES ({places})"))?;
    for chunk in rows.chunks(RAW_ROWS) {
        target.execute_batch("BEGIN IMMEDIATE")?;
        for row in chunk {
            statement.execute(rusqlite::params_from_iter(row))?;
        }
        target.execute_batch("COMMIT")?;
    }
    Ok(start.elapsed())
}
