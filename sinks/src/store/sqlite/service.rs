//! The store's handle: writes go to the writer's thread, reads to connections of their own.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::civil::Date;
use orderly_domain::inventory::Snapshot;
use orderly_domain::port::store::{
    Appointment, Claim, Commit, Committed, DecisionRow, Details, PolicyVersion, Progress, SeenTicket, SessionState,
};
use orderly_domain::port::{self, Result};
use orderly_domain::{Fence, Offset, Partition, Position, SessionId, Timestamp};
use prometheus::Registry;
use rusqlite::Connection;

use super::sessions::Sessions;
use super::writes::Writes;
use super::{FILE, MIGRATIONS, Options, details, prune, reads};
use crate::sqlite::{self, Checkpointer, Disk, Durability, Failure, Readers, Writer};
use crate::store::metrics::{self, Metrics};

/// How long records that were decided before a correction was undone in the ledger may be on their way.
const CORRECTION_MAX: Duration = Duration::from_secs(10);

/// How large the pages of a new file are, in bytes. Smaller than where rows follow one another: a booking changes a row here
/// and there in each index, and every page that it touches is written whole.
const PAGE_BYTES: u64 = 1_024;

/// The store in one SQLite file. Commits of decisions do not wait for the disk: the intent log has waited, and after a loss
/// of power the same decisions follow from it again. All other writes wait.
#[derive(Debug)]
pub struct Store {
    disk: Disk,
    /// Commits wait for the disk until the log is here, by its clock: the store has refused what the ledger had admitted, and
    /// who else was decided meanwhile depends on when that was noticed.
    waits_until: Mutex<Timestamp>,
    /// `None` when it was opened for reading only.
    writer: Option<Writer<Writes>>,
    readers: Readers,
    _checkpointer: Option<Checkpointer>,
    metrics: Metrics,
}

impl Store {
    /// Opens the store in a data folder, creates or migrates its file, and starts its writer. Metrics are registered on
    /// `registry`.
    ///
    /// # Errors
    /// When the file cannot be written, or is of a newer version than this program.
    pub fn open(folder: &Path, options: Options, registry: &Registry) -> Result<Self> {
        let file = folder.join(FILE);
        let metrics = Metrics::new().map_err(metrics::unregistered)?;
        let mut connection = sqlite::open_for_writing(
            &file,
            Durability::Checkpoints,
            PAGE_BYTES,
            options.cache_bytes,
            options.size_max_bytes,
        )?;
        sqlite::migrate(&mut connection, MIGRATIONS)?;
        metrics.register(registry).map_err(metrics::unregistered)?;
        let writes =
            Writes { connection, sessions: Sessions::new(options.sessions_cached_max), metrics: metrics.clone() };
        let writer = Writer::start("store-writer", writes, options.queue_max, metrics.queue_calls.clone())?;
        let checkpointer = Some(Checkpointer::start(&file, Durability::Checkpoints)?);
        let readers = Readers::new(&file, options.readers);
        Ok(Self::new(&file, Some(writer), readers, checkpointer, metrics))
    }

    /// Opens the store in a data folder for reading, also while a server writes it. Writes are refused.
    ///
    /// # Errors
    /// When there is no such file, or its schema is of another version.
    pub fn open_read_only(folder: &Path) -> Result<Self> {
        let file = folder.join(FILE);
        sqlite::check_version(&sqlite::open_for_reading(&file)?, MIGRATIONS)?;
        let metrics = Metrics::new().map_err(metrics::unregistered)?;
        let readers = Readers::new(&file, Options::default().readers);
        Ok(Self::new(&file, None, readers, None, metrics))
    }

    fn new(
        file: &Path,
        writer: Option<Writer<Writes>>,
        readers: Readers,
        checkpointer: Option<Checkpointer>,
        metrics: Metrics,
    ) -> Self {
        let waits_until = Mutex::new(Timestamp::from_micros(i64::MIN));
        Self { disk: Disk::of(file), waits_until, writer, readers, _checkpointer: checkpointer, metrics }
    }

    /// Whether a commit has to be on the disk before anybody is told of it.
    fn waits(&self, commit: &Commit, committed: &[Committed]) -> bool {
        let mut until = self.waits_until.lock().unwrap_or_else(PoisonError::into_inner);
        if committed.iter().any(|row| row.corrected) {
            *until = commit.decided_at.plus(CORRECTION_MAX).max(*until);
        }
        commit.decisions.first().is_some_and(|decision| decision.logged_at <= *until)
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writes) -> std::result::Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let Some(writer) = &self.writer else {
            return Err(port::Error::DidNotHappen("the store was opened for reading only".into()));
        };
        writer.call(work).await
    }

    async fn write_through<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writes) -> std::result::Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let disk = self.disk.clone();
        let through = move |writes: &mut Writes| {
            let done = work(writes)?;
            disk.sync()?;
            Ok(done)
        };
        self.write(through).await
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let _timer = self.metrics.read_seconds.start_timer();
        self.readers.read(|connection| Ok(read(connection)?)).await
    }
}

