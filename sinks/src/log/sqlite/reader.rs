//! The reader: reads ahead on blocking threads and hands out in order. Once it is up to date it follows the writer, which
//! leaves it what it has just committed.

use std::time::Duration;

use async_trait::async_trait;
use orderly_domain::port::log::{Delivery, LogReader, Record};
use orderly_domain::port::{Error, Result};
use orderly_domain::{Offset, Partition};
use tokio::task::JoinHandle;

use super::scan::{Batch, Scan};
use super::tail::Follower;
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
    /// Since before the last read began, the writer has left here what it commits.
    follower: Option<Follower>,
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
            follower: None,
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
                self.follower = self.source.tail.as_ref().map(|tail| tail.follow());
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

    /// Takes what the writer left since the last read, if it was at the end of the log. Part of it may have been read; should
    /// anything be missing before the rest, the file is read.
    fn follow(&mut self) -> bool {
        let (Some(tail), Some(follower)) = (&self.source.tail, self.follower) else { return false };
        let mut next = self.next.clone();
        let mut is_whole = true;
        let mut is_news = |record: &Record| match &mut next[usize::from(record.position.partition)] {
            Some(next) if record.position.offset >= *next => {
                is_whole &= record.position.offset == *next;
                *next = record.position.offset + 1;
                true
            }
            _ => false,
        };
        let news = tail.take(follower).map(|mut records| {
            records.retain(&mut is_news);
            records
        });
        match news.filter(|_| is_whole) {
            Some(news) => {
                self.ready = news.into_iter();
                true
            }
            None => {
                self.follower = None;
                if let State::Idle(scan) = &mut self.scan {
                    scan.seek(&self.next);
                }
                false
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
                if self.follow() {
                    continue;
                }
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

    fn restart(&mut self) {
        self.assignment_told = false;
        self.next.fill(None);
        self.ready = Vec::new().into_iter();
    }
}
