//! Whether a server holds out: it is asked all day as in life, or followed and left a million times, and must hold no more
//! in the end than once it was warm.

pub mod churn;
mod growth;
mod load;
mod report;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, MissedTickBehavior};

use crate::goal::{Goal, Wanted};
use crate::limits::process::{self, Server};
use crate::machine::Origin;
use load::Crowd;
pub use report::Report;
use report::{more, warm};
pub use watch::Sample;
use watch::Watch;

/// How much resident memory may grow in an hour, in megabytes.
const GROWTH_MB_PER_H: f64 = 1.0;
/// How many more descriptors and tasks there may be at rest: a connection of a probe or a timer may just be there.
const MORE_AT_REST: f64 = 4.0;

/// How long a server is asked before it is looked at: it opens files and starts threads when they are first needed.
const FIRST: Duration = Duration::from_secs(15);

/// What to play.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Options {
    /// How long, in minutes
    #[arg(long, default_value_t = 120.0)]
    pub minutes: f64,
    /// Bookings a second; half of what the server takes in at most, without it
    #[arg(long)]
    pub rate: Option<f64>,
    /// How long that is measured, in seconds
    #[arg(long, default_value_t = 10)]
    pub probe_seconds: u64,
    /// From when on growth counts, in minutes; a quarter of the time and 20 at most, without it
    #[arg(long)]
    pub warm_minutes: Option<f64>,
    /// Who watch the list of sessions meanwhile
    #[arg(long, default_value_t = 100)]
    pub watchers: usize,
    /// The server, and what is written
    #[command(flatten)]
    pub output: Output,
}

/// The server, how often it is looked at, and what is written of it.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Output {
    /// The server's program; by default the `orderly` beside this one
    #[arg(long)]
    pub orderly: Option<PathBuf>,
    /// Seconds from one look at what the server holds to the next
    #[arg(long, default_value_t = 5.0)]
    pub every: f64,
    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the plot as SVG
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
}

impl Output {
    /// Starts the server.
    async fn start(&self) -> anyhow::Result<Server> {
        ensure!(self.every > 0.0, "--every is a number of seconds above 0");
        match &self.orderly {
            Some(program) => process::orderly(program).await,
            None => process::orderly(&std::env::current_exe()?.with_file_name("orderly")).await,
        }
    }
}

/// Plays half of what the server takes in, and looks at what it holds.
///
/// # Errors
/// When the server does not start, ends, or cannot be asked.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    ensure!(options.minutes > 0.0, "--minutes is a number above 0");
    let length = Duration::from_secs_f64(options.minutes * 60.0);
    let warm_s = options.warm_minutes.unwrap_or_else(|| (options.minutes / 4.0).min(20.0)) * 60.0;
    ensure!(warm_s < length.as_secs_f64(), "--warm-minutes must be less than --minutes");
    let bar = bar(length)?;
    let rate_per_s = match options.rate {
        Some(rate) => rate,
        None => {
            bar.set_message("what a server takes in at most");
            // On one of its own: whoever asks so fast leaves no number to the others.
            let server = options.output.start().await?;
            let crowd = Crowd::gather(&server.url).await?;
            load::most(&server.url, &crowd, Duration::from_secs(options.probe_seconds)).await? / 2.0
        }
    };
    let server = options.output.start().await?;
    let crowd = Arc::new(Crowd::gather(&server.url).await?);
    bar.set_message("starting whatever starts when it is first needed");
    load::play(&server.url, &crowd, rate_per_s, FIRST, options.watchers).await?;
    bar.set_message("coming to rest");
    let watch = Watch::new(&server)?;
    let before = watch.at_rest().await?;
    let start = Watch::new(&server)?;
    bar.reset();
    let play = load::play(&server.url, &crowd, rate_per_s, length, options.watchers);
    let (tally, samples) = watched(&start, play, options.output.every, &bar).await?;
    bar.set_message("coming to rest");
    let after = watch.at_rest().await?;
    bar.finish_and_clear();
    let hours = |of: fn(&Sample) -> f64| {
        growth::slope(warm(&samples, warm_s).iter().map(move |sample| (sample.at_s / 3_600.0, of(sample))))
            .unwrap_or(f64::NAN)
    };
    let goals = vec![
        Goal::new(
            "growth of resident memory once warm, MB an hour",
            hours(|sample| sample.resident_bytes as f64 / 1e6),
            Wanted::Below(GROWTH_MB_PER_H),
        ),
        Goal::new("more descriptors at rest", more(before.descriptors, after.descriptors), Wanted::Most(MORE_AT_REST)),
        Goal::new("more tasks at rest", more(before.tasks, after.tasks), Wanted::Most(MORE_AT_REST)),
        Goal::new("answers that nobody should get", tally.errors as f64, Wanted::Most(0.0)),
    ];
    Ok(Report {
        what: format!("Soak: {rate_per_s:.0} bookings a second for {:.0} minutes", options.minutes),
        origin: Origin::here(),
        counts: vec![
            ("bookings", tally.sent),
            ("taken", tally.accepted),
            ("turned away", tally.turned_away),
            ("outcomes pushed", tally.pushed),
            ("outcomes polled", tally.polled),
            ("of these booked", tally.booked),
            ("cancelled", tally.cancelled),
            ("errors", tally.errors),
        ],
        before,
        after,
        warm_s,
        samples,
        goals,
    })
}

/// What the server holds while something is played.
async fn watched<T>(
    watch: &Watch<'_>,
    play: impl Future<Output = anyhow::Result<T>>,
    every: f64,
    bar: &ProgressBar,
) -> anyhow::Result<(T, Vec<Sample>)> {
    let start = Instant::now();
    let mut looks = tokio::time::interval(Duration::from_secs_f64(every));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(play);
    let mut samples: Vec<Sample> = Vec::new();
    loop {
        tokio::select! {
            played = &mut play => return Ok((played?, samples)),
            _ = looks.tick() => {
                let sample = watch.sample().await?;
                bar.set_position(start.elapsed().as_secs());
                let megabytes = sample.resident_bytes as f64 / 1e6;
                let Sample { descriptors, tasks, streams, .. } = sample;
                bar.set_message(format!("{megabytes:.1} MB, {descriptors} descriptors, {tasks} tasks, {streams} streams"));
                samples.push(sample);
            }
        }
    }
}

fn bar(length: Duration) -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::new(length.as_secs());
    bar.set_style(ProgressStyle::with_template("{elapsed_precise} {bar:30} {msg}")?);
    bar.enable_steady_tick(Duration::from_millis(500));
    Ok(bar)
}
