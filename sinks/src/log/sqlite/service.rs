//! The writer: one thread that owns the database and gives every record its place and its time.
//!
//! Whatever has queued up while the device was busy goes into the next transaction: the more waits, the more one fsync
//! carries.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use orderly_domain::clock::{Clock, Timestamp};
use orderly_domain::port::log::{Appended, Extent, Record};
use orderly_domain::port::{Error, Result};
use orderly_domain::{Offset, Partition, Position};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot, watch};

use super::measures::Measures;
use super::schema::to_sql;
use super::tail::Tail;
use crate::sqlite::{self, Checkpointer, Failure};

/// How many records one transaction drops at most, so that appends do not wait long for a trim.
const TRIM_RECORDS_MAX: u64 = 10_000;

/// How long a group waits for more, when the one before it had company.
const GATHER: std::time::Duration = std::time::Duration::from_millis(2);

/// What the writer is asked for.
pub(super) enum Request {
    /// Take a record.
    Append(Append),
    /// Drop some records that are old and decided; answered with how many, 0 when none is left to drop.
    Trim { before: Timestamp, decided: Vec<(Partition, Offset)>, answer: oneshot::Sender<Result<u64>> },
    /// Take no more requests, serve those that wait, and end.
    Close,
}

/// A record that waits to be taken.
pub(super) struct Append {
    /// A partition of this log.
    pub(super) partition: Partition,
    /// What it says.
    pub(super) payload: Vec<u8>,
    /// When it began to wait.
    pub(super) since: Instant,
    /// Who waits.
    pub(super) answer: oneshot::Sender<Result<Appended>>,
}

/// The writer's own state. The fields are dropped in this order: whoever sees `committed` closed may open the log again.
pub(super) struct Service {
    pub(super) tail: Arc<Tail>,
    pub(super) connection: Connection,
    pub(super) _checkpointer: Checkpointer,
    /// Held as long as the writer lives: nobody else may open the folder.
    pub(super) _lock: File,
    pub(super) database: PathBuf,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) group_records_max: usize,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) last_logged_at: Timestamp,
    pub(super) measures: Measures,
    pub(super) failed: watch::Sender<Option<String>>,
    pub(super) committed: watch::Sender<Vec<Extent>>,
}

impl Service {
    /// Serves requests until the log is closed or dropped.
    pub(super) fn run(mut self) {
        self.measure_size();
        let mut waiting = Vec::with_capacity(self.group_records_max);
        let mut crowded = false;
        while self.requests.blocking_recv_many(&mut waiting, self.group_records_max) > 0 {
            if crowded {
                self.gather(&mut waiting);
            }
            crowded = waiting.len() > 1;
            self.measures.queue_length.set(i64::try_from(self.requests.len()).unwrap_or(i64::MAX));
            let mut group = Vec::with_capacity(waiting.len());
            let mut trims = Vec::new();
            for request in waiting.drain(..) {
                match request {
                    Request::Append(append) => group.push(append),
                    Request::Trim { before, decided, answer } => trims.push((before, decided, answer)),
                    Request::Close => self.requests.close(),
                }
            }
            if !group.is_empty() {
                self.append(group);
            }
            for (before, decided, answer) in trims {
                // Whoever asked may have gone; what was dropped is dropped.
                let _ = answer.send(self.trim(before, &decided));
            }
            self.measure_size();
        }
    }

    /// Waits a moment for more requests. Under load that makes groups larger, so that fewer pages are written and synced a
    /// record; whoever comes alone is not made to wait.
    fn gather(&mut self, waiting: &mut Vec<Request>) {
        // Nobody unparks this thread, and an early return would do no harm.
        std::thread::park_timeout(GATHER);
        while waiting.len() < self.group_records_max
            && let Ok(request) = self.requests.try_recv()
        {
            waiting.push(request);
        }
    }

    fn append(&mut self, group: Vec<Append>) {
        let outcome = match self.refusal() {
            Some(refusal) => Err(refusal),
            None => self.insert(&group).map_err(|failure| self.explain(failure.into())),
        };
        match outcome {
            Ok(taken) => {
                self.measures.appended(&group);
                let (payloads, answers): (Vec<_>, Vec<_>) =
                    group.into_iter().map(|append| (append.payload, append.answer)).unzip();
                if self.tail.is_followed() {
                    let record = |(appended, payload): (&Appended, _)| {
                        let Appended { position, logged_at } = *appended;
                        Record { position, logged_at, payload }
                    };
                    self.tail.push(taken.iter().zip(payloads).map(record).collect());
                }
                self.committed.send_modify(|extents| {
                    for appended in &taken {
                        extents[usize::from(appended.position.partition)].end = appended.position.offset + 1;
                    }
                });
                for (answer, appended) in answers.into_iter().zip(taken) {
                    // Whoever waited may have gone; the record is in the log all the same.
                    let _ = answer.send(Ok(appended));
                }
            }
            Err(explanation) => {
                for append in group {
                    let _ = append.answer.send(Err(explanation.error()));
                }
            }
        }
    }

