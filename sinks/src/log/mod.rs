//! Adapters of the intent log port.

pub mod sqlite;
