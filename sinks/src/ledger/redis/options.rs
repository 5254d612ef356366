//! How the ledger is opened.

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
    /// Connections, each shared by many calls.
    pub connections: usize,
    /// Commands that one call decides: for so long Redis does nothing else.
    pub batch_max: usize,
    /// What all keys begin with; without `{`.
    pub prefix: String,
    /// Partitions of the log, to name the one that was taken over when a restore is refused.
    pub log_partitions: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            urls: vec!["redis://127.0.0.1:6379".into()],
            tls: ClientTls::default(),
            response_timeout: Duration::from_secs(1),
            connections: 4,
            batch_max: 128,
            prefix: "orderly:".into(),
            log_partitions: 8,
        }
    }
}
