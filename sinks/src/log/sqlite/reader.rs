//! The reader: reads ahead on blocking threads and hands out in order.

use std::time::Duration;

use async_trait::async_trait;
use orderly_domain::port::log::{Delivery, LogReader, Record};
use orderly_domain::port::{Error, Result};
use orderly_domain::{Offset, Partition};
use tokio::task::JoinHandle;

use super::scan::{Batch, Scan};
use super::{Source, blocking, closed, interrupted};

/// How often a log that another process writes is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A reader of the whole log.
pub(super) struct Reader {
    source: Source,
    assignment_told: bool,
    /// By partition: the first offset that was not delivered; `None` until it was sought.
    next: Vec<Option<Offset>>,
    /// Read and not delivered.
    ready: std::vec::IntoIter<Record>,
    scan: State,
    /// Whether the last read came to the end of the log.
    at_end: bool,
}

/// Where the scan is: here, or at work on a blocking thread.
enum State {
    Idle(Box<Scan>),
    Reading(JoinHandle<(Box<Scan>, Result<Batch>)>),
    /// The runtime took the thread away.
    Lost,
}

impl Reader {
    pub(super) async fn open(source: Source) -> Result<Self> {
        let (database, partitions) = (source.database.clone(), source.partitions);
        let scan = blocking(move || Scan::open(&database, partitions)).await?;
        Ok(Self {
            assignment_told: false,
            next: vec![None; usize::from(source.partitions)],
            ready: Vec::new().into_iter(),
            scan: State::Idle(Box::new(scan)),
            at_end: false,
            source,
        })
    }

    /// The same, without being told what is assigned.
    pub(super) fn unassigned(mut self) -> Self {
        self.assignment_told = true;
        self
    }

    /// Starts a read, unless one is under way.
    fn start_read(&mut self) {
        self.scan = match std::mem::replace(&mut self.scan, State::Lost) {
            State::Idle(mut scan) => {
                // What is committed from here on is news to this read or to a later one.
                if let Some(committed) = &mut self.source.committed {
                    committed.mark_unchanged();
                }
                State::Reading(tokio::task::spawn_blocking(move || {
                    let outcome = scan.read().map_err(Error::from);
                    (scan, outcome)
                }))
            }
            other => other,
        };
    }

    /// Waits for the read that is under way, if there is one. May be dropped and called again.
    async fn finish_read(&mut self) -> Option<Result<Batch>> {
        match &mut self.scan {
            State::Idle(_) => None,
            State::Lost => Some(Err(Error::DidNotHappen("the reader has lost its thread; make a new one".into()))),
            State::Reading(reading) => match reading.await {
                Ok((scan, outcome)) => {
                    self.scan = State::Idle(scan);
                    Some(outcome)
                }
                Err(error) => {
                    self.scan = State::Lost;
                    Some(Err(interrupted(&error)))
                }
            },
        }
    }

    /// Lets the scan go on from what was delivered.
    fn rewind(&mut self) {
        self.ready = Vec::new().into_iter();
        self.at_end = false;
        if let State::Idle(scan) = &mut self.scan {
            scan.seek(&self.next);
        }
    }

    /// Waits until something may have been committed since the last read began.
    async fn news(&mut self) -> Result<()> {
        match &mut self.source.committed {
            Some(committed) => committed.changed().await.map_err(|_| closed()),
            None => {
                tokio::time::sleep(POLL_INTERVAL).await;
                Ok(())
            }
        }
    }

    fn deliver(&mut self, records_max: usize) -> Vec<Record> {
        let records: Vec<Record> = self.ready.by_ref().take(records_max.max(1)).collect();
        for record in &records {
            self.next[usize::from(record.position.partition)] = Some(record.position.offset + 1);
        }
        records
    }
}

#[async_trait]
impl LogReader for Reader {
    async fn next(&mut self, records_max: usize) -> Result<Delivery> {
        if !self.assignment_told {
            self.assignment_told = true;
            return Ok(Delivery::Assigned((0..self.source.partitions).collect()));
        }
        if self.next.iter().all(Option::is_none) {
            return std::future::pending().await;
        }
        while self.ready.as_slice().is_empty() {
            if self.at_end {
                self.news().await?;
                self.at_end = false;
            }
            self.start_read();
            match self.finish_read().await {
                None => {}
                Some(Ok(batch)) => {
                    self.at_end = !batch.more;
                    self.ready = batch.records.into_iter();
                    if batch.more {
                        self.start_read();
                    }
                }
                Some(Err(error)) => {
                    self.rewind();
                    return Err(error);
                }
            }
        }
        Ok(Delivery::Records(self.deliver(records_max)))
    }

    async fn seek(&mut self, from: &[(Partition, Offset)]) -> Result<()> {
        let extents = self.source.extents().await?;
        let mut next = self.next.clone();
        for (partition, offset) in from {
            let Some(extent) = extents.get(usize::from(*partition)) else {
                return Err(Error::Corrupt(format!(
                    "partition {partition} was sought and the log has {}",
                    self.source.partitions
                )));
            };
            if !(extent.start..=extent.end).contains(offset) {
                return Err(Error::Corrupt(format!(
                    "partition {partition} holds offsets {} to before {} and {offset} was sought: the log and what was \
                     decided from it do not belong together, or undecided records were dropped",
                    extent.start, extent.end
                )));
            }
            next[usize::from(*partition)] = Some(*offset);
        }
        // What a read under way finds is of no use any more; only a lost thread matters.
        if let Some(Err(error)) = self.finish_read().await
            && matches!(self.scan, State::Lost)
        {
            return Err(error);
        }
        self.next = next;
        self.rewind();
        Ok(())
    }
}
