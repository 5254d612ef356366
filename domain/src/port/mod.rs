//! The edges of the dataflow, as traits. Each has one adapter a profile and one conformance suite that all of them run.
//!
//! `ingress` and `pipeline` know these traits and no adapter; only the command line wires them together.

pub mod analytics;
pub mod error;
pub mod fanout;
pub mod ledger;
pub mod log;
pub mod peers;
pub mod pipeline;
pub mod store;
pub mod turn;

pub use analytics::{Analytics, Feed};
pub use error::{Error, Result};
pub use fanout::Fanout;
pub use ledger::Ledger;
pub use log::{IntentLog, LogReader};
pub use peers::Peers;
pub use pipeline::Pipeline;
pub use store::Store;
pub use turn::Turn;
