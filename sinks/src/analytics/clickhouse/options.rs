//! How analytics are opened.

use std::fmt;
use std::time::Duration;

use crate::tls::ClientTls;

/// What can be set. Every bound is a maximum.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// The server's HTTP address, `http://host:port` or, for TLS, `https://host:port`, without a user in it.
    pub url: String,
    /// Whom to trust where the address begins with `https`.
    pub tls: ClientTls,
    /// The database; made when it is not there.
    pub database: String,
    /// Who asks.
    pub user: String,
    /// The user's password.
    pub password: Option<String>,
    /// How long small statements may take: where rows ended, changes of the schema.
    pub timeout: Duration,
    /// How long a report or a count may take; the server ends it then.
    pub report_timeout: Duration,
    /// How long the server may take over one batch of rows, and over taking each piece of it.
    pub append_timeout: Duration,
    /// Rows of one batch; an append of more is cut.
    pub batch_rows_max: usize,
    /// How many days rows are kept, counted from when the log took them; `None` for ever. Needs a server of today.
    pub retention_days: Option<u32>,
    /// Whether rows and answers are compressed on their way.
    pub compress: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8123".into(),
            tls: ClientTls::default(),
            database: "orderly".into(),
            user: "default".into(),
            password: None,
            timeout: Duration::from_secs(5),
            report_timeout: Duration::from_secs(60),
            append_timeout: Duration::from_secs(30),
            batch_rows_max: 100_000,
            retention_days: None,
            compress: true,
        }
    }
}

/// The password is not shown.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("url", &self.url)
            .field("database", &self.database)
            .field("user", &self.user)
            .field("timeout", &self.timeout)
            .field("report_timeout", &self.report_timeout)
            .field("append_timeout", &self.append_timeout)
            .field("batch_rows_max", &self.batch_rows_max)
            .field("retention_days", &self.retention_days)
            .field("compress", &self.compress)
            .finish_non_exhaustive()
    }
}
