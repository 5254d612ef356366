//! The audit trail at the door: every call of ops, analysts and auditors, and every cancellation, leaves an entry, which is
//! durable before the answer goes out.
//!
//! Entries wait in a bounded queue for the one task that writes them, a group at a time: in a rush of cancellations each
//! group costs one append, not each call. What is done when the trail cannot be written is argued in ADR 0012.

mod call;
mod metrics;
mod options;
pub(crate) mod read;
mod refusals;
mod retention;
mod trail;
mod writer;

pub(crate) use call::Call;
pub(crate) use metrics::Metrics;
pub use options::Options;
pub(crate) use retention::forget;
pub(crate) use trail::{Trail, Urgency};
