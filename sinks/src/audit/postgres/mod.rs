//! The audit trail in PostgreSQL: all nodes append to one chain, one after the other.
//!
//! Row-level security shows its entries to the role `orderly_auditor` only, their owner not excepted; a read acts as that
//! role. Triggers in `migrations/0001_first.sql` refuse changes; that entries were changed past them is found by their
//! hashes.

mod append;
mod prune;
mod reads;
mod role;
mod service;

pub use service::{Audit, Options};

const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_first.sql")];

/// Where the schema's version is kept.
const VERSIONS: &str = "audit_schema_versions";
