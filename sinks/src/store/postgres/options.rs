//! How the store is opened.

use std::time::Duration;

use crate::tls::ClientTls;

/// What can be set. Every bound is a maximum.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// The primary server's database: `postgres://user:password@host:port/database`. With `?sslmode=require` it is spoken to by
    /// TLS, and its certificate must be good for its host; otherwise in clear.
    pub url: String,
    /// A replica's, for single decisions, which patients ask for. What is not there yet, or cannot be asked there, is asked
    /// of the primary; everything else always is.
    pub read_url: Option<String>,
    /// Whom to trust where a URL asks for TLS.
    pub tls: ClientTls,
    /// Connections for writes.
    pub writers: usize,
    /// Connections for reads; to the replica as many again.
    pub readers: usize,
    /// How long a call waits for a connection, and a connection for its server.
    pub connect_timeout: Duration,
    /// How long a statement waits for a lock that another transaction holds.
    pub lock_timeout: Duration,
    /// How long the server works on one statement.
    pub statement_timeout: Duration,
    /// How long a transaction is open without a statement until the server ends it and frees its locks: as long as a node that
    /// was stopped amid a commit can hold up whoever takes its partitions over.
    pub idle_in_transaction_timeout: Duration,
    /// How long one try of a write takes altogether. It bounds what the server cannot: a server that was stopped.
    pub call_timeout: Duration,
    /// The same of a read; a takeover has many rows to read.
    pub read_timeout: Duration,
}

impl Options {
    /// The defaults, for that database.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            read_url: None,
            tls: ClientTls::default(),
            writers: 4,
            readers: 8,
            connect_timeout: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            idle_in_transaction_timeout: Duration::from_secs(6),
            call_timeout: Duration::from_secs(7),
            read_timeout: Duration::from_secs(15),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URLs hold passwords.
        f.debug_struct("Options")
            .field("writers", &self.writers)
            .field("readers", &self.readers)
            .field("connect_timeout", &self.connect_timeout)
            .field("lock_timeout", &self.lock_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("idle_in_transaction_timeout", &self.idle_in_transaction_timeout)
            .field("call_timeout", &self.call_timeout)
            .field("read_timeout", &self.read_timeout)
            .finish_non_exhaustive()
    }
}
