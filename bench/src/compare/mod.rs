//! Orderly beside what people would otherwise build: the same loads, the same client, the same machine, one report.

pub mod capacity;
mod cost;
mod crash;
mod drive;
mod markdown;
mod measure;
mod plots;
mod report;
mod scale;
mod system;
mod target;
mod truth;
mod workload;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use hyper::header::HeaderValue;
use indicatif::{ProgressBar, ProgressStyle};

use crate::api::{Api, Role};
use crate::client::Client;
use crate::{machine, replay};
pub use drive::Moment;
use measure::Caller;
pub use report::{Crash, Report, Row, Step};
pub use scale::{Axis, Point};
pub use system::System;
use system::{Lab, ask};
pub use truth::Truth;
pub use workload::Workload;
use workload::{PATIENTS, Size};

/// Tokens that are asked for at once.
const TOKENS_AT_ONCE: usize = 64;
/// How long the bare handler is driven.
const BARE: Duration = Duration::from_secs(3);

/// What is compared, and where the report goes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The most telling loads in part, in under ten minutes (this is the default)
    #[arg(long, conflicts_with = "full")]
    pub quick: bool,
    /// Every load in full: most of an hour
    #[arg(long)]
    pub full: bool,
    /// These loads alone, with commas between them
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<Workload>,
    /// These systems alone, with commas between them
    #[arg(long, value_delimiter = ',')]
    pub systems: Vec<System>,
    /// Connections of the client
    #[arg(long, default_value_t = 256)]
    pub connections: usize,
    /// Connections of each baseline to PostgreSQL
    #[arg(long, default_value_t = 32)]
    pub pool: usize,
    /// The folder of the report: compare.md, compare.json and plots
    #[arg(long, value_name = "DIR", default_value = "docs/bench")]
    pub out: PathBuf,
    /// Leave the crashes out
    #[arg(long)]
    pub no_crashes: bool,
    /// Leave out what an intent costs as sessions and tickets grow
    #[arg(long)]
    pub no_scale: bool,
    /// Tickets to which they grow [default: 1000000, with --full 10000000]
    #[arg(long)]
    pub tickets: Option<u64>,
    /// The server's program [default: the `orderly` beside this one]
    #[arg(long, value_name = "PROGRAM")]
    pub orderly: Option<PathBuf>,
    /// The baselines' program [default: the `orderly-baselines` beside this one]
    #[arg(long, value_name = "PROGRAM")]
    pub baselines: Option<PathBuf>,
    /// The real bookings [default: bookings-2016.csv.gz in the folder ORDERLY_BENCH_DATA, or in ../shared/data]
    #[arg(long, value_name = "FILE", env = "BOOKINGS")]
    pub data_file: Option<PathBuf>,
}

impl Options {
    fn programs(&self) -> anyhow::Result<(PathBuf, PathBuf)> {
        let here = std::env::current_exe().context("this program's folder is not known")?;
        let beside = |named: &Option<PathBuf>, name| named.clone().unwrap_or_else(|| here.with_file_name(name));
        Ok((beside(&self.orderly, "orderly"), beside(&self.baselines, "orderly-baselines")))
    }

    fn workloads(&self, replay: &replay::Options) -> Vec<Workload> {
        let has_data = replay.data_file().exists();
        let wanted = |workload: &Workload| match self.only.as_slice() {
            [] if !self.full && workload.is_for_full() => false,
            // Real bookings are no part of the repository.
            [] => *workload != Workload::Replay || has_data,
            only => only.contains(workload),
        };
        Workload::ALL.into_iter().filter(wanted).collect()
    }

    fn systems(&self) -> Vec<System> {
        let wanted = |system: &System| self.systems.is_empty() || self.systems.contains(system);
        System::ALL.into_iter().filter(wanted).collect()
    }
}

