//! Analytics in ClickHouse, over HTTP.
//!
//! One statement runs on servers of 2018 and of today; what only newer ones have (codecs, retention, fsync) is added
//! where the server's version allows. A batch of rows may arrive twice, when its answer is lost: the table replaces rows
//! by their key, and every read is `FINAL`, so each counts once. Whoever writes SQL by hand has views that do the same:
//! `decisions_once` and `outcomes_by_day`.
//!
//! A batch never crosses a month, so that it becomes one part of the table: it is there whole or not at all, and the
//! highest offset of a partition tells what has arrived. Analytics can be made anew at any time: drop the database and
//! start again, and everything is carried from the store.

mod append;
mod error;
mod metrics;
mod options;
mod reports;
mod schema;
mod server;
mod service;

pub use options::Options;
pub use service::Analytics;
