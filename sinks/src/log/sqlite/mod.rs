//! The embedded intent log: one SQLite file, one writer thread, any number of readers.
//!
//! An append is answered after the fsync of the transaction that carries it; appends that wait together share one. The
//! times that the log gives are distinct and rise over all partitions, also across restarts and when the clock goes
//! back, so that they order the whole log. An [`Import`] makes a log of another log's records.

mod import;
mod measures;
mod options;
mod reader;
mod scan;
mod schema;
mod service;
mod tail;

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use orderly_domain::clock::{Clock, Timestamp};
use orderly_domain::port::log::{Appended, Extent, IntentLog, LogReader};
use orderly_domain::port::{Error, Result};
use orderly_domain::{Offset, Partition, Position};
use prometheus::Registry;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use crate::sqlite::{Checkpointer, Durability};
pub use import::Import;
use measures::Measures;
pub use options::Options;
use reader::Reader;
use service::{Append, Request, Service};
use tail::Tail;

/// The file in the data folder whose lock says that a process works there.
const LOCK_FILE: &str = "orderly.lock";

/// The embedded intent log. Dropping it serves what was queued and waits for the writer to end; [`Log::close`] does the
/// same without blocking the thread that drops it.
pub struct Log {
    source: Source,
    payload_bytes_max: usize,
    writer: Option<Writer>,
}

/// Where the records are, and how to learn of new ones.
#[derive(Clone)]
struct Source {
    database: PathBuf,
    partitions: u16,
    /// Every partition's extent after the last commit; `None` when another process writes.
    committed: Option<watch::Receiver<Vec<Extent>>>,
    /// Where the writer leaves the newest records; `None` when another process writes, or nobody is to follow.
    tail: Option<Arc<Tail>>,
}

struct Writer {
    requests: mpsc::Sender<Request>,
    failed: watch::Receiver<Option<String>>,
    thread: std::thread::JoinHandle<()>,
}

impl Log {
    /// Opens the log in a data folder for writing; makes both when they are missing. Locks the folder until the log is
    /// closed or dropped.
    ///
    /// # Errors
    /// `DidNotHappen` when the folder cannot be written, another process has it, the options are out of range, or the
    /// log has another number of partitions or a newer schema; `Corrupt` when the file is not an intact log.
    pub fn open(folder: &Path, options: Options, clock: Arc<dyn Clock>, registry: &Registry) -> Result<Self> {
        options.validate().map_err(Error::DidNotHappen)?;
        let lock = lock(folder)?;
        let database = folder.join(schema::FILE);
        let mut connection = schema::open_writable(&database, options.partitions, options.size_max_bytes)?;
        sync(folder).map_err(|error| unwritable(folder, &error))?;
        let state = schema::state(&mut connection)?;
        let measures = Measures::register(registry).map_err(|error| {
            Error::DidNotHappen(format!("the intent log's metrics could not be registered: {error}"))
        })?;
        let (requests, queue) = mpsc::channel(options.queue_records_max);
        let (failed_sender, failed) = watch::channel(None);
        let (committed_sender, committed) = watch::channel(state.extents);
        let tail = Arc::new(Tail::default());
        let service = Service {
            tail: Arc::clone(&tail),
            connection,
            _checkpointer: Checkpointer::start(&database, Durability::EveryCommit)?,
            _lock: lock,
            database: database.clone(),
            requests: queue,
            group_records_max: options.group_records_max,
            clock,
            last_logged_at: state.last_logged_at,
            measures,
            failed: failed_sender,
            committed: committed_sender,
        };
        let thread = std::thread::Builder::new()
            .name("orderly-log".into())
            .spawn(move || service.run())
            .map_err(|error| Error::DidNotHappen(format!("the intent log's thread could not be started: {error}")))?;
        Ok(Self {
            source: Source { database, partitions: options.partitions, committed: Some(committed), tail: Some(tail) },
            payload_bytes_max: options.payload_bytes_max,
            writer: Some(Writer { requests, failed, thread }),
        })
    }

    /// Opens the log in a data folder for reading only, also while another process writes it. Takes no lock.
    ///
    /// # Errors
    /// `DidNotHappen` when there is no log or it has a newer schema; `Corrupt` when the file is not an intact log.
    pub fn open_read_only(folder: &Path) -> Result<Self> {
        let database = folder.join(schema::FILE);
        if !database.exists() {
            return Err(Error::DidNotHappen(format!(
                "there is no intent log in {}; name its data folder",
                folder.display()
            )));
        }
        let partitions = schema::count_partitions(&schema::open_readable(&database)?)?;
        Ok(Self {
            source: Source { database, partitions, committed: None, tail: None },
            payload_bytes_max: 0,
            writer: None,
        })
    }

    /// Waits until the log can no longer be trusted to write, and says why: after a failed fsync nobody knows what the
    /// device holds, so every append is refused until the log is opened again. The process should stop then. Never
    /// returns otherwise.
    pub async fn failed(&self) -> String {
        if let Some(writer) = &self.writer
            && let Ok(cause) = writer.failed.clone().wait_for(Option::is_some).await
            && let Some(cause) = cause.clone()
        {
            return cause;
        }
        std::future::pending().await
    }