/// Compares, and writes the report after each load, so that a run that is ended early has left something. Tells what was
/// found, and where it lies.
///
/// # Errors
/// When a system cannot be started or loaded, or the report cannot be written.
pub async fn run(options: &Options) -> anyhow::Result<(Report, PathBuf)> {
    let size = Size { full: options.full };
    let replay = replay::Options { data_file: options.data_file.clone(), ..replay::Options::default() };
    let (workloads, systems) = (options.workloads(&replay), options.systems());
    let (orderly, baselines) = options.programs()?;
    let bar = ProgressBar::new((workloads.len() * systems.len()) as u64);
    bar.set_style(ProgressStyle::with_template("{elapsed_precise} {bar:20} {pos} of {len} {msg}")?);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar.set_message("starting PostgreSQL and Redis");
    let mut lab = Lab::start(orderly, baselines, options.pool).await?;
    bar.set_message(format!("tokens for {PATIENTS} patients"));
    let bearers = tokens(&lab).await?;
    let quiet = ProgressBar::hidden();
    let caller = Caller { connections: options.connections, bearers: &bearers, bar: &quiet };
    bar.set_message("a handler that does nothing");
    let bare_per_s = caller.bare(&Workload::Spread.plan(size, &replay)?, BARE).await?;
    let mut report = Report {
        machine: machine::describe(),
        commit: commit(),
        command: machine::command(),
        versions: versions(&lab).await?,
        connections: options.connections,
        pool: options.pool,
        bare_per_s,
        loads: Vec::new(),
        rows: Vec::new(),
        crashes: Vec::new(),
        scale: Vec::new(),
    };
    std::fs::create_dir_all(&options.out).with_context(|| format!("cannot make {}", options.out.display()))?;
    for workload in workloads {
        let plan = workload.plan(size, &replay)?;
        report.loads.push((workload, plan.note.clone()));
        for system in &systems {
            bar.set_message(format!("{}: {}", workload.title(), system.title()));
            let row = caller.measure(&mut lab, *system, workload, &plan, size).await;
            report.rows.push(row.with_context(|| format!("{}: {}", workload.title(), system.title()))?);
            bar.inc(1);
        }
        write(&options.out, &report)?;
    }
    if !options.no_crashes {
        bar.set_message("crashes");
        report.crashes = crash::crashes(&mut lab, &caller, &Workload::Mass.plan(size, &replay)?).await?;
    }
    if !options.no_scale {
        bar.set_message("growing hospitals");
        let tickets_max = options.tickets.unwrap_or(if options.full { 10_000_000 } else { 1_000_000 });
        report.scale = scale::measure(&mut lab, &caller, tickets_max).await?;
    }
    bar.finish_and_clear();
    let path = write(&options.out, &report)?;
    Ok((report, path))
}

async fn tokens(lab: &Lab) -> anyhow::Result<Vec<HeaderValue>> {
    let server = lab.embedded().await?;
    let api = Api::new(Client::new(&server.url, TOKENS_AT_ONCE, Duration::from_secs(30))?);
    let names = (0..PATIENTS).map(|patient| format!("patient-{patient}"));
    let token = |name: String| {
        let api = &api;
        async move { api.token(&name, Role::Patient).await }
    };
    let tokens = futures::stream::iter(names.map(token)).buffered(TOKENS_AT_ONCE).try_collect().await?;
    drop(api);
    server.kill().await?;
    Ok(tokens)
}

async fn versions(lab: &Lab) -> anyhow::Result<Vec<String>> {
    const SETTINGS: &str = "SELECT 'PostgreSQL ' || current_setting('server_version') || ': ' || string_agg(name || ' ' || \
                            current_setting(name), ', ' ORDER BY name) FROM pg_settings WHERE name IN ('fsync', \
                            'synchronous_commit', 'full_page_writes', 'wal_sync_method', 'shared_buffers', 'max_connections')";
    let postgres = ask(&lab.postgres.url("postgres"), SETTINGS, |row| Ok(row.try_get::<_, String>(0)?)).await?;
    let info = lab.redis.ask("INFO server")?;
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("unknown").trim();
    let redis = format!("Redis {version}: appendonly yes, appendfsync everysec");
    Ok(postgres.into_iter().chain([redis]).collect())
}

/// The commit of the sources in this folder, marked where they differ from it.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".to_owned() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| !changes.is_empty());
    if changed { format!("{commit}, with changes") } else { commit }
}

/// Writes everything; answers with the Markdown's path.
fn write(folder: &Path, report: &Report) -> anyhow::Result<PathBuf> {
    let mut pictures = Vec::new();
    if report.rows.iter().any(|row| row.workload.is_closed()) {
        plots::ratios(&folder.join("compare-ratios.svg"), report)?;
        pictures.push(("Outcomes a second, as ratios", "compare-ratios.svg".to_owned()));
    }
    if report.rows.iter().any(|row| row.workload == Workload::Spike) {
        plots::spike(&folder.join("compare-spike.svg"), report)?;
        pictures.push(("The spike: arrivals, outcomes and who waits", "compare-spike.svg".to_owned()));
    }
    for (workload, file, title) in [
        (Workload::Ladder, "compare-rates.svg", "What people wait, by offered rate"),
        (Workload::Storm, "compare-storm.svg", "Clients that ask again after 200 ms"),
    ] {
        if report.rows.iter().any(|row| row.workload == workload) {
            plots::rates(&folder.join(file), title, report, workload)?;
            pictures.push((title, file.to_owned()));
        }
    }
    if !report.scale.is_empty() {
        plots::scale(&folder.join("compare-scale.svg"), report)?;
        pictures.push(("What an intent costs as sessions and tickets grow", "compare-scale.svg".to_owned()));
    }
    let write = |name: &str, content: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        anyhow::Ok(path)
    };
    write("compare.json", &serde_json::to_vec_pretty(report)?)?;
    write("compare.md", markdown::markdown(report, &pictures).as_bytes())
}
