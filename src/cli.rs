//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use orderly_domain::{PatientId, Position, SessionId};
use orderly_ingress::auth::Role;

use crate::plan::Preset;

/// Orderly keeps a hospital's booking rush in order: it takes every request in, promises it a place in line, decides each
/// exactly once and in order, and never sells a place twice.
#[derive(Debug, Parser)]
#[command(name = "orderly", version, about, after_help = EXIT_CODES, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit status: 0 it is done, 1 it failed or something is wrong, 2 the command line cannot be used.\n\
                          Every command has examples: orderly COMMAND --help";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the booking engine
    #[command(after_help = "Examples:
  orderly serve --demo
      Try it out: a demo hospital, and tokens for whoever asks.
  orderly serve --config orderly.toml --data /var/lib/orderly
      Run it; `orderly config --print > orderly.toml` makes the file.
  ORDERLY_AUTH__KEY_FILE=auth.key orderly serve --listen 0.0.0.0:8080
      Run it with the defaults and a key of your own.")]
    Serve(Serve),

    /// Run only what takes requests (distributed profile)
    #[command(after_help = "Example:
  orderly ingress --config orderly.toml --listen 0.0.0.0:8080
      Any number of them share the load; each answers for every ticket.")]
    Ingress(Serve),

    /// Run only what decides (distributed profile)
    #[command(after_help = "Example:
  orderly pipeline --config orderly.toml --listen 127.0.0.1:8081
      Any number of them share the log's partitions. It listens for /healthz, /readyz, /metrics,
      /v1/pipeline and /v1/breakers/NAME.")]
    Pipeline(Node),

    /// Run only what carries decisions to analytics and to the topic of events (distributed profile)
    #[command(after_help = "Example:
  orderly relay --config orderly.toml --listen 127.0.0.1:8082
      One works, others stand by. While none runs, patients notice nothing; it catches up.")]
    Relay(Node),

    /// Print each outcome as a line of JSON, for another service (distributed profile)
    #[command(after_help = "Examples:
  orderly follow --config orderly.toml --group notifications | notify-patients
      Each outcome goes to one of the consumers of the group, however many are started.
  orderly follow --config orderly.toml --group audit --consumer audit-1 --from start
      From the oldest outcome that Redis still has. A consumer that is started again under its name begins with what it
      had not finished.

An outcome is acknowledged once its line is written. It may come twice: its position tells. The group is kept in Redis and
misses nothing while no consumer runs, as long as the stream keeps it (about 10,000 batches); if outcomes were dropped
before the group had them, a line says so: {\"gap\":{\"batches\":3}} (null when it is not known how many).")]
    Follow(Follow),

    /// Check that every invariant holds in a data folder
    #[command(after_help = "Examples:
  orderly check
      Check ./data, also while a server is running on it.
  orderly check --data /var/lib/orderly --idle
      Nothing is being decided: every intent must have its decision.

It reads only. Exit status 1 when an invariant is broken; the rows that break it are listed.")]
    Check(Check),

    /// Judge a running system all the time, beside it
    #[command(after_help = "Examples:
  orderly audit-run --data data --listen 127.0.0.1:8083
      Beside `orderly serve`: /metrics has orderly_audit_run_violations, which must be 0, and /report the rows that are wrong.
  ORDERLY_TOKEN=$(orderly token --sub auditor --role ops --ttl 30d) \\
    orderly audit-run --config orderly.toml --listen 127.0.0.1:8083 --freeze http://127.0.0.1:8080
      Sessions that something is wrong with take no more bookings until ops take them off the policy's list `frozen`.

It shares no code with what decides, and it only reads: every record of the log is decided a second time as its decision is
committed, within a second; every 10 seconds sessions and appointments are compared with what the decisions make of them, every
60 seconds the ledger and analytics. It begins with the log's beginning, so it needs as long as `orderly check` to catch up.")]
    AuditRun(AuditRun),

    /// Decide the log again in an embedded engine, and compare every outcome with the store's
    #[command(after_help = "Examples:
  orderly replay --config orderly.toml
      Kafka's records, decided by SQLite and the ledger in process, beside the decisions in PostgreSQL.
  orderly replay --data /var/lib/orderly --keep again
      The same for a data folder; the copy stays in the folder `again`, for `orderly check --data again --idle`.
  orderly replay --session card-2026-11-23-am-li --at 2026-11-23T00:00:03Z
      \"I was first\": that session's line as it was three seconds after its release, with each request's place in the log.

