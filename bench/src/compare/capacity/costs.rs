//! What an intent costs each process: the measurements that `orderly plan` multiplies.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::header::HeaderValue;
use indicatif::ProgressBar;
use serde::Serialize;

use super::site::{Site, Taken};
use crate::compare::drive::{at_rate, closed};
use crate::compare::target::Words;
use crate::compare::workload::{Size, Workload, endless};
use crate::{machine, replay};

/// Connections under full load.
const CONNECTIONS: usize = 256;
/// Connections by whose number the memory of one is told.
const MANY: usize = 2_000;
/// What part of the most is a light load.
const LIGHT: f64 = 0.25;

/// Where costs are written, and how long they are measured.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The server's program [default: the `orderly` beside this one]
    #[arg(long, value_name = "PROGRAM")]
    pub orderly: Option<PathBuf>,
    /// Seconds of each load
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// Where the costs are written, for `orderly plan --costs`
    #[arg(long, value_name = "FILE", default_value = "src/plan/costs.json")]
    pub out: PathBuf,
}

/// Everything that a plan needs to know of a machine.
#[derive(Clone, Debug, Serialize)]
pub struct Costs {
    machine: String,
    cores: usize,
    commit: String,
    date: String,
    command: String,
    booked: Intent,
    refused: Intent,
    light: Light,
    memory: Memory,
}

/// What one intent costs, from the request to the outcome: microseconds of the processor, and bytes.
#[derive(Clone, Copy, Debug, Serialize)]
struct Intent {
    intents: u64,
    ingress_us: f64,
    pipeline_us: f64,
    kafka_us: f64,
    redis_us: f64,
    postgres_us: f64,
    client_us: f64,
    kafka_bytes: f64,
    redis_bytes: f64,
    postgres_bytes: f64,
}

impl Intent {
    fn between(before: &Taken, after: &Taken, intents: u64) -> Self {
        let each = |of: fn(&Taken) -> f64, unit: f64| (of(after) - of(before)).max(0.0) * unit / intents as f64;
        Self {
            intents,
            ingress_us: each(|taken| taken.ingress_s, 1e6),
            pipeline_us: each(|taken| taken.pipeline_s, 1e6),
            kafka_us: each(|taken| taken.kafka_s, 1e6),
            redis_us: each(|taken| taken.redis_s, 1e6),
            postgres_us: each(|taken| taken.postgres_s, 1e6),
            client_us: each(|taken| taken.client_s, 1e6),
            kafka_bytes: each(|taken| taken.kafka_bytes, 1.0),
            redis_bytes: each(|taken| taken.redis_bytes, 1.0),
            postgres_bytes: each(|taken| taken.postgres_bytes, 1.0),
        }
    }
}

/// What people wait when there is little to do.
#[derive(Clone, Copy, Debug, Serialize)]
struct Light {
    rate_per_s: f64,
    accept_p50_ms: f64,
    accept_p99_ms: f64,
    outcome_p50_ms: f64,
    outcome_p99_ms: f64,
}

/// Bytes in memory.
#[derive(Clone, Copy, Debug, Serialize)]
struct Memory {
    ingress_base_bytes: f64,
    ingress_connection_bytes: f64,
    pipeline_base_bytes: f64,
}

/// Measures, and writes the file.
///
/// # Errors
/// When a server cannot be started or loaded, or the file cannot be written.
pub async fn run(options: &Options) -> anyhow::Result<Costs> {
    let orderly = super::program(options.orderly.as_ref())?;
    let size = Size { full: true };
    let length = Duration::from_secs(options.seconds);
    let quiet = ProgressBar::hidden();

    // Places for all: the sessions of the ladder.
    let roomy = Workload::Ladder.plan(size, &replay::Options::default())?;
    let site = Site::start(&orderly, &roomy.sessions).await?;
    let bearers = site.tokens().await?;
    let wishes = (0..1_000_000).map(|number| endless(number, roomy.sessions.len())).collect::<Result<Vec<_>, _>>()?;
    let target = site.target(Words::Wait, &bearers, CONNECTIONS)?;
    // What is done once, on the way to the first booking of a session, is no part of each.
    let warm = closed(&target, CONNECTIONS, 0, &wishes, length / 5, &quiet).await;
    site.settle().await?;
    let (before, ingress_base, pipeline_base) =
        (site.taken().await?, site.ingress.resident_bytes()?, site.pipeline.resident_bytes()?);
    let first = usize::try_from(warm.decided() + warm.undecided)?;
    // Keys are numbered from the start again; another patient's ticket of the same key is another.
    let rest = closed(&target, CONNECTIONS, 0, &wishes[first..], length, &quiet).await;
    site.settle().await?;
    let after = site.taken().await?;
    let booked = Intent::between(&before, &after, rest.decided());
    let most = rest.decided() as f64 / rest.took.as_secs_f64();

    let mut next = first as u64 + rest.decided() + rest.undecided;
    let rate = most * LIGHT;
    let outcome = at_rate(&target, rate, length / 2, next, false, &quiet).await?;
    next += outcome.decided() + outcome.undecided;
    let accepting = site.target(Words::Accept, &bearers, CONNECTIONS)?;
    let accept = at_rate(&accepting, rate, length / 2, next, false, &quiet).await?;
    drop(accepting);
    let (outcome, accept) = (outcome.latencies.summary(), accept.latencies.summary());
    let light = Light {
        rate_per_s: rate,
        accept_p50_ms: accept.p50_ms,
        accept_p99_ms: accept.p99_ms,
        outcome_p50_ms: outcome.p50_ms,
        outcome_p99_ms: outcome.p99_ms,
    };
    site.settle().await?;
    drop(target);
    drop(site);
    let (refused, connection) = refused(&orderly, &bearers, size, length).await?;
    let memory = Memory {
        ingress_base_bytes: ingress_base as f64,
        ingress_connection_bytes: connection,
        pipeline_base_bytes: pipeline_base as f64,
    };
    let costs = Costs {
        machine: machine::describe(),
        cores: std::thread::available_parallelism()?.get(),
        commit: machine::commit(),
        date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        command: machine::command(),
        booked,
        refused,
        light,
        memory,
    };
    std::fs::write(&options.out, format!("{}\n", serde_json::to_string_pretty(&costs)?))?;
    Ok(costs)
}

/// What a refusal costs, and what a connection takes of an ingress's memory.
async fn refused(
    orderly: &Path,
    bearers: &[HeaderValue],
    size: Size,
    length: Duration,
) -> anyhow::Result<(Intent, f64)> {
    /// The first of them take all places.
    const FILLING: usize = 5_000;
    let quiet = ProgressBar::hidden();
    let plan = Workload::Tail.plan(size, &replay::Options::default())?;
    let site = Site::start(orderly, &plan.sessions).await?;
    let target = site.target(Words::Wait, bearers, CONNECTIONS)?;
    closed(&target, CONNECTIONS, 0, &plan.wishes[..FILLING], length, &quiet).await;
    site.settle().await?;
    let before = site.taken().await?;
    let tally = closed(&target, CONNECTIONS, 0, &plan.wishes[FILLING..], length, &quiet).await;
    site.settle().await?;
    let costs = Intent::between(&before, &site.taken().await?, tally.decided());
    let few = site.ingress.resident_bytes()?;
    let crowd = site.target(Words::Accept, bearers, MANY)?;
    closed(&crowd, MANY, 0, &plan.wishes, length / 5, &quiet).await;
    // The connections are open as long as there is somebody who could use them.
    let many = site.ingress.resident_bytes()?;
    drop(crowd);
    Ok((costs, many.saturating_sub(few) as f64 / MANY as f64))
}
