//! The trail's handle: appends go to the writer's thread, reads to connections of their own.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use async_trait::async_trait;
use orderly_domain::Timestamp;
use orderly_domain::audit::{Algorithm, Entry, Linked, Place, RETENTION_MIN, chain};
use orderly_domain::port::audit::Extent;
use orderly_domain::port::{self, Result};
use prometheus::IntGauge;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::{FILE, MIGRATIONS, Options, rows};
use crate::audit::{Doubt, too_young};
use crate::sqlite::{self, Checkpointer, Durability, Failure, Readers, Writer};

/// Entries that one transaction of a prune forgets.
const PRUNE_STEP: i64 = 2_000;

/// The trail in one SQLite file.
#[derive(Debug)]
pub struct Audit {
    /// `None` when it was opened for reading only.
    writer: Option<Writer<Connection>>,
    readers: Readers,
    _checkpointer: Option<Checkpointer>,
    algorithm: Algorithm,
    doubt: Doubt,
}

impl Audit {
    /// Opens the trail in a data folder, creates or migrates its file, and starts its writer.
    ///
    /// # Errors
    /// When the file cannot be written, or is of a newer version than this program.
    pub fn open(folder: &Path, options: Options) -> Result<Self> {
        let file = folder.join(FILE);
        // Made before SQLite makes it: its other files get the rights of this one.
        let made = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&file);
        made.map_err(|error| {
            let name = file.display();
            port::Error::DidNotHappen(format!("cannot write {name}: {error}; check the data folder and its disk"))
        })?;
        let mut connection = sqlite::open_for_writing(
            &file,
            Durability::EveryCommit,
            sqlite::PAGE_BYTES,
            options.cache_bytes,
            options.size_max_bytes,
        )?;
        sqlite::migrate(&mut connection, MIGRATIONS)?;
        let doubt = Doubt::new(rows::extent(&connection).map_err(Failure::from)?.head);
        let waiting = IntGauge::new("audit_calls", "Not shown: the trail's own queue is.");
        let waiting = waiting.map_err(|error| port::Error::DidNotHappen(format!("metrics: {error}")))?;
        let writer = Some(Writer::start("audit-writer", connection, options.queue_max, waiting)?);
        let checkpointer = Some(Checkpointer::start(&file, Durability::EveryCommit)?);
        let readers = Readers::new(&file, options.readers);
        Ok(Self { writer, readers, _checkpointer: checkpointer, algorithm: options.algorithm, doubt })
    }

    /// Opens the trail in a data folder for reading, also while a server writes it. Appends are refused.
    ///
    /// # Errors
    /// When there is no such file, or its schema is of another version.
    pub fn open_read_only(folder: &Path) -> Result<Self> {
        let file = folder.join(FILE);
        sqlite::check_version(&sqlite::open_for_reading(&file)?, MIGRATIONS)?;
        let readers = Readers::new(&file, Options::default().readers);
        Ok(Self {
            writer: None,
            readers,
            _checkpointer: None,
            algorithm: Algorithm::default(),
            doubt: Doubt::default(),
        })
    }

    fn writer(&self) -> Result<&Writer<Connection>> {
        let refused = || port::Error::DidNotHappen("the audit trail was opened for reading only".into());
        self.writer.as_ref().ok_or_else(refused)
    }
}

#[async_trait]
impl port::Audit for Audit {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    async fn append(&self, entries: &[Entry]) -> Result<Vec<Place>> {
        let (entries, algorithm, look_from) = (entries.to_vec(), self.algorithm, self.doubt.look_from());
        let append = move |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if let (Some(from), Some(first)) = (look_from, entries.first()) {
                let found = rows::find(&transaction, from, first, entries.len())?;
                if !found.is_empty() {
                    return Ok(found);
                }
            }
            let chain = chain(rows::extent(&transaction)?.head, algorithm, &entries);
            rows::insert(&transaction, &chain)?;
            sqlite::commit(transaction)?;
            Ok(chain.iter().map(Linked::place).collect())
        };
        let appended = self.writer()?.call(append).await;
        self.doubt.note(&appended);
        appended
    }

    async fn scan(&self, from: u64, entries_max: usize) -> Result<Vec<Linked>> {
        self.readers.read(move |connection| Ok(rows::scan(connection, from, entries_max)?)).await
    }

    async fn extent(&self) -> Result<Extent> {
        self.readers.read(|connection| Ok(rows::extent(connection)?)).await
    }

    async fn prune(&self, before: Timestamp) -> Result<u64> {
        let writer = self.writer()?;
        let allowed = self.readers.read(move |connection| Ok(may_go(connection, before)?)).await?;
        if !allowed {
            return Err(too_young());
        }
        let mut forgotten = 0;
        loop {
            // A little at a time: appends go in between.
            let step = writer.call(move |connection| forget(connection, before)).await?;
            forgotten += step;
            if step < PRUNE_STEP.unsigned_abs() {
                return Ok(forgotten);
            }
        }
    }
}

/// Whether entries before that moment are old enough, by the machine's clock.
fn may_go(connection: &Connection, before: Timestamp) -> rusqlite::Result<bool> {
    let oldest_kept_s = RETENTION_MIN.as_secs().cast_signed();
    let sql = "SELECT ?1 <= (unixepoch() - ?2) * 1000000";
    connection.prepare_cached(sql)?.query_row(params![before.as_micros(), oldest_kept_s], |row| row.get(0))
}

/// One step of a prune. The newest entry always stays.
fn forget(connection: &mut Connection, before: Timestamp) -> std::result::Result<u64, Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let start = rows::extent(&transaction)?.start;
    let last = transaction
        .prepare_cached(
            "SELECT seq, hash, at_us FROM audit_entries WHERE seq <= ?1 + ?2 AND seq < \
             COALESCE((SELECT seq FROM audit_entries WHERE seq > ?1 AND at_us >= ?3 ORDER BY seq LIMIT 1), \
             (SELECT head_seq FROM audit_chain)) ORDER BY seq DESC LIMIT 1",
        )?
        .query_row(params![start.seq.cast_signed(), PRUNE_STEP, before.as_micros()], |row| rows::place(row, 0))
        .optional()?;
    let Some(last) = last.filter(|last| last.seq > start.seq) else { return Ok(0) };
    transaction.execute(
        "UPDATE audit_chain SET start_seq = ?, start_hash = ?, start_at_us = ?",
        params![last.seq.cast_signed(), last.hash.as_bytes(), last.at.as_micros()],
    )?;
    let forgotten = transaction.execute("DELETE FROM audit_entries WHERE seq <= ?", [last.seq.cast_signed()])?;
    sqlite::commit(transaction)?;
    Ok(forgotten as u64)
}
