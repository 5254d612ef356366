//! How the fan-out is opened.

use std::time::Duration;

use crate::tls::ClientTls;

/// What can be set. Every bound is a maximum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where Redis is, as `redis://[USER:PASSWORD@]HOST:PORT[/DATABASE]`. One address is a server; several are nodes of a
    /// cluster, which tell of the others.
    pub urls: Vec<String>,
    /// Whom to trust where an address begins with `rediss`.
    pub tls: ClientTls,
    /// How long an answer may take. Then it is unknown whether the call happened, and its connection is dropped.
    pub response_timeout: Duration,
    /// The stream's key; without `{` and `}`.
    pub stream: String,
    /// About how many batches the stream keeps for readers that lag behind. One has at most 256 decisions, about 15 kB.
    pub kept_batches_max: usize,
    /// About how many batches this process keeps for its slowest subscriber.
    pub capacity_batches: usize,
    /// Whether this process listens. One that only publishes has no reader, and its subscribers hear nothing.
    pub listen: bool,
    /// How long the reader waits for news before it looks whether the stream is still the one it knows.
    pub idle: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            urls: vec!["redis://127.0.0.1:6379".into()],
            tls: ClientTls::default(),
            response_timeout: Duration::from_secs(1),
            stream: "orderly:outcomes".into(),
            kept_batches_max: 10_000,
            capacity_batches: 1_024,
            listen: true,
            idle: Duration::from_secs(1),
        }
    }
}
