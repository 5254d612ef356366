//! The store in PostgreSQL, for several nodes at once.
//!
//! A commit is one transaction of a constant number of round trips, however many decisions it has: it locks its partitions'
//! rows, reads what its decisions touch, applies them in memory in their order, and writes what came of it set by set. What
//! it read may have been changed by another node's commit meanwhile; the constraints in `migrations/0001_first.sql` notice,
//! and the commit is tried anew on what is there now.
//!
//! Decisions and appointments lie in a table for each day (`days.rs`), so that old days are dropped whole.

mod apply;
mod books;
mod commit;
pub(crate) mod connections;
mod copy;
mod days;
mod details;
pub(crate) mod error;
mod held;
pub(crate) mod migrations;
mod options;
mod probe;
mod progress;
mod prune;
mod reads;
pub(crate) mod rows;
mod service;
mod turn;
mod write;

pub use options::Options;
pub use service::Store;
pub use turn::Turn;

pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_retention.sql"),
    include_str!("migrations/0003_patient_details.sql"),
];

/// Where the schema's version is kept.
const VERSIONS: &str = "schema_versions";
