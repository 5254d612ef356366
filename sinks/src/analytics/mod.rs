//! Adapters of the analytics port.

pub mod clickhouse;
mod reports;
pub mod sqlite;