It reads only, and works on a copy of the log in the temporary folder (TMPDIR). A server may be deciding meanwhile: what
it had decided at the start is compared. It needs the log from its beginning: where retention has dropped records, it
says so. Exit status 1 when an outcome differs; the first 20 records that differ are listed in the order of the log.

With several pipelines on the servers, one thing may differ without a fault: what two doctors of one department and day
contend for, one appointment per patient, goes to whoever asks first. `orderly check` judges that.")]
    Replay(Replay),

    /// Carry the sessions to come, and who holds which number in them, into a new log with other partitions
    #[command(after_help = "Examples:
  orderly repartition --config orderly.toml --into new.toml
      The ingresses are stopped and everything is decided. new.toml names a new topic, database and Redis (or data folder),
      and the new log.partitions.
  orderly repartition --config orderly.toml --into new.toml --compare
      The new pipelines have decided it: does everybody hold the number that they held? Then start the new ingresses.

It only reads the old system. docs/ops/partitions.md has all the steps, and what stays behind.")]
    Repartition(Repartition),

    /// Prove that a request lay at its place in the log, or verify such a proof
    #[command(subcommand)]
    Receipt(Receipt),

    /// Check the audit trail, or print its head
    #[command(subcommand)]
    Audit(Audit),

    /// Read, change or compare the throttle policy of a running server
    #[command(subcommand)]
    Policy(Policy),

    /// See, trip or reset the breakers of a running node
    #[command(subcommand)]
    Breakers(Breakers),

    /// List who looks like a program on a running node, and why
    #[command(after_help = "Example:
  orderly suspects --url http://127.0.0.1:8080
      Patients are masked. Each node sees what is asked of it: ask each. A policy without a section [suspicion] watches
      nobody.")]
    Suspects(Suspects),

    /// Open clinic sessions on a running server, or list what it has
    #[command(subcommand)]
    Sessions(Sessions),

    /// Make a token with the HS256 secret of the configuration, else of the data folder's demo
    #[command(after_help = "Examples:
  export ORDERLY_TOKEN=$(orderly token --sub amy --role ops)
      A token for the commands `policy` and `sessions`, good for an hour.
  orderly token --sub patient-1 --role patient --ttl 8h --data /var/lib/orderly")]
    Token(Token),

    /// Rotate the keys that seal patients' data
    #[command(subcommand)]
    Keys(Keys),

    /// Make certificates to try TLS with
    #[command(subcommand)]
    Certs(Certs),

    /// Compute what a deployment needs, with the arithmetic shown
    #[command(after_help = "Examples:
  orderly plan --preset city
      A city: nodes, partitions, memory, disk, and what the peak's patients wait.
  orderly plan --doctors 2000 --peak-rps 5000 --p99-ms 2000 --retention-days 730
      A demand of your own.
  orderly-bench costs --out costs.json && orderly plan --preset country --costs costs.json --json
      With what an intent costs on a machine of yours.

It asks no server. The costs in the program were measured on one small machine: docs/capacity.md says how, what the model
leaves out, and how well it foretold a measured peak.")]
    Plan(Plan),

    /// Check the configuration, or print it
    #[command(after_help = "Examples:
  orderly config --print > orderly.toml
      Start a file: every key with its default, its unit and its environment variable.
  orderly config --config orderly.toml
      Check a file.
  orderly config --config orderly.toml --print
      See what the file and the environment come to.")]
    Config(ConfigCommand),
}

/// Where the configuration comes from.
#[derive(Debug, Args)]
pub(crate) struct Source {
    /// The configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "ORDERLY_CONFIG")]
    pub config: Option<PathBuf>,

    /// The data folder [default: data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Options of `orderly repartition`.
#[derive(Debug, Args)]
pub(crate) struct Repartition {
    /// Where the old system's configuration comes from.
    #[command(flatten)]
    pub source: Source,

    /// The new system's configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub into: PathBuf,

