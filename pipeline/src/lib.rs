//! Runs the booking dataflow on timely: `source ▸ decode ▸ dedup ▸ admit ▸ commit ▸ publish`.
//!
//! One reader a process takes records from the log, cuts them into epochs and hands every worker its partitions' share.
//! An epoch's frontier is the commit watermark. What is in flight is bounded: the reader waits while too many epochs are.

mod alone;
mod dataflow;
mod failure;
mod graph;
mod in_flight;
#[cfg(test)]
mod interleaved;
mod life;
mod metrics;
mod reader;
mod relay;
mod retention;
mod runtime;
mod same_log;
mod stepped;
mod sync;
mod takeover;

pub use alone::run_alone;
pub use relay::Relay;
pub use retention::{Retention, StoreRetention};
pub use runtime::{Error, Options, Pipeline, Ports};
pub use same_log::same_log;
