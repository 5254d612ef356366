//! Real servers as plain processes on the loopback address: what tests and `make up` run Orderly against.

pub mod chdb;
pub mod clickhouse;
pub mod kafka;
pub mod postgres;
mod process;
pub mod prometheus;
pub mod proxy;
pub mod redis;
mod tls;
mod tmpfs;

pub use process::{Process, Spec, free_port, wait_until};
pub use tls::Tls;
pub use tmpfs::Tmpfs;
