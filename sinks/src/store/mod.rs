//! Adapters of the store port.

mod codes;
mod lanes;
mod metrics;
pub mod postgres;
pub mod sqlite;
