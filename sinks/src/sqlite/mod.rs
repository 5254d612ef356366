//! What the SQLite adapters share: how files are opened, migrated, written and read, and what their errors mean.

mod checkpointer;
mod error;
mod migrations;
mod readers;
mod row;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use orderly_domain::port;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

pub(crate) use checkpointer::Checkpointer;
pub(crate) use error::{Failure, commit};
pub(crate) use migrations::{check_version, migrate};
pub(crate) use readers::Readers;
pub(crate) use row::{bad, parsed, text};
pub(crate) use writer::Writer;

/// How long a statement waits for another process, such as a shell, that holds the file's lock.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// How large the pages of a new file are, in bytes, where what is written lies side by side: SQLite's own choice.
pub(crate) const PAGE_BYTES: u64 = 4_096;

/// Bytes that the write-ahead log collects before its writer lends a hand in copying them into the file, so that it can begin
/// anew.
const LOG_BYTES_MAX: u64 = 128 << 20;

/// The size to which a write-ahead log that grew larger is cut, in bytes.
const LOG_BYTES_KEPT: i64 = 64 << 20;

/// What a commit waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Durability {
    /// It is on the disk.
    EveryCommit,
    /// Nothing: the newest commits may be lost when the machine stops, but never what is before them. [`Disk::sync`] waits.
    Checkpoints,
}

/// Where the write-ahead log of a file lies.
pub(crate) fn write_ahead_log(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}

/// The way to the disk for what was committed to a file whose commits do not wait for it. What is not in its write-ahead log
/// any more is on the disk: the [`Checkpointer`] waits for it before a log begins anew.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    file: PathBuf,
    /// Opened once: the system tells of a write that failed once, and only those who had the file open.
    log: Arc<OnceLock<File>>,
}

impl Disk {
    pub(crate) fn of(file: &Path) -> Self {
        Self { file: file.to_owned(), log: Arc::default() }
    }

    /// Returns when all that was committed is on the disk.
    ///
    /// # Errors
    /// `MayHaveHappened` when it cannot be written there.
    pub(crate) fn sync(&self) -> port::Result<()> {
        let synced = match self.log.get() {
            Some(log) => log.sync_data(),
            None => match File::open(write_ahead_log(&self.file)) {
                Ok(log) => self.log.get_or_init(|| log).sync_data(),
                // Nothing was written yet.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            },
        };
        synced.map_err(|error| {
            let file = self.file.display();
            port::Error::MayHaveHappened(format!(
                "{file} could not be written to the disk ({error}); what the log has is decided again at the next start: \
                 mend the disk and start again"
            ))
        })
    }
}

/// Opens a file for its writer, and creates it with pages of that size when it is missing.
pub(crate) fn open_for_writing(
    file: &Path,
    durability: Durability,
    page_bytes: u64,
    cache_bytes: usize,
    size_max_bytes: Option<u64>,
) -> port::Result<Connection> {
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open(file)?;
        connection.busy_timeout(BUSY_WAIT)?;
        connection.pragma_update(None, "page_size", i64::try_from(page_bytes).unwrap_or(i64::MAX))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        let synchronous = match durability {
            Durability::EveryCommit => "FULL",
            Durability::Checkpoints => "NORMAL",
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "cache_size", -i64::try_from(cache_bytes / 1_024).unwrap_or(i64::MAX))?;
        // A file that is there keeps the pages that it was made with.
        let page_bytes: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pages = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX) / page_bytes.max(1);
        connection.pragma_update(None, "wal_autocheckpoint", pages(LOG_BYTES_MAX))?;
        connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT)?;
        if let Some(bytes) = size_max_bytes {
            connection.pragma_update_and_check(None, "max_page_count", pages(bytes).max(1), |_| Ok(()))?;
        }
        keep_plans(&connection)?;
        if matches!(durability, Durability::EveryCommit) {
            // What an earlier process left in its write-ahead log may be in the system's memory only, and when a sync of it has
            // failed, no later one brings it to the disk. So it is copied, and the copy synced, before anybody relies on it.
            let is_busy: bool = connection.query_row("PRAGMA wal_checkpoint(FULL)", [], |row| row.get(0))?;
            if is_busy {
                return Err(error::read_as_it_was());
            }
        }
        Ok(connection)
    };
    open().map_err(|error| error::unopened(file, &error))
}

/// Opens a file that exists for reading, also while another process writes it.
pub(crate) fn open_for_reading(file: &Path) -> port::Result<Connection> {
    let open = || -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(file, flags)?;
        connection.busy_timeout(BUSY_WAIT)?;
        keep_plans(&connection)?;
        Ok(connection)
    };
    open().map_err(|error| error::unopened(file, &error))
}

/// Prepared statements stay prepared. Without the second line SQLite plans a statement anew whenever a range is bound to
/// other values, which costs more than most of the reads here.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(64);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}
