//! The idempotency window: bookings that this node took lately, so that a retry gets its ticket without a new record.
//!
//! It only spares work. A retry that it has forgotten, or that lands on another node, is appended again, and the pipeline
//! answers it with the first record's outcome.

use orderly_domain::{Position, SessionId, Timestamp, ticket};
use quick_cache::sync::Cache;

/// A booking that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) session_id: SessionId,
    pub(crate) position: Position,
    pub(crate) logged_at: Timestamp,
}

/// Bookings that were taken lately, by ticket.
pub(crate) struct Window(Cache<ticket::Id, Taken>);

impl Window {
    pub(crate) fn new(items_max: usize) -> Self {
        Self(Cache::new(items_max))
    }

    pub(crate) fn get(&self, ticket: ticket::Id) -> Option<Taken> {
        self.0.get(&ticket)
    }

    pub(crate) fn insert(&self, ticket: ticket::Id, taken: Taken) {
        self.0.insert(ticket, taken);
    }
}
