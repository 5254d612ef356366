//! How near Orderly comes to what the machine can do: every figure beside its physical limit, measured in the same run.

mod accept;
mod bare;
mod decide;
mod process;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

pub use bare::serve as serve_bare;
pub use report::{Ratio, Report};

/// What is measured, and how long.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The server's program; by default the `orderly` beside this one
    #[arg(long)]
    pub orderly: Option<PathBuf>,
    /// Intents in the log that is decided from its start
    #[arg(long, default_value_t = 2_000_000)]
    pub intents: u32,
    /// Tickets sent before memory is read the second time; a tenth of them before the first
    #[arg(long, default_value_t = 2_000_000)]
    pub tickets: u64,
    /// Seconds of each load over HTTP
    #[arg(long, default_value_t = 5)]
    pub seconds: u64,
    /// How often the bare handler and Orderly take turns under full load; the medians are compared
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Measure one path alone
    #[arg(long)]
    pub only: Option<Path>,
    /// Connections that send bookings
    #[arg(long, default_value_t = 512)]
    pub connections: usize,
    /// The same, as JSON
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Path {
    /// Bookings over HTTP, what their patients wait, and memory
    Accept,
    /// From a filled log to committed decisions
    Decide,
}

/// Measures everything, or one path.
///
/// # Errors
/// When a server does not start or stops answering.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let program = match &options.orderly {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("orderly"),
    };
    let progress = ProgressBar::new_spinner();
    progress.set_style(ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}")?);
    progress.enable_steady_tick(Duration::from_millis(200));
    let mut report = Report::new(options.intents);

    if options.only != Some(Path::Decide) {
        accept_path(options, &program, &progress, &mut report).await?;
    }
    if options.only != Some(Path::Accept) {
        progress.set_message(format!("deciding {} intents from a filled log", options.intents));
        report.decide = Some(decide::measure(options.intents).await?);
    }
    progress.finish_and_clear();
    Ok(report)
}

async fn accept_path(
    options: &Options,
    program: &std::path::Path,
    progress: &ProgressBar,
    report: &mut Report,
) -> anyhow::Result<()> {
    let length = Duration::from_secs(options.seconds);
    let server = process::orderly(program).await?;
    let crowd = accept::Crowd::gather(&server.url).await?;
    let mut memory = Vec::new();
    let mut remember = |sent: u64| -> anyhow::Result<()> {
        memory.push((sent, server.resident_bytes().context("the server's memory cannot be read")?));
        Ok(())
    };
    progress.set_message(format!("orderly's memory after {} tickets", options.tickets / 10));
    let mut sent = accept::send(&server.url, options.connections, options.tickets / 10, &crowd).await?;
    remember(sent)?;

    let bare = process::bare().await?;
    let (mut rates, mut limits) = (Vec::new(), Vec::new());
    for round in 1..=options.rounds {
        progress.set_message(format!("round {round}: a bare handler, under full load of the same requests"));
        limits.push(accept::saturate(&bare.url, options.connections, length, &crowd).await?.rate_per_s);
        progress.set_message(format!("round {round}: orderly, under full load"));
        let accepted = accept::saturate(&server.url, options.connections, length, &crowd).await?;
        rates.push(accepted.rate_per_s);
        sent += accepted.count;
    }
    drop(bare);
    let accepted = Ratio { what: "202s a second, durable", value: median(rates)?, limit: median(limits)? };
    report.accept = Some(accepted);

    progress.set_message("orderly, at half of that");
    let half = accepted.value / 2.0;
    report.outcome = Some(accept::steady(&server.url, &crowd, half, length).await?);
    report.outcome_rate_per_s = half;

    progress.set_message(format!("orderly's memory after {} tickets", options.tickets));
    sent += report.outcome.map_or(0, |outcome| outcome.accepted);
    sent += accept::send(&server.url, options.connections, options.tickets.saturating_sub(sent), &crowd).await?;
    remember(sent)?;
    if let [early, late] = memory[..] {
        report.memory = Some((early, late));
    }
    Ok(())
}

/// The middle one, by size.
fn median(mut figures: Vec<f64>) -> anyhow::Result<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().context("--rounds is at least 1")
}
