//! Adapters of the intent log port.

pub mod kafka;
pub mod sqlite;
