//! Adapters of the analytics port.

pub mod clickhouse;
pub mod sqlite;
