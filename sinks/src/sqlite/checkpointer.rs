//! Copies the write-ahead log into its file beside the writer.
//!
//! Left to the writer, the copying falls to some commit, which then takes tens of milliseconds. It still does when the log
//! has grown to `LOG_PAGES_MAX`, but finds most of it copied.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use orderly_domain::port;
use rusqlite::Connection;

use super::{BUSY_WAIT, Disk, error};

/// How long what is committed waits to be copied. Where nothing was committed, nothing is done.
const INTERVAL: Duration = Duration::from_secs(1);

/// A thread that copies, until this is dropped.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    /// Closed when the thread is to end.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread for a file that its writer has open.
    pub(crate) fn start(file: &Path) -> port::Result<Self> {
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(file)?;
            connection.busy_timeout(BUSY_WAIT)?;
            // What is copied is on the disk before its log is written over, whatever the writer waits for.
            connection.pragma_update(None, "synchronous", "FULL")?;
            Ok(connection)
        };
        let connection = open().map_err(|error| error::unopened(file, &error))?;
        let disk = Disk::of(file);
        let (stop, stopped) = mpsc::channel();
        let work = move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                // Also when readers keep what is newest from being copied.
                if let Err(error) = disk.sync() {
                    tracing::error!(%error, "a file's newest changes are not on the disk");
                }
                // It waits for nobody. What it cannot copy is copied later, here or by the writer, who tells what is wrong.
                if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
                    tracing::debug!(%error, "a write-ahead log could not be copied into its file");
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
