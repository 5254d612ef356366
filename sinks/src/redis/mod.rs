//! What the adapters on Redis share: connections, and what an error means.

mod connection;
mod error;
mod servers;

pub(crate) use connection::Connection;
pub(crate) use error::{not_connected, unknown_or_refused};
pub(crate) use servers::{Address, Servers};
