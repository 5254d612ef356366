//! Commands that check, judge and prove.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use orderly_domain::{Position, SessionId};

use super::{ServerTls, Source};

/// Options of `orderly check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub source: Source,

    /// No server is deciding: intents without a decision are an error
    #[arg(long)]
    pub idle: bool,

    /// Compare what clients were told by these histories, as `orderly-bench rush --history FILE` writes them
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub clients: Vec<PathBuf>,

    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Options of `orderly audit-run`.
#[derive(Debug, Args)]
pub(crate) struct AuditRun {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub source: Source,

    /// Publish in this file, every minute, what receipts are verified against
    #[arg(long, value_name = "FILE")]
    pub roots: Option<PathBuf>,

    /// The address and port to listen on for health, metrics and the report
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8083")]
    pub listen: SocketAddr,

    /// Have the server at this address freeze sessions in which something is wrong
    #[arg(long, value_name = "URL", requires = "token")]
    pub freeze: Option<reqwest::Url>,

    /// A token of role ops, to freeze with
    #[arg(long, env = "ORDERLY_TOKEN", hide_env_values = true)]
    pub token: Option<String>,

    /// How that server is spoken to by TLS.
    #[command(flatten)]
    pub tls: ServerTls,
}

/// Options of `orderly replay`.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub source: Source,

    /// Keep the embedded copy in this folder, which must be empty or new
    #[arg(long, value_name = "DIR", conflicts_with = "session")]
    pub keep: Option<PathBuf>,

    /// Decide nothing; print the line of this session: who asked when, in the log's order, and what they were told
    #[arg(long, value_name = "ID")]
    pub session: Option<SessionId>,

    /// The line as it was at this moment, such as 2026-11-23T00:00:03Z [default: now]
    #[arg(long, value_name = "TIME", requires = "session")]
    pub at: Option<jiff::Timestamp>,

    /// Compare the line's records with these published roots, and mark which of them each covers
    #[arg(long, value_name = "FILE", requires = "session")]
    pub roots: Option<PathBuf>,

    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Commands of `orderly receipt`.
#[derive(Debug, Subcommand)]
pub(crate) enum Receipt {
    /// Print the receipt of a request: a line of JSON, small enough for a QR code
    #[command(after_help = "Example:
  orderly receipt make 3/1042 --roots roots.ndjson --data data
      3/1042 is the ticket's `log`: partition and offset. `orderly audit-run --roots roots.ndjson` publishes the roots; a request
      is covered a minute after it was taken.

The receipt holds the whole record: who asked, for whom, and for which session. Give it to nobody but the patient.")]
    Make {
        /// The request's place in the log: PARTITION/OFFSET
        #[arg(value_name = "PLACE", value_parser = place)]
        at: Position,

        /// The published roots
        #[arg(long, value_name = "FILE")]
        roots: PathBuf,

        /// Where the configuration comes from.
        #[command(flatten)]
        source: Source,
    },
    /// Verify a receipt, without any server
    #[command(after_help = "Example:
  orderly receipt verify receipt.json --roots roots.ndjson
      Exit status 0 when the request lay in the log where the receipt says, before the root was published.

Use roots that you kept, or got from somebody else than whoever you doubt: a hospital could publish others later.")]
    Verify {
        /// The receipt's file
        #[arg(value_name = "FILE")]
        receipt: PathBuf,

        /// The published roots
        #[arg(long, value_name = "FILE")]
        roots: PathBuf,
    },
}

fn place(text: &str) -> Result<Position, String> {
    let place = text.split_once('/').and_then(|(partition, offset)| {
        Some(Position { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
    });
    place.ok_or_else(|| "a place is PARTITION/OFFSET, such as 3/1042".to_owned())
}

/// Commands of `orderly audit`.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Find every edit, deletion, reorder and truncation
    #[command(after_help = "Examples:
  orderly audit verify --config orderly.toml
      Check the chain, and compare it with the configured anchor file.
  orderly audit verify --data /var/lib/orderly --anchor /mnt/worm/audit.anchors
      The same with anchors from elsewhere; --anchor may be given for each node's file.

It reads only; a server may be writing. Exit status 1 when something is wrong; the places in the chain are listed. Without
anchors it cannot be told whether the whole chain, or its end, was replaced, which is exit status 1, too, unless
--without-anchors says that this is known.")]
    Verify {
        /// Where the configuration comes from.
        #[command(flatten)]
        source: Source,
        /// An anchor file [default: the configured one, if it is there]
        #[arg(long, value_name = "FILE")]
        anchor: Vec<PathBuf>,
        /// Be content with a chain that holds by itself when there is no anchor
        #[arg(long)]
        without_anchors: bool,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Print the head of the chain: its place, its hash and its time
    #[command(after_help = "Example:
  orderly audit head --data /var/lib/orderly
      Write it down where nobody who can write the store can change it.")]
    Head {
        /// Where the configuration comes from.
        #[command(flatten)]
        source: Source,
    },
}
