//! Commands that steer a running server.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Source;

/// Commands of `orderly policy`.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Print the policy in force, as TOML
    #[command(after_help = "Examples:
  orderly policy get > policy.toml
  orderly policy get --url https://orderly.example:9443 --ca-file roots.pem --certificate-file amy.pem --key-file amy.key
      From a server whose certificate comes from roots of your own, and that lets in only who shows one. Every command that
      asks a server takes these options, or ORDERLY_URL, ORDERLY_CA_FILE, ORDERLY_CERTIFICATE_FILE and ORDERLY_KEY_FILE.")]
    Get {
        /// The server to ask.
        #[command(flatten)]
        server: Server,
    },
    /// Put a policy in force, at once and without a restart
    #[command(after_help = "Example:
  orderly policy set policy.toml --reason 'release rush'

The file is checked before it is sent. If somebody sets another policy meanwhile, nothing is changed.")]
    Set {
        /// The policy (TOML, or JSON where the name ends in .json)
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Why, for those who read the history
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// The server to ask.
        #[command(flatten)]
        server: Server,
    },
    /// List the policies that were set, newest first, and the configured one
    #[command(after_help = "Example:
  orderly policy history
      Who put which version in force, when, and why.")]
    History {
        /// The server to ask.
        #[command(flatten)]
        server: Server,
    },
    /// Put an earlier policy in force again
    #[command(after_help = "Examples:
  orderly policy rollback
      Back to the version before the one in force.
  orderly policy rollback 3 --reason 'the portal needs more'
  orderly policy rollback 0
      Back to what the node that is asked is configured with.

The earlier document is set anew, under a new version; nothing is lost of the history.")]
    Rollback {
        /// The version to go back to [default: the one before that in force]
        #[arg(value_name = "VERSION")]
        version: Option<u64>,
        /// Why, for those who read the history
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// The server to ask.
        #[command(flatten)]
        server: Server,
    },
    /// Show what a file would have done to requests that are past, beside the policy in force
    #[command(after_help = "Examples:
  orderly policy rehearse policy.toml --data /var/lib/orderly
      The bookings and cancellations in the intent log: those that were let in.
  orderly policy rehearse policy.toml --against arrivals.ndjson
      What an ingress recorded under ingress.arrivals_file: also those that were throttled.

Nothing is changed, and the server may be running.")]
    Rehearse(Rehearse),
    /// Show what a file would change
    #[command(after_help = "Example:
  orderly policy diff policy.toml

Lines that begin with - are in force, lines that begin with + are in the file.")]
    Diff {
        /// The policy (TOML, or JSON where the name ends in .json)
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The server to ask.
        #[command(flatten)]
        server: Server,
    },
}

/// Options of `orderly policy rehearse`.
#[derive(Debug, Args)]
pub(crate) struct Rehearse {
    /// The policy (TOML, or JSON where the name ends in .json)
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// The recorded requests: log, or a file that an ingress recorded
    #[arg(long, value_name = "LOG|TRACE", default_value = "log")]
    pub against: PathBuf,

    /// Where the configuration comes from.
    #[command(flatten)]
    pub source: Source,

    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Commands of `orderly breakers`. Each node has breakers of its own: name it with --url.
#[derive(Debug, Subcommand)]
pub(crate) enum Breakers {
    /// List them, with state and cause
    #[command(after_help = "Example:
  orderly breakers list --url http://127.0.0.1:8081")]
    List {
        /// The node to ask.
        #[command(flatten)]
        server: Server,
    },
    /// Hold one open: what it guards is not asked any more
    #[command(after_help = "Example:
  orderly breakers open analytics --reason 'ClickHouse moves'

It stays open until `orderly breakers close` or `reset`, or until the node starts again.")]
    Open(Hold),
    /// Hold one closed: what it guards is asked, however it answers
    #[command(after_help = "Example:
  orderly breakers close store-reads --reason 'slow, and better than nothing'")]
    Close(Hold),
    /// Let one go: it is closed, and opens again when its calls go badly
    #[command(after_help = "Example:
  orderly breakers reset analytics")]
    Reset(Hold),
}

/// Options of `orderly breakers open`, `close` and `reset`.
#[derive(Debug, Args)]
pub(crate) struct Hold {
    /// What it guards: log, ledger, store, store-reads or analytics
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Why, for those who see it
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// The node to ask.
    #[command(flatten)]
    pub server: Server,
}

/// Options of `orderly suspects`.
#[derive(Debug, Args)]
pub(crate) struct Suspects {
    /// How many at most: 1 to 1,000
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub limit: u16,
    /// The node to ask.
    #[command(flatten)]
    pub server: Server,
}

/// Commands of `orderly sessions`.
#[derive(Debug, Subcommand)]
pub(crate) enum Sessions {
    /// Open the sessions of a file
    #[command(after_help = "Examples:
  orderly sessions import sessions.json
      A JSON array of sessions, as `PUT /v1/sessions` takes it.
  zcat sessions.ndjson.gz | orderly sessions import -
      A session a line, from another program.

Sessions go in groups; a group in which one cannot be opened is not opened, and what is wrong is listed.")]
    Import {
        /// The sessions: a JSON array, or a JSON object a line; - for the standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The server to ask.
        #[command(flatten)]
        server: Server,
    },
    /// Print the sessions of today and later, a line of JSON each, as `orderly sessions import` takes them
    #[command(after_help = "Examples:
  orderly sessions export > sessions.ndjson
      All that can be booked, now or later.
  orderly sessions export --department cardiology --day 2026-11-23 | orderly sessions import - --url http://other:8080

Closed sessions are left out, because importing one opens it; --state closed prints those alone. Who holds which number is
not in it: `orderly repartition` carries that.")]
    Export {
        /// Which of them.
        #[command(flatten)]
        filter: Filter,
        /// The server to ask.
        #[command(flatten)]
        server: Server,
    },
}

/// Which sessions, as `GET /v1/sessions` takes it.
#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// Of a department
    #[arg(long, value_name = "ID")]
    pub department: Option<String>,
    /// Of a doctor
    #[arg(long, value_name = "ID")]
    pub doctor: Option<String>,
    /// On a campus
    #[arg(long, value_name = "ID")]
    pub campus: Option<String>,
    /// On a local day, such as 2026-11-23
    #[arg(long, value_name = "DAY")]
    pub day: Option<jiff::civil::Date>,
    /// In a state: scheduled, open or closed [default: scheduled and open]
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
}

/// A running server.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Its address
    #[arg(
        long,
        value_name = "URL",
        env = "ORDERLY_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8080"
    )]
    pub url: reqwest::Url,

    /// A token with the role ops; `orderly token --sub NAME --role ops` makes one
    #[arg(long, value_name = "TOKEN", env = "ORDERLY_TOKEN", hide_env_values = true)]
    pub token: String,

    /// How it is spoken to by TLS.
    #[command(flatten)]
    pub tls: ServerTls,
}

/// TLS to a running server.
#[derive(Debug, Args)]
pub(crate) struct ServerTls {
    /// The roots that its certificate comes from (PEM) [default: the system's]
    #[arg(long, value_name = "FILE", env = "ORDERLY_CA_FILE")]
    pub ca_file: Option<PathBuf>,

    /// Your certificate, for a server that lets in only who shows one (PEM)
    #[arg(long, value_name = "FILE", env = "ORDERLY_CERTIFICATE_FILE", requires = "key_file")]
    pub certificate_file: Option<PathBuf>,

    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", env = "ORDERLY_KEY_FILE", requires = "certificate_file")]
    pub key_file: Option<PathBuf>,
}
