//! What an intent costs, measured for `orderly plan`; and what the plan foretells, held beside a run on this machine.

mod costs;
mod site;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::drive::at_rate;
use super::target::Words;
use super::workload::{Size, Workload};
use crate::table::table;
use crate::{machine, replay};
use site::Site;

pub use costs::{Costs, Options as CostOptions, run as measure};

/// Connections of the client.
const CONNECTIONS: usize = 256;

/// Which peaks are played.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The server's program [default: the `orderly` beside this one]
    #[arg(long, value_name = "PROGRAM")]
    pub orderly: Option<PathBuf>,
    /// The measured costs that the plan takes [default: those in the program]
    #[arg(long, value_name = "FILE")]
    pub costs: Option<PathBuf>,
    /// Bookings a second, with commas between the peaks
    #[arg(long, value_delimiter = ',', default_value = "1000,4000,8000")]
    pub peak_rps: Vec<f64>,
    /// How long each peak is, in seconds
    #[arg(long, default_value_t = 5)]
    pub peak_seconds: u64,
    /// The same, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What came of a peak, foretold or measured.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Peak {
    /// Intents taken and not decided when the last one came.
    pub backlog: f64,
    /// From the first request to the last outcome, in seconds.
    pub last_outcome_s: f64,
    /// From the request to the 202, in milliseconds.
    pub accept_p99_ms: f64,
    /// From the 202 to the decision, in milliseconds.
    pub outcome_p99_ms: f64,
}

/// All peaks.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    machine: String,
    commit: String,
    command: String,
    peak_seconds: u64,
    /// By rate: foretold and measured.
    peaks: Vec<(f64, Peak, Peak)>,
}

impl Report {
    /// A table of predicted ÷ measured.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut table = table(&["what", "predicted", "measured", "predicted ÷ measured"]);
        for (rate, foretold, measured) in &self.peaks {
            for (what, of) in ROWS {
                let (foretold, measured) = (of(foretold), of(measured));
                let ratio = if measured > 0.0 { format!("{:.2}", foretold / measured) } else { "–".to_owned() };
                let what = format!("{rate} a second: {what}");
                table.add_row([what, format!("{foretold:.1}"), format!("{measured:.1}"), ratio]);
            }
        }
        format!("{table}\n\n{}, {}\n{}, peaks of {} s\n", self.machine, self.commit, self.command, self.peak_seconds)
    }
}

type Of = fn(&Peak) -> f64;
const ROWS: [(&str, Of); 4] = [
    ("backlog at the end of the peak, intents", |peak| peak.backlog),
    ("until the last patient knows, s", |peak| peak.last_outcome_s),
    ("p99 to the 202, ms", |peak| peak.accept_p99_ms),
    ("p99 from the 202 to the decision, ms", |peak| peak.outcome_p99_ms),
];

/// The server's program.
fn program(named: Option<&PathBuf>) -> anyhow::Result<PathBuf> {
    match named {
        Some(program) => Ok(program.clone()),
        None => Ok(std::env::current_exe().context("this program's folder is not known")?.with_file_name("orderly")),
    }
}

/// Plays every peak on servers of its own.
///
/// # Errors
/// When a server cannot be started or loaded, or the plan cannot be made.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let orderly = program(options.orderly.as_ref())?;
    let mut report = Report {
        machine: machine::describe(),
        commit: machine::commit(),
        command: machine::command(),
        peak_seconds: options.peak_seconds,
        peaks: Vec::new(),
    };
    for rate in &options.peak_rps {
        let foretold = foretell(&orderly, options, *rate)?;
        report.peaks.push((*rate, foretold, play(&orderly, *rate, options.peak_seconds).await?));
    }
    Ok(report)
}

/// What the plan says of everything, the client too, on this machine's cores.
fn foretell(orderly: &std::path::Path, options: &Options, rate: f64) -> anyhow::Result<Peak> {
    #[derive(Deserialize)]
    struct Plan {
        simulated: Peak,
    }
    let cores = std::thread::available_parallelism()?.to_string();
    let mut plan = Command::new(orderly);
    plan.args(["plan", "--json", "--booked-share", "1", "--one-machine", &cores, "--peak-rps", &rate.to_string()]);
    plan.args(["--peak-seconds", &options.peak_seconds.to_string()]);
    if let Some(costs) = &options.costs {
        plan.arg("--costs").arg(costs);
    }
    let output = plan.output().context("orderly plan cannot be started")?;
    ensure!(output.status.success(), "orderly plan: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice::<Plan>(&output.stdout)?.simulated)
}

async fn play(orderly: &std::path::Path, rate: f64, seconds: u64) -> anyhow::Result<Peak> {
    /// What is sent before, so that the first of a session's bookings are none of the peak's.
    const WARM_PER_S: f64 = 500.0;
    const WARM: Duration = Duration::from_secs(2);
    const WAITS: &str = "SELECT percentile_cont(0.99) WITHIN GROUP (ORDER BY decided_at_us - logged_at_us)::float8 / 1000 \
                         FROM decisions WHERE logged_at_us >= ";
    let quiet = ProgressBar::hidden();
    let plan = Workload::Ladder.plan(Size { full: true }, &replay::Options::default())?;
    let site = Site::start(orderly, &plan.sessions).await?;
    let bearers = site.tokens().await?;
    let target = site.target(Words::Accept, &bearers, CONNECTIONS)?;
    let warm = at_rate(&target, WARM_PER_S, WARM, 0, false, &quiet).await?;
    site.settle().await?;
    let began_us = jiff::Timestamp::now().as_microsecond();
    let start = Instant::now();
    let length = Duration::from_secs(seconds);
    let (stop, mut stopped) = oneshot::channel();
    let watch = async {
        tokio::time::sleep_until(start + length).await;
        let backlog = site.undecided().await?;
        // All have their 202 first; what came late is decided late.
        let _ = (&mut stopped).await;
        site.settle().await?;
        anyhow::Ok((backlog, start.elapsed().as_secs_f64()))
    };
    let load = async {
        let tally = at_rate(&target, rate, length, warm.decided(), false, &quiet).await;
        // Nobody listens when the watch has failed.
        let _ = stop.send(());
        tally
    };
    let (tally, (backlog, last_outcome_s)) = tokio::try_join!(load, watch)?;
    let outcome_p99_ms = site.ask(&format!("{WAITS}{began_us}")).await?;
    Ok(Peak { backlog, last_outcome_s, accept_p99_ms: tally.latencies.summary().p99_ms, outcome_p99_ms })
}
