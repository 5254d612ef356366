//! Brings what was committed to the disk, and copies the write-ahead log into its file, beside the writer.
//!
//! Left to the writer, the copying falls to some commit, which then takes tens of milliseconds. Left to the system, what no
//! commit waits for piles up, and the next commit of the intent log, on the same disk, waits for all of it. The writer still
//! copies when the log has grown to `LOG_BYTES_MAX`, but finds most of it copied.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use orderly_domain::port;
use rusqlite::Connection;

use super::{BUSY_WAIT, Disk, Durability, error};

/// How long what is committed waits to be written to the disk, where its commit did not wait for that. Where nothing was
/// committed, nothing is done.
const INTERVAL: Duration = Duration::from_millis(50);

/// After so many intervals what is committed is copied.
const COPIED_EVERY: u32 = 20;

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
        let disk = match durability {
            Durability::EveryCommit => None,
            Durability::Checkpoints => Some(Disk::of(file)),
        };
        let (stop, stopped) = mpsc::channel();
        let work = move || {
            let mut synced = None;
            for interval in 1_u32.. {
                if stopped.recv_timeout(INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                if let Some(disk) = &disk {
                    // It changes with every commit of another connection.
                    let version = connection.pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0)).ok();
                    if version.is_none() || version != synced {
                        match disk.sync() {
                            Ok(()) => synced = version,
                            Err(error) => tracing::error!(%error, "a file's newest changes are not on the disk"),
                        }
                    }
                }
                if interval.is_multiple_of(COPIED_EVERY) {
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

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("a checkpointer ended with a panic; see above");
        }
    }
}
