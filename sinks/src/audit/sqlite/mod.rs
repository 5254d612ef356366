//! The audit trail in one SQLite file: `audit.sqlite` in the data folder, readable by its owner only.
//!
//! One thread writes; a group of entries is one transaction and one fsync. Triggers in `migrations/0001_first.sql` refuse
//! changes; that entries were changed past them is found by their hashes.

mod options;
mod rows;
mod service;

pub use options::Options;
pub use service::Audit;

/// The file's name in the data folder.
pub const FILE: &str = "audit.sqlite";

const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_first.sql")];