#[async_trait]
impl port::Store for Store {
    async fn claim(&self, partitions: &[Partition], owner: &str) -> Result<Vec<Claim>> {
        let (partitions, owner) = (partitions.to_vec(), owner.to_owned());
        self.write_through(move |writes| writes.claim(&partitions, &owner)).await
    }

    async fn commit(&self, commit: &Commit) -> Result<Vec<Committed>> {
        let given = commit.clone();
        let committed = self.write(move |writes| writes.commit(&given)).await?;
        if self.waits(commit, &committed) {
            self.sync().await?;
        }
        Ok(committed)
    }

    async fn sync(&self) -> Result<()> {
        self.write_through(|_| Ok(())).await
    }

    async fn mark_published(&self, marks: &[(Partition, Fence, Offset)]) -> Result<()> {
        let marks = marks.to_vec();
        self.write_through(move |writes| writes.mark_published(&marks)).await
    }

    async fn decision(&self, position: Position) -> Result<Option<DecisionRow>> {
        self.read(move |connection| reads::decision(connection, position)).await
    }

    async fn decisions(&self, partition: Partition, from: Offset, rows_max: usize) -> Result<Vec<DecisionRow>> {
        self.read(move |connection| reads::decisions(connection, partition, from, rows_max)).await
    }

    async fn seen_tickets(
        &self,
        partition: Partition,
        since: Timestamp,
        tickets_max: usize,
    ) -> Result<Vec<SeenTicket>> {
        self.read(move |connection| reads::seen_tickets(connection, partition, since, tickets_max)).await
    }

    async fn snapshots(&self, partitions: &[Partition], since: Date) -> Result<Vec<Snapshot>> {
        let partitions = partitions.to_vec();
        self.read(move |connection| reads::snapshots(connection, &partitions, &since.to_string())).await
    }

    async fn sessions(&self, since: Date) -> Result<Vec<SessionState>> {
        self.read(move |connection| reads::sessions(connection, &since.to_string())).await
    }

    async fn appointments(&self, session_id: &SessionId) -> Result<Vec<Appointment>> {
        let session_id = session_id.clone();
        self.read(move |connection| reads::appointments(connection, &session_id)).await
    }

    async fn details(&self, of: &[Position]) -> Result<Vec<Details>> {
        let of = of.to_vec();
        self.read(move |connection| details::of(connection, &of)).await
    }

    async fn details_after(&self, after: Option<Position>, rows_max: usize) -> Result<Vec<Details>> {
        self.read(move |connection| details::after(connection, after, rows_max)).await
    }

    async fn reseal(&self, details: &[Details]) -> Result<u64> {
        let details = details.to_vec();
        self.write_through(move |writes| writes.reseal(&details)).await
    }

    async fn progress(&self) -> Result<Vec<Progress>> {
        self.read(|connection| reads::progress(connection)).await
    }

    async fn policies(&self, rows_max: usize) -> Result<Vec<PolicyVersion>> {
        self.read(move |connection| reads::policies(connection, rows_max)).await
    }

    async fn save_policy(&self, policy: &PolicyVersion) -> Result<()> {
        let policy = policy.clone();
        self.write_through(move |writes| writes.save_policy(&policy)).await
    }

    async fn prune(&self, before: Date, below: &[(Partition, Offset)]) -> Result<u64> {
        // A little at a time: commits go in between.
        self.write(move |writes| writes.keep_since(before)).await?;
        let old = self.read(move |connection| prune::old_sessions(connection, before)).await?;
        for sessions in old.chunks(prune::SESSIONS_STEP) {
            let sessions = sessions.to_vec();
            self.write(move |writes| writes.forget_appointments(&sessions)).await?;
        }
        let mut forgotten = 0;
        for &(partition, below) in below {
            let (mut from, end) = self.read(move |connection| prune::extent(connection, partition, below)).await?;
            while from < end {
                let step = self.write(move |writes| writes.forget_decisions(partition, from, end, before)).await?;
                forgotten += step.forgotten;
                if step.ended {
                    break;
                }
                from = step.next;
            }
        }
        self.sync().await?;
        Ok(forgotten)
    }

    async fn kept_since(&self) -> Result<Option<Date>> {
        self.read(|connection| prune::kept_since(connection)).await
    }
}