    /// Takes no more appends, serves those that wait, and returns when the writer has ended and the folder is free.
    pub async fn close(&self) {
        if let (Some(writer), Some(committed)) = (&self.writer, &self.source.committed) {
            // The writer may have ended before; then there is nobody to tell.
            let _ = writer.requests.send(Request::Close).await;
            let mut committed = committed.clone();
            while committed.changed().await.is_ok() {}
        }
    }

    fn writer(&self) -> Result<&Writer> {
        self.writer.as_ref().ok_or_else(|| Error::DidNotHappen("the intent log was opened for reading only".into()))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(Writer { requests, thread, .. }) = self.writer.take() {
            drop(requests);
            if thread.join().is_err() {
                tracing::error!("the intent log's writer panicked");
            }
        }
    }
}

#[async_trait]
impl IntentLog for Log {
    fn partitions(&self) -> u16 {
        self.source.partitions
    }

    async fn append(&self, partition: Partition, _key: &str, payload: Vec<u8>) -> Result<Appended> {
        let writer = self.writer()?;
        if partition >= self.source.partitions {
            return Err(Error::DidNotHappen(format!(
                "there is no partition {partition}: the log has {}",
                self.source.partitions
            )));
        }
        if payload.len() > self.payload_bytes_max {
            return Err(Error::DidNotHappen(format!(
                "the record has {} bytes and the log takes up to {}",
                payload.len(),
                self.payload_bytes_max
            )));
        }
        let (answer, answered) = oneshot::channel();
        let append = Append { partition, payload, since: Instant::now(), answer };
        writer.requests.try_send(Request::Append(append)).map_err(|error| match error {
            TrySendError::Full(_) => Error::Overloaded(format!(
                "{} records wait for the intent log; try again later",
                writer.requests.max_capacity()
            )),
            TrySendError::Closed(_) => closed(),
        })?;
        answered
            .await
            .unwrap_or_else(|_| Err(Error::MayHaveHappened("the intent log's writer ended without an answer".into())))
    }

    async fn extents(&self) -> Result<Vec<Extent>> {
        self.source.extents().await
    }

    async fn logged_at(&self, places: &[Position]) -> Result<Vec<Option<Timestamp>>> {
        let (database, places) = (self.source.database.clone(), places.to_vec());
        blocking(move || schema::logged_at(&schema::open_readable(&database)?, &places)).await
    }

    fn trouble(&self) -> Option<String> {
        self.writer.as_ref()?.failed.borrow().clone()
    }

    async fn reader(&self) -> Result<Box<dyn LogReader>> {
        Ok(Box::new(Reader::open(self.source.clone()).await?))
    }

    async fn scan(&self, from: &[(Partition, Offset)]) -> Result<Box<dyn LogReader>> {
        // Whoever looks at the log leaves its tail to the pipeline.
        let source = Source { tail: None, ..self.source.clone() };
        let mut reader = Reader::open(source).await?.unassigned();
        reader.seek(from).await?;
        Ok(Box::new(reader))
    }

    async fn trim(&self, before: Timestamp, decided: &[(Partition, Offset)]) -> Result<u64> {
        let writer = self.writer()?;
        let mut dropped_total = 0;
        loop {
            let (answer, answered) = oneshot::channel();
            let trim = Request::Trim { before, decided: decided.to_vec(), answer };
            writer.requests.send(trim).await.map_err(|_| closed())?;
            let dropped = answered.await.unwrap_or_else(|_| {
                Err(Error::MayHaveHappened("the intent log's writer ended without an answer".into()))
            })?;
            if dropped == 0 {
                return Ok(dropped_total);
            }
            dropped_total += dropped;
        }
    }
}

impl Source {
    async fn extents(&self) -> Result<Vec<Extent>> {
        if let Some(committed) = &self.committed {
            return Ok(committed.borrow().clone());
        }
        let database = self.database.clone();
        blocking(move || Ok(schema::state(&mut schema::open_readable(&database)?)?.extents)).await
    }
}

/// Runs database work where it may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(interrupted(&error)))
}

fn interrupted(error: &tokio::task::JoinError) -> Error {
    Error::DidNotHappen(format!("reading the intent log was cut short: {error}"))
}

fn closed() -> Error {
    Error::DidNotHappen("the intent log is closed".into())
}

fn unwritable(folder: &Path, error: &io::Error) -> Error {
    Error::DidNotHappen(format!(
        "the data folder {} cannot be written ({error}); give this user write permission or choose another folder",
        folder.display()
    ))
}

/// Makes the folder, if need be, and takes its lock.
fn lock(folder: &Path) -> Result<File> {
    let failed = |error: io::Error| unwritable(folder, &error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let file = File::options().create(true).truncate(false).write(true).open(folder.join(LOCK_FILE)).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::DidNotHappen(format!(
            "the data folder {} is in use by another orderly process; stop that one or choose another folder",
            folder.display()
        ))),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Makes the names of a folder's new files, and the folder's own, survive a power cut.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()?;
    // A parent that cannot be opened is not ours: then somebody else made the folder before.
    if let Some(Ok(parent)) = folder.canonicalize()?.parent().map(File::open) {
        parent.sync_all()?;
    }
    Ok(())
}
