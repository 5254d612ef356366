//! Adapters of the analytics port.

pub mod sqlite;