    /// Compare the two systems instead, once the new one has decided what was carried over
    #[arg(long)]
    pub compare: bool,
}

/// Options of `orderly serve` and `orderly ingress`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub source: Source,

    /// Set up a demo hospital and give tokens to whoever asks; not for real patients
    #[arg(long)]
    pub demo: bool,

    /// The address and port to listen on [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,

    /// The throttle policy until ops set one (TOML, or JSON)
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

/// Options of `orderly plan`.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// Start from a demand: what else is given replaces its numbers
    #[arg(long)]
    pub preset: Option<Preset>,

    /// Doctors
    #[arg(long, value_name = "N", required_unless_present_any = ["preset", "one_machine"], value_parser = clap::value_parser!(u32).range(1..))]
    pub doctors: Option<u32>,

    /// Intents a second while the peak lasts
    #[arg(long, value_name = "RATE", required_unless_present = "preset", value_parser = positive)]
    pub peak_rps: Option<f64>,

    /// Milliseconds within which 99 of 100 are to have their outcome
    #[arg(long, value_name = "MS", required_unless_present_any = ["preset", "one_machine"], value_parser = positive)]
    pub p99_ms: Option<f64>,

    /// Patients: no more of them are connected at once [default: the preset's, else 1,000,000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub patients: Option<u64>,

    /// Days that decisions are kept
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..))]
    pub retention_days: u32,

    /// How long the peak lasts, in seconds, at most an hour
    #[arg(long, value_name = "S", default_value = "60", value_parser = peak_seconds)]
    pub peak_seconds: f64,

    /// Days ahead that can be booked
    #[arg(long, value_name = "DAYS", default_value_t = 14, value_parser = clap::value_parser!(u32).range(1..))]
    pub days_open: u32,

    /// Places of a doctor's day
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub places: u32,

    /// The part of the peak that gets a place, 0 to 1 [default: a day's places ÷ the peak's intents]
    #[arg(long, value_name = "PART", value_parser = share)]
    pub booked_share: Option<f64>,

    /// Cores of an ingress, a pipeline and a broker
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub node_cores: u16,

    /// Costs that orderly-bench costs measured [default: those in the program]
    #[arg(long, value_name = "FILE")]
    pub costs: Option<PathBuf>,

    /// Everything and the load client on one machine of so many cores, as orderly-bench plan measures it
    #[arg(long, value_name = "CORES", value_parser = clap::value_parser!(u16).range(1..))]
    pub one_machine: Option<u16>,

    /// Print the plan as JSON
    #[arg(long)]
    pub json: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if value.is_finite() && value > 0.0 { Ok(value) } else { Err("it must be greater than 0".to_owned()) }
}

fn peak_seconds(text: &str) -> Result<f64, String> {
    let value = positive(text)?;
    if (0.1..=3_600.0).contains(&value) { Ok(value) } else { Err("it must be 0.1 to 3600".to_owned()) }
}

fn share(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err("it must be 0 to 1".to_owned()) }
}

/// Options of `orderly pipeline` and `orderly relay`.
#[derive(Debug, Args)]
pub(crate) struct Node {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub source: Source,

    /// The address and port to listen on for health and metrics [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
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

/// Options of `orderly follow`.
#[derive(Debug, Args)]
pub(crate) struct Follow {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub source: Source,

    /// The group; it is made when it is missing
    #[arg(long, value_name = "NAME")]
    pub group: String,

    /// This consumer's name in the group, which no other has at the same time [default: host and process]
    #[arg(long, value_name = "NAME")]
    pub consumer: Option<String>,

    /// Where the group begins when it is made
    #[arg(long, value_enum, value_name = "WHERE", default_value_t = FollowFrom::Now)]
    pub from: FollowFrom,

    /// After how long another consumer takes over what one has not acknowledged: 60s, 5m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub claim_after: std::time::Duration,
}

/// Where a group begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum FollowFrom {
    /// At the oldest outcome that there is.
    Start,
    /// With what is decided from now on.
    Now,
}

