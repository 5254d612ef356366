//! Adapters of the store port.

pub mod postgres;
pub mod sqlite;
