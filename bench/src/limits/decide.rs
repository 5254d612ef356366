//! The decide path: a log that lies there full, decided from its start, beside raw inserts of the same rows.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use orderly_domain::clock::System;
use orderly_pipeline::{Pipeline, Ports};
use orderly_sinks::{fanout, ledger, log, store};
use prometheus::Registry;
use rusqlite::{Connection, types::Value};
use tempfile::TempDir;

use super::hospital::{APPENDS, Hospital};
use super::report::Ratio;

/// Numbers of a session: far fewer than are asked for.
pub(super) const CAPACITY: u32 = 30;
/// Rows of one raw transaction.
const RAW_ROWS: usize = 1_000;

/// Decisions a second from a filled log to committed rows, and inserts a second of the same rows.
pub(super) async fn measure(intents: u32) -> anyhow::Result<Ratio> {
    let filled = Filled::new(intents).await?;
    let value = filled.decide()?;
    let path = filled.folder.path().to_owned();
    let limit = tokio::task::spawn_blocking(move || insert_again(&path)).await??;
    let (what, beside) = ("decisions a second, committed", "raw inserts, 1,000 a transaction");
    Ok(Ratio { what, value, beside, limit, goal: Some(0.5) })
}

/// Runs on a runtime like the server's, not on the load client's single thread.
pub(super) fn as_in_the_server<T: Send>(
    measuring: impl Future<Output = anyhow::Result<T>> + Send,
) -> anyhow::Result<T> {
    let run =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(measuring);
    std::thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A log with a rush in it that nobody has decided.
pub(super) struct Filled {
    folder: TempDir,
    records: u64,
}

impl Filled {
    pub(super) async fn new(intents: u32) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let log = open(folder.path(), &Registry::new())?;
        let records = Hospital::new(CAPACITY)?.fill(&(Arc::clone(&log) as _), intents, APPENDS).await?;
        log.close().await;
        Ok(Self { folder, records })
    }

    /// Decides all of it, on threads of its own, and tells how many a second.
    pub(super) fn decide(&self) -> anyhow::Result<f64> {
        as_in_the_server(decide(self.folder.path(), self.records))
    }
}

pub(super) fn open(folder: &Path, registry: &Registry) -> anyhow::Result<Arc<log::sqlite::Log>> {
    Ok(Arc::new(log::sqlite::Log::open(folder, log::sqlite::Options::default(), Arc::new(System), registry)?))
}

async fn decide(folder: &Path, records: u64) -> anyhow::Result<f64> {
    let registry = Registry::new();
    let log = open(folder, &registry)?;
    let store = Arc::new(store::sqlite::Store::open(folder, store::sqlite::Options::default(), &registry)?);
    let ports = Ports {
        log: Arc::clone(&log) as _,
        ledger: Arc::new(ledger::memory::Ledger::default()),
        store: Arc::clone(&store) as _,
        fanout: Arc::new(fanout::memory::Fanout::new(64)),
        clock: Arc::new(System),
    };
    let rate = decide_all(ports, records, &registry).await?;
    log.close().await;
    Ok(rate)
}

/// Decides all records of a log and tells how many a second.
pub(super) async fn decide_all(ports: Ports, records: u64, registry: &Registry) -> anyhow::Result<f64> {
    let store = Arc::clone(&ports.store);
    let pipeline = Pipeline::start(orderly_pipeline::Options::default(), ports, registry).await?;
    let state = pipeline.state();
    while state.state().partitions.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let start = Instant::now();
    while state.state().decided_total < records {
        tokio::select! {
            error = pipeline.failed() => return Err(error.into()),
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
    }
    let rate = records as f64 / start.elapsed().as_secs_f64();
    pipeline.drain().await?;
    let decided: u64 = store.progress().await?.iter().map(|progress| progress.next_offset).sum();
    anyhow::ensure!(decided == records, "{decided} of {records} records were decided");
    Ok(rate)
}

/// Inserts the rows of a decided store into the same tables of an empty one, in the order of the log, and tells how many
/// decisions a second that makes.
fn insert_again(folder: &Path) -> anyhow::Result<f64> {
    let source = Connection::open(folder.join("store.sqlite"))?;
    let target = Connection::open(folder.join("raw.sqlite"))?;
    let page_bytes: i64 = source.pragma_query_value(None, "page_size", |row| row.get(0))?;
    target.pragma_update(None, "page_size", page_bytes)?;
    target.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // As the store does it: commits do not wait for the disk.
    target.pragma_update(None, "synchronous", "NORMAL")?;
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
