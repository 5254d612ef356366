//! Analytics in one SQLite file: `analytics.sqlite` in the data folder.
//!
//! It can be rebuilt from the store, so a commit here does not wait for the disk. One thread appends; reports read beside
//! it on connections of their own.

mod append;
mod batch;
mod metrics;
mod options;
mod reports;
mod service;

pub use options::Options;
pub use service::Analytics;

/// The file's name in the data folder.
pub const FILE: &str = "analytics.sqlite";

const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_first.sql"), include_str!("migrations/0002_patient.sql")];
