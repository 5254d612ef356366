//! Adapters of the ledger port.

pub mod memory;
pub mod redis;
