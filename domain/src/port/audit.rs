//! The audit trail: a chain of entries that can only be appended to.

use async_trait::async_trait;

use super::Result;
use crate::audit::{Algorithm, Entry, Linked, Place};
use crate::clock::Timestamp;

/// Where the kept chain begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The last entry that was forgotten; [`Place::BEGINNING`] when none was.
    pub start: Place,
    /// The last entry; `start` when there is none.
    pub head: Place,
}

/// The trail. All processes of a hospital append to one chain.
#[async_trait]
pub trait Audit: Send + Sync + 'static {
    /// How hashes are made from now on.
    fn algorithm(&self) -> Algorithm;

    /// Appends entries in their order, all or none; they are durable when this returns with their places.
    ///
    /// # Errors
    /// When the trail cannot be written. After `MayHaveHappened`, append the same entries again, and nothing else before: they
    /// are found by the `node` and `number` of the first one, if they are there, and not appended twice.
    async fn append(&self, entries: &[Entry]) -> Result<Vec<Place>>;

    /// Entries from `from` on, ascending, at most `entries_max`. Also what lies before the kept beginning is handed out, if
    /// there is something: it should not be there.
    ///
    /// # Errors
    /// When the trail cannot be read, or not by this process.
    async fn scan(&self, from: u64, entries_max: usize) -> Result<Vec<Linked>>;

    /// Where the chain begins and ends, as the store has it.
    ///
    /// # Errors
    /// When the trail cannot be read.
    async fn extent(&self) -> Result<Extent>;

    /// Forgets the entries before the first whose call came at `before` or later, and remembers where the chain begins from
    /// then on. Returns how many were forgotten.
    ///
    /// # Errors
    /// When the trail cannot be written, or entries younger than [`crate::audit::RETENTION_MIN`] by the store's own clock
    /// would go: those stay.
    async fn prune(&self, before: Timestamp) -> Result<u64>;
}
