//! The store in one SQLite file: `store.sqlite` in the data folder.
//!
//! One thread writes; it owns the write connection and a copy of the sessions it touched lately. Reads use connections of
//! their own, which see the last commit and hold nobody up. The constraints that have the last word are in
//! `migrations/0001_first.sql`.

mod commit;
mod details;
mod effects;
mod options;
mod prune;
mod reads;
mod service;
mod sessions;
mod writes;

pub use options::Options;
pub use service::Store;

/// The file's name in the data folder.
pub const FILE: &str = "store.sqlite";

pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_retention.sql"),
    include_str!("migrations/0003_patient_details.sql"),
];
