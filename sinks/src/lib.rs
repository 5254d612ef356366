//! The adapters of Orderly's edges: the intent log, the ledger, the store, analytics, the fan-out and the
//! meeting of ingress nodes. One folder each
//! adapter; every adapter of a port runs that port's conformance suite in `tests/conformance`.

pub mod analytics;
pub mod audit;
pub mod fanout;
pub mod feed;
pub mod guarded;
mod kafka;
pub mod ledger;
pub mod log;
pub mod metrics;
pub mod peers;
mod redis;
mod sqlite;
pub mod store;
pub mod tls;
