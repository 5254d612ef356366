//! What the adapters on Kafka have in common: connections, topics, watermarks and the producer.

mod connection;
mod producer;
mod records;
mod topic;
mod trouble;
mod watermarks;

pub(crate) use connection::{Connection, log_line};
pub(crate) use producer::{Limits, Observer, Producer};
pub(crate) use records::records_at;
pub(crate) use topic::{Missing, Topic};
pub(crate) use watermarks::{Watermarks, is_told_of};

use orderly_domain::port::{Error, Result};

/// Runs a call that may wait for a broker where that does no harm.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Error::DidNotHappen(format!("asking Kafka was cut short: {error}"))))
}