/// Options of `orderly check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub source: Source,

    /// No server is deciding: intents without a decision are an error
    #[arg(long)]
    pub idle: bool,

    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
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
anchors it cannot be told whether the whole chain, or its end, was replaced.")]
    Verify {
        /// Where the configuration comes from.
        #[command(flatten)]
        source: Source,
        /// An anchor file [default: the configured one, if it is there]
        #[arg(long, value_name = "FILE")]
        anchor: Vec<PathBuf>,
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
    /// List the policies that were set, newest first
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

/// Options of `orderly token`.
#[derive(Debug, Args)]
pub(crate) struct Token {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub source: Source,

    /// Whom the token is for; a patient's own identifier for the role patient
    #[arg(long, value_name = "NAME")]
    pub sub: PatientId,

    /// patient, ops, analyst or auditor
    #[arg(long, value_name = "ROLE")]
    pub role: Role,

    /// The API client that asks for them: the claim azp
    #[arg(long, value_name = "NAME")]
    pub client: Option<String>,

    /// The patient's member level: the claim member_level
    #[arg(long, value_name = "LEVEL")]
    pub level: Option<String>,

    /// How long it is good: 90s, 30m, 8h
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    pub ttl: std::time::Duration,
}

/// Commands of `orderly keys`.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Add a key that seals from now on
    #[command(after_help = "Examples:
  orderly keys rotate --config orderly.toml
      A new first key in the file personal.keys_file; the others still open what they sealed. Without the file, it is made.
  orderly keys rotate --data /var/lib/orderly
      The same for the file personal.keys in the data folder.

Servers take it over within seconds, without a restart. Run `orderly keys reencrypt` after it.")]
    Rotate {
        /// Where the configuration comes from.
        #[command(flatten)]
        source: Source,
    },
    /// Seal with the newest key what older ones sealed
    #[command(after_help = "Example:
  orderly keys reencrypt --config orderly.toml
      Goes through the store in small transactions, also while servers run. It may be stopped, and begun again.

Exit status 1 when there are rows that no key here opens; they stay as they are.")]
    Reencrypt {
        /// Where the configuration comes from.
        #[command(flatten)]
        source: Source,
    },
    /// List the keys, how many rows need each, and which may go
    #[command(after_help = "Example:
  orderly keys list --config orderly.toml

A key may go when no row of the store needs it, and when the log has dropped what was sealed before the next key was made
(log.retention_hours). Then remove its line from the file.")]
    List {
        /// Where the configuration comes from.
        #[command(flatten)]
        source: Source,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
}

/// Commands of `orderly certs`.
#[derive(Debug, Subcommand)]
pub(crate) enum Certs {
    /// Make a certificate for this machine, and the root that signs it, which nobody but you trusts
    #[command(after_help = "Example:
  orderly certs dev --out certs
  ORDERLY_TLS__CERTIFICATE_FILE=certs/certificate.pem ORDERLY_TLS__KEY_FILE=certs/key.pem orderly serve --demo
  curl --cacert certs/roots.pem https://localhost:8080/healthz
  ORDERLY_URL=https://localhost:8080 ORDERLY_CA_FILE=certs/roots.pem orderly policy get

It is good for localhost and the loopback addresses, for servers and for clients. Run it again for a new one by the same root: a
server that runs takes it over.")]
    Dev {
        /// The folder to write roots.pem, roots.key, certificate.pem and key.pem to; it is made when it is missing
        #[arg(long, value_name = "DIR", default_value = "certs")]
        out: PathBuf,
    },
}

/// Options of `orderly config`.
#[derive(Debug, Args)]
pub(crate) struct ConfigCommand {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub source: Source,

    /// Print it, every key with its meaning and unit
    #[arg(long)]
    pub print: bool,
}

/// A length of time of at least a second, with its unit.
fn time(text: &str) -> Result<std::time::Duration, String> {
    let time = text.parse::<jiff::SignedDuration>().map_err(|error| format!("{error}; write it as 90s, 30m or 8h"))?;
    let time = std::time::Duration::try_from(time).map_err(|_| "it is less than nothing".to_owned())?;
    if time.as_secs() == 0 { Err("it is at least a second".to_owned()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_time_has_a_unit_and_is_positive() {
        assert_eq!(time("90s"), Ok(std::time::Duration::from_secs(90)));
        assert_eq!(time("1h 30m"), Ok(std::time::Duration::from_secs(5_400)));
        for wrong in ["", "5", "-1h", "0s", "soon"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
