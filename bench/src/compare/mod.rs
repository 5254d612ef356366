//! Orderly beside what people would otherwise build: the same loads, the same client, the same machine, one report.

pub mod capacity;
mod cost;
mod crash;
mod drive;
mod goals;
mod markdown;
mod measure;
mod plots;
mod record;
mod report;
mod scale;
mod system;
mod target;
mod truth;
mod workload;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use hyper::header::HeaderValue;
use indicatif::{ProgressBar, ProgressStyle};

use crate::api::{Api, Role};
use crate::client::Client;
use crate::limits::servers;
use crate::machine::Origin;
use crate::replay;
pub use drive::Moment;
use measure::Caller;
pub use report::{AllKnow, Bare, Crash, Load, Report, Row, Step};
pub use scale::{Axis, Point};
use system::Lab;
pub use system::System;
pub use truth::Truth;
pub use workload::Workload;
use workload::{PATIENTS, Size};

/// Tokens that are asked for at once.
const TOKENS_AT_ONCE: usize = 64;
/// How long the bare handler is driven before each load that drives systems to their most.
const BARE: Duration = Duration::from_secs(2);
/// Tickets to which they grow, unless more are asked for.
const TICKETS_MAX: u64 = 1_000_000;

/// What is compared, and where the report goes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The most telling loads, in some thirteen minutes (this is the default)
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
    /// Tickets to which they grow; 10000000 take a quarter of an hour
    #[arg(long, default_value_t = TICKETS_MAX)]
    pub tickets: u64,
    /// End with status 1 when a goal is missed too; without it, when a system broke a rule or something could not be measured
    #[arg(long)]
    pub strict: bool,
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

    /// The loads that are wanted, and those of them that cannot be played.
    fn workloads(&self, replay: &replay::Options) -> (Vec<Workload>, Vec<String>) {
        let wanted = |workload: &Workload| match self.only.as_slice() {
            [] => self.full || !workload.is_for_full(),
            only => only.contains(workload),
        };
        // Real bookings are no part of the repository.
        let can_be_played = |workload: &Workload| *workload != Workload::Replay || replay.data_file().exists();
        let (played, left_out): (Vec<_>, Vec<_>) = Workload::ALL.into_iter().filter(wanted).partition(can_be_played);
        let why = |workload: Workload| {
            let file = replay.data_file();
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            format!("{}: {name} is not there; name it by --data-file", workload.title())
        };
        (played, left_out.into_iter().map(why).collect())
    }

    /// The systems under a load.
    fn systems(&self, workload: Workload) -> Vec<System> {
        let wanted = |system: &System| match self.systems.as_slice() {
            [] => self.full || !workload.is_for_full_on(*system),
            systems => systems.contains(system),
        };
        System::ALL.into_iter().filter(wanted).collect()
    }
}

/// Compares, and writes the report after each load, so that a run that is ended early has left something. Tells what was
/// found, and where it lies. What cannot be measured is told in the report, and the rest is measured.
///
/// # Errors
/// When the servers cannot be started, or the report cannot be written.
pub async fn run(options: &Options) -> anyhow::Result<(Report, PathBuf)> {
    let started = Instant::now();
    let size = Size { full: options.full };
    let replay = replay::Options { data_file: options.data_file.clone(), ..replay::Options::default() };
    let (workloads, left_out) = options.workloads(&replay);
    let (orderly, baselines) = options.programs()?;
    let bar = ProgressBar::new(workloads.iter().map(|workload| options.systems(*workload).len() as u64).sum());
    bar.set_style(ProgressStyle::with_template("{elapsed_precise} {bar:20} {pos} of {len} {msg}")?);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar.set_message("starting PostgreSQL and Redis");
    let mut lab = Lab::start(orderly, baselines, options.pool).await?;
    bar.set_message(format!("tokens for {PATIENTS} patients"));
    let bearers = tokens(&lab).await?;
    let quiet = ProgressBar::hidden();
    let caller = Caller { connections: options.connections, bearers: &bearers, bar: &quiet };
    let mut report = Report {
        origin: Origin::here(),
        seconds: 0.0,
        connections: options.connections,
        pool: options.pool,
        loads: Vec::new(),
        rows: Vec::new(),
        crashes: Vec::new(),
        scale: Vec::new(),
        left_out,
        failed: Vec::new(),
        goals: Vec::new(),
    };
    report.origin.versions.extend(servers::versions(&lab.postgres, &lab.redis).await?);
    std::fs::create_dir_all(&options.out).with_context(|| format!("cannot make {}", options.out.display()))?;
    for workload in workloads {
        let plan = workload.plan(size, &replay)?;
        bar.set_message(format!("{}: a handler that does nothing", workload.title()));
        let bare = if workload.is_closed() { Some(caller.bare(&plan, BARE).await?) } else { None };
        report.loads.push(Load::of(workload, &plan, bare));
        for system in options.systems(workload) {
            let what = format!("{}: {}", workload.title(), system.title());
            bar.set_message(what.clone());
            match caller.measure(&mut lab, system, workload, &plan, size).await {
                Ok(row) => report.rows.push(row),
                Err(error) => report.failed.push(format!("{what}: {error:#}")),
            }
            bar.inc(1);
        }
        report.finish(started.elapsed());
        write(&options.out, &report)?;
    }
    if !options.no_crashes {
        bar.set_message("crashes");
        let (crashes, failed) = crash::crashes(&mut lab, &caller, &Workload::Ladder.plan(size, &replay)?).await?;
        report.crashes = crashes;
        report.failed.extend(failed);
    }
    if !options.no_scale {
        bar.set_message("growing hospitals");
        match scale::measure(&mut lab, &caller, size, options.tickets).await {
            Ok(points) => report.scale = points,
            Err(error) => report.failed.push(format!("growing hospitals: {error:#}")),
        }
    }
    bar.finish_and_clear();
    report.finish(started.elapsed());
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn the_full_set_has_everything_and_says_what_it_cannot_play() {
        let set = |arguments: &[&str]| {
            let Program { options } = Program::parse_from([&["compare"], arguments].concat());
            let replay = replay::Options { data_file: Some("/no/such/bookings".into()), ..replay::Options::default() };
            let (played, left_out) = options.workloads(&replay);
            (options, played, left_out)
        };
        let (options, played, left_out) = set(&["--full"]);
        assert_eq!(played.len() + 1, Workload::ALL.len(), "all but the real bookings: {played:?}");
        assert!(left_out[0].starts_with("real bookings"), "{left_out:?}");
        assert_eq!(options.systems(Workload::Storm), System::ALL);
        assert_eq!(options.tickets, TICKETS_MAX, "more have a flag of their own");
        let (options, played, left_out) = set(&[]);
        assert!(!played.contains(&Workload::Small) && left_out.is_empty(), "the quick set does not want them");
        assert!(!options.systems(Workload::Storm).contains(&System::Memory));
        assert_eq!(options.systems(Workload::Hot), System::ALL);
        assert_eq!(set(&["--only", "small"]).1, [Workload::Small]);
    }
}
