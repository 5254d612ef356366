//! What can go wrong at an edge, sorted by what the caller may conclude from it.

/// The result of a call across an edge.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed call. The variants answer the one question that matters to the caller: did it happen?
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It did not happen, and it can be tried again at once.
    #[error("did not happen: {0}")]
    DidNotHappen(String),
    /// It may have happened: ask again by the same key to find out.
    #[error("may have happened: {0}")]
    MayHaveHappened(String),
    /// It did not happen: the queue is full. Try again later.
    #[error("did not happen, the queue is full: {0}")]
    Overloaded(String),
    /// It did not happen: no space is left on the device.
    #[error("did not happen, storage is full: {0}")]
    StorageFull(String),
    /// It did not happen and never will: another owner has taken the partition over.
    #[error("did not happen: partition {partition} was taken over by another owner")]
    Fenced {
        /// The partition.
        partition: crate::Partition,
    },
    /// It did not happen: what should be known there is lost or stale. Take the partitions over again, which restores it.
    #[error("did not happen: {0}; it must be restored from the store")]
    Lost(String),
    /// It did not happen: a booking's patient holds an appointment in a partition that the commit is not about, of which the
    /// ledger knows nothing.
    #[error("did not happen: the patient of record {at} still holds the booking of record {by}")]
    Held {
        /// The booking that it stands in the way of.
        at: crate::Position,
        /// The booking that is held.
        by: crate::Position,
    },
    /// It did not happen: what was expected to be current is not.
    #[error("did not happen: expected version {expected}, found {found}")]
    Conflict {
        /// What the caller expected.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// It did not happen: it was not even tried, because the breaker before it is open. Try again later.
    #[error("did not happen: the breaker of {breaker} is open ({cause}); it can be asked again in {} ms", retry_after.as_millis())]
    BreakerOpen {
        /// What the breaker guards.
        breaker: &'static str,
        /// Why it is open.
        cause: std::sync::Arc<str>,
        /// How long it refuses calls, as far as it knows.
        retry_after: std::time::Duration,
    },
    /// What is stored cannot be what was written, or breaks a promise: nothing may go on.
    #[error("corrupt: {0}")]
    Corrupt(String),
}
