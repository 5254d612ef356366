//! The command line.

mod keys;
mod nodes;
mod ops;
mod plan;
mod proof;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use keys::{Certs, Keys, Token};
pub(crate) use nodes::{Follow, FollowFrom, Node, Repartition, Serve};
pub(crate) use ops::{Breakers, Filter, Hold, Policy, Rehearse, Server, ServerTls, Sessions, Suspects};
pub(crate) use plan::Plan;
pub(crate) use proof::{Audit, AuditRun, Check, Receipt, Replay};

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
  orderly check --clients rush-1.ndjson rush-2.ndjson
      Compare, besides, every place in the log and every outcome that clients were told with the log and its decisions.

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
committed, within two seconds; every 10 seconds sessions and appointments are compared with what the decisions make of them, every
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
  orderly replay --session card-2026-11-23-am-li --roots roots.ndjson
      The same now, compared with what `orderly audit-run --roots` published: each request is marked as covered by a root,
      or not yet. Exit status 1 when the log has not what was published; the requests that are under such a root are listed.

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
    fn every_command_has_examples() {
        fn visit(path: &str, command: &clap::Command) {
            let path = format!("{path} {}", command.get_name()).trim_start().to_owned();
            let mut inner = command.get_subcommands().peekable();
            if inner.peek().is_none() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.starts_with("Example") && help.contains(&path), "{path}: {help}");
            }
            inner.for_each(|command| visit(&path, command));
        }
        visit("", &Cli::command());
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
