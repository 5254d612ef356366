//! Brings what was committed to the disk, and copies the write-ahead log into its file, beside the writer.
//!
//! Left to the writer, the copying falls to some commit, which then takes tens of milliseconds. Left to the system, what no
//! commit waits for piles up, and the next commit of the intent log, on the same disk, waits for all of it. The writer still
//! copies when the log has grown to `LOG_BYTES_MAX`, but finds most of it copied.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use orderly_domain::port;
use rusqlite::Connection;

use super::{BUSY_WAIT, Disk, Durability, error};

/// How long what is committed waits to be copied.
const COPIED_EVERY: Duration = Duration::from_secs(1);

/// How long it waits to be written to the disk, where its commit did not wait for that. Where nothing was committed, nothing
/// is done.
const SYNCED_EVERY: Duration = Duration::from_millis(50);

/// A thread that syncs and copies, until this is dropped.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    /// Closed when the thread is to end.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread for a file that its writer has open.
    pub(crate) fn start(file: &Path, durability: Durability) -> port::Result<Self> {
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(file)?;
            connection.busy_timeout(BUSY_WAIT)?;
            // What is copied is on the disk before its log is written over, whatever the writer waits for.
            connection.pragma_update(None, "synchronous", "FULL")?;
            Ok(connection)
        };
        let connection = open().map_err(|error| error::unopened(file, &error))?;
        let mut syncing = match durability {
            Durability::EveryCommit => None,
            Durability::Checkpoints => Some(Syncing { disk: Disk::of(file), synced: None, failing: false }),
        };
        let (stop, stopped) = mpsc::channel();
        let work = move || {
            let interval = if syncing.is_some() { SYNCED_EVERY } else { COPIED_EVERY };
            let mut copied_at = Instant::now();
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                if let Some(syncing) = &mut syncing {
                    syncing.sync(&connection);
                }
                if copied_at.elapsed() >= COPIED_EVERY {
                    copied_at = Instant::now();
                    // It waits for nobody. What it cannot copy is copied later, here or by the writer, who tells what is wrong.
                    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
                        tracing::debug!(%error, "a write-ahead log could not be copied into its file");
                    }
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("checkpointer".into())
            .spawn(work)
            .map_err(|error| port::Error::DidNotHappen(format!("cannot start the checkpointer's thread: {error}")))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

/// What brings commits to the disk that did not wait for it.
struct Syncing {
    disk: Disk,
    /// The version of the file that is on the disk.
    synced: Option<i64>,
    /// Told once, not twenty times a second.
    failing: bool,
}

impl Syncing {
    fn sync(&mut self, connection: &Connection) {
        // It changes with every commit of another connection.
        let version = connection.pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0)).ok();
        if version.is_some() && version == self.synced {
            return;
        }
        match self.disk.sync() {
            Ok(()) => (self.synced, self.failing) = (version, false),
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(%error, "a file's newest changes are not on the disk; it is tried again");
                }
            }
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("a checkpointer ended with a panic; see above");
        }
    }
}
