//! The adapters of Orderly's edges: the intent log, the ledger, the store, analytics and the fan-out. One folder each
//! adapter; every adapter of a port runs that port's conformance suite in `tests/conformance`.

pub mod analytics;
pub mod fanout;
pub mod feed;
pub mod guarded;
mod kafka;
pub mod ledger;
pub mod log;
pub mod metrics;
mod redis;
mod sqlite;
pub mod store;
