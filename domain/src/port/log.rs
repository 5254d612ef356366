//! The intent log: every command that changes inventory, in one total order per doctor.

use async_trait::async_trait;

use super::Result;
use crate::clock::Timestamp;
use crate::position::{Offset, Partition, Position};

/// A record as it lies in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place.
    pub position: Position,
    /// When the log took it. The embedded log gives times that are distinct and rise over all partitions, so that they order
    /// them; in Kafka it is the broker's clock, in whole milliseconds.
    pub logged_at: Timestamp,
    /// An encoded [`crate::envelope`], or whatever somebody wrote.
    pub payload: Vec<u8>,
}

/// Where an appended record came to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its place.
    pub position: Position,
    /// When the log took it.
    pub logged_at: Timestamp,
}

/// A partition's extent: records `start..end` are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The partition.
    pub partition: Partition,
    /// The first offset that is still kept.
    pub start: Offset,
    /// The next offset to be given out.
    pub end: Offset,
}

/// The log, as its writers see it.
#[async_trait]
pub trait IntentLog: Send + Sync + 'static {
    /// How many partitions it has; never changes while it is open.
    fn partitions(&self) -> u16;

    /// Appends a record; it is durable when this returns. The key is the doctor's id, for a log that keeps one beside the
    /// payload; whoever calls has derived the partition from it.
    ///
    /// # Errors
    /// `Overloaded` and `StorageFull`: it was not taken. `MayHaveHappened`: it may be in the log; append it again, the
    /// pipeline knows a ticket when it comes twice.
    async fn append(&self, partition: Partition, key: &str, payload: Vec<u8>) -> Result<Appended>;

    /// Every partition's extent, ascending by partition.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn extents(&self) -> Result<Vec<Extent>>;

    /// When the log took the records at these places, one for one; `None` for what is not there, or not any more. At most one
    /// place of a partition is asked for at once.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn logged_at(&self, places: &[Position]) -> Result<Vec<Option<Timestamp>>>;

    /// Why records may not get through now, as far as the log knows without asking anybody. What heals passes with the next
    /// record that gets through, and after a while also without one: a node that is given no requests would never learn of it.
    fn trouble(&self) -> Option<String>;

    /// A reader that has nothing assigned yet.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn reader(&self) -> Result<Box<dyn LogReader>>;

    /// A reader of these partitions from these offsets on, for whoever looks at the log and decides nothing: it is not told
    /// of assignments, and takes no partition from anybody.
    ///
    /// # Errors
    /// When the log cannot be read; `Corrupt` as for [`LogReader::seek`].
    async fn scan(&self, from: &[(Partition, Offset)]) -> Result<Box<dyn LogReader>>;

    /// Drops records that the log took before `before` and that lie below the given offsets: those are decided. Returns
    /// how many were dropped. A log that ages by itself drops none.
    ///
    /// # Errors
    /// When the log cannot be written.
    async fn trim(&self, before: Timestamp, decided: &[(Partition, Offset)]) -> Result<u64>;
}

/// What a reader has to tell.
#[derive(Debug)]
pub enum Delivery {
    /// These partitions are this reader's from now on; nothing of them is delivered until [`LogReader::seek`].
    Assigned(Vec<Partition>),
    /// These are not any more.
    Revoked(Vec<Partition>),
    /// Records: in offset order within a partition. What lies in the log when it is read is merged over the partitions by
    /// `(logged_at, position)`.
    Records(Vec<Record>),
}

/// The log, as its one consumer in a process sees it.
#[async_trait]
pub trait LogReader: Send {
    /// Waits until there is something to tell; at most `records_max` records at once. Dropping the future loses nothing.
    ///
    /// # Errors
    /// `Corrupt` when an offset that should be there is not. Never skips.
    async fn next(&mut self, records_max: usize) -> Result<Delivery>;

    /// Goes on from these offsets: the first of each that is to be delivered.
    ///
    /// # Errors
    /// `Corrupt` when the log starts after, or ends before, such an offset.
    async fn seek(&mut self, from: &[(Partition, Offset)]) -> Result<()>;

    /// Begins anew without giving up what is assigned: that is told once more, as [`Delivery::Assigned`], and nothing of it is
    /// delivered until it is sought. What was delivered before counts as finished.
    fn restart(&mut self);
}
