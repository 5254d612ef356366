//! Adapters of the fan-out port.

pub mod memory;
pub mod redis;