    /// Writes a group in one transaction; nothing of it is there when it fails before the commit.
    fn insert(&mut self, group: &[Append]) -> std::result::Result<Vec<Appended>, Failure> {
        let mut ends: Vec<Offset> = self.committed.borrow().iter().map(|extent| extent.end).collect();
        let mut taken = Vec::with_capacity(group.len());
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut statement = transaction.prepare_cached("INSERT INTO records VALUES (?1, ?2, ?3, ?4)")?;
            for append in group {
                let next = &mut ends[usize::from(append.partition)];
                let position = Position { partition: append.partition, offset: *next };
                *next += 1;
                let after_last = Timestamp::from_micros(self.last_logged_at.as_micros().saturating_add(1));
                self.last_logged_at = self.clock.now().max(after_last);
                statement.execute((
                    position.partition,
                    to_sql(position.offset),
                    self.last_logged_at.as_micros(),
                    append.payload.as_slice(),
                ))?;
                taken.push(Appended { position, logged_at: self.last_logged_at });
            }
        }
        sqlite::commit(transaction)?;
        Ok(taken)
    }

    fn trim(&mut self, before: Timestamp, decided: &[(Partition, Offset)]) -> Result<u64> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal.error());
        }
        let starts = self.delete(before, decided).map_err(|failure| self.explain(failure.into()).error())?;
        let mut dropped = 0;
        self.committed.send_modify(|extents| {
            for (partition, start) in starts {
                let extent = &mut extents[usize::from(partition)];
                dropped += start - extent.start;
                extent.start = start;
            }
        });
        Ok(dropped)
    }

    /// Drops up to [`TRIM_RECORDS_MAX`] records in one transaction; returns where the changed partitions start now.
    fn delete(
        &mut self,
        before: Timestamp,
        decided: &[(Partition, Offset)],
    ) -> std::result::Result<Vec<(Partition, Offset)>, Failure> {
        let extents = self.committed.borrow().clone();
        let mut starts = Vec::new();
        let mut room = TRIM_RECORDS_MAX;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (partition, decided) in decided {
            let Some(extent) = extents.get(usize::from(*partition)) else { continue };
            let old = first_at_or_after(&transaction, *extent, before)?;
            let start = old.min(*decided).min(extent.start + room);
            if start <= extent.start {
                continue;
            }
            room -= start - extent.start;
            transaction
                .prepare_cached("DELETE FROM records WHERE partition = ?1 AND log_offset < ?2")?
                .execute((partition, to_sql(start)))?;
            transaction
                .prepare_cached("UPDATE partitions SET start_offset = ?2, last_logged_at_us = ?3 WHERE partition = ?1")?
                .execute((partition, to_sql(start), self.last_logged_at.as_micros()))?;
            starts.push((*partition, start));
        }
        sqlite::commit(transaction)?;
        Ok(starts)
    }

    /// Why nothing is written any more, if so.
    fn refusal(&self) -> Option<Explanation> {
        let cause = self.failed.borrow().clone();
        cause.map(|cause| Explanation { kind: Error::DidNotHappen, text: cause })
    }

    /// What a failure means to those who wait. After one that leaves open what the device holds, or finds something in
    /// the way, nothing is written any more.
    fn explain(&self, error: Error) -> Explanation {
        match error {
            Error::StorageFull(text) => {
                self.measures.storage_full_total.inc();
                tracing::warn!(cause = %text, "the intent log has no space left");
                Explanation { kind: Error::StorageFull, text }
            }
            Error::DidNotHappen(text) => {
                tracing::warn!(cause = %text, "the intent log could not be written");
                Explanation { kind: Error::DidNotHappen, text }
            }
            error => {
                let text = format!("the intent log failed ({error}); restart the process once the device is well");
                tracing::error!(cause = %error, "the intent log takes no more records");
                self.failed.send_replace(Some(text.clone()));
                let open = matches!(error, Error::MayHaveHappened(_));
                Explanation { kind: if open { Error::MayHaveHappened } else { Error::DidNotHappen }, text }
            }
        }
    }

    fn measure_size(&self) {
        let bytes = |path: &std::path::Path| std::fs::metadata(path).map_or(0, |file| file.len());
        let size = bytes(&self.database) + bytes(&sqlite::write_ahead_log(&self.database));
        self.measures.size_bytes.set(i64::try_from(size).unwrap_or(i64::MAX));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.failed.send_replace(Some("the intent log's writer panicked; restart the process".into()));
        }
    }
}

/// The same error for each of many.
struct Explanation {
    kind: fn(String) -> Error,
    text: String,
}

impl Explanation {
    fn error(&self) -> Error {
        (self.kind)(self.text.clone())
    }
}

/// The first offset of a partition that the log took at `time` or later. Times rise with offsets, so it is searched by
/// halves.
fn first_at_or_after(connection: &Connection, extent: Extent, time: Timestamp) -> rusqlite::Result<Offset> {
    let mut statement =
        connection.prepare_cached("SELECT logged_at_us FROM records WHERE partition = ?1 AND log_offset = ?2")?;
    let (mut low, mut high) = (extent.start, extent.end);
    while low < high {
        let middle = low + (high - low) / 2;
        let logged_at: i64 = statement.query_row((extent.partition, to_sql(middle)), |row| row.get(0))?;
        if logged_at < time.as_micros() { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}
