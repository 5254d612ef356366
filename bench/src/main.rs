//! `orderly-bench`: load and real input for a running server.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use orderly_bench::{compare, limits, micro, plot, replay, rush, soak, verdict};
use serde::Serialize;

/// Loads a running Orderly server through its API, and measures it.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play a release's rush: open loop, every accepted ticket followed to its outcome
    Rush {
        /// The server, or several that answer alike, with commas between them
        #[arg(long, default_value = "http://127.0.0.1:8080")]
        url: String,
        #[command(flatten)]
        options: rush::Options,
        #[command(flatten)]
        verdict: verdict::Options,
    },
    /// Decide real bookings and compare the outcome with what must come out; doctors and times of day are invented
    Replay {
        /// The server, or several with commas between them, whose data has not seen these bookings
        #[arg(long, default_value = "http://127.0.0.1:8080")]
        url: String,
        #[command(flatten)]
        options: replay::Options,
        #[command(flatten)]
        verdict: verdict::Options,
    },
    /// Measure every path beside what the machine can do, and print the ratios
    Limits(limits::Options),
    /// Draw flame graphs of both paths: where the processor is while bookings are accepted and decided
    Flame(limits::flame::Options),
    /// Put Orderly beside what people would otherwise build, and write a report
    Compare(compare::Options),
    /// Measure what an intent costs each process, for `orderly plan --costs`
    Costs(compare::capacity::CostOptions),
    /// Play a peak on this machine, and set what `orderly plan` foretells beside what was measured
    Plan(compare::capacity::Options),
    /// Hold half load for hours, and tell whether memory, descriptors or tasks grow
    Soak(soak::Options),
    /// Open event streams and leave them, a million times, and tell whether anything stays
    Churn(soak::churn::Options),
    /// Count the instructions of the small steps that every booking takes, and compare them with what they were
    Micro(micro::Options),
    /// Serve a handler that parses a booking and does nothing: the limit that `limits` measures
    Bare {
        /// Where to listen
        #[arg(long, default_value = "127.0.0.1:8081")]
        listen: std::net::SocketAddr,
    },
}

/// The same as the server's, so that both sides of a comparison have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<ExitCode> {
    let command = Arguments::parse().command;
    // Steps bring the runtime that they need.
    if let Command::Micro(options) = &command {
        let (text, holds) = micro::run(options)?;
        print(&text)?;
        return Ok(status(holds));
    }
    let runtime = match command {
        Command::Bare { .. } => tokio::runtime::Builder::new_multi_thread().enable_all().build()?,
        // One thread is enough for the client, and leaves the machine to the server.
        _ => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
    };
    runtime.block_on(run(command))
}

const fn status(passed: bool) -> ExitCode {
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let passed = match command {
        Command::Rush { url, options, verdict } => rush(&url, &options, &verdict).await?,
        Command::Replay { url, options, verdict } => replay(&url, options, &verdict).await?,
        Command::Limits(options) => {
            let report = limits::run(&options).await?;
            write_json(options.json.as_deref(), &report)?;
            print(&report.to_text())?;
            report.holds() && (!options.strict || report.reached())
        }
        Command::Flame(options) => {
            for path in limits::flame::run(&options).await? {
                print(&format!("{}\n", path.display()))?;
            }
            true
        }
        Command::Compare(options) => {
            let (report, path) = compare::run(&options).await?;
            print(&std::fs::read_to_string(&path)?)?;
            report.holds() && (!options.strict || report.reached())
        }
        Command::Costs(options) => {
            let costs = compare::capacity::measure(&options).await?;
            print(&format!("{}\n", serde_json::to_string_pretty(&costs)?))?;
            true
        }
        Command::Plan(options) => {
            let report = compare::capacity::run(&options).await?;
            print(&report.to_text())?;
            write_json(options.json.as_deref(), &report)?;
            true
        }
        Command::Soak(options) => held(&soak::run(&options).await?, &options.output)?,
        Command::Churn(options) => held(&soak::churn::run(&options).await?, &options.output)?,
        Command::Micro(_) => unreachable!("it was run without a runtime"),
        Command::Bare { listen } => {
            limits::serve_bare(tokio::net::TcpListener::bind(listen).await?).await?;
            true
        }
    };
    Ok(status(passed))
}

async fn rush(url: &str, options: &rush::Options, verdict: &verdict::Options) -> anyhow::Result<bool> {
    let report = rush::run(url, options).await?;
    print(&report.to_text())?;
    write_json(options.json.as_deref(), &report)?;
    if let Some(path) = &options.plot {
        let text = format!("{}\n{}", report.machine, report.command);
        plot::draw(path, "A release's rush, decided", &text, &plot::rush(&report.timeline))?;
    }
    Ok(verdict.check(options.history.as_deref())? && report.passed())
}

async fn replay(url: &str, options: replay::Options, verdict: &verdict::Options) -> anyhow::Result<bool> {
    let data = options.data_file();
    anyhow::ensure!(
        data.exists(),
        "there are no bookings at {}; name the file by --data-file or its folder by {}",
        data.display(),
        replay::DATA_FOLDER
    );
    let (json, svg) = (options.json.clone(), options.plot.clone());
    let report = replay::run(url, options).await?;
    print(&report.to_text())?;
    write_json(json.as_deref(), &report)?;
    if let Some(path) = &svg {
        let text = format!("{}\n{}\ndoctors and times of day are invented", report.machine, report.command);
        plot::draw(path, "Real bookings, replayed", &text, &plot::replay(&report.timeline))?;
    }
    Ok(verdict.check(None)? && report.passed())
}

fn held(report: &soak::Report, output: &soak::Output) -> anyhow::Result<bool> {
    print(&report.to_text())?;
    write_json(output.json.as_deref(), report)?;
    if let Some(path) = &output.plot {
        report.draw(path)?;
    }
    Ok(report.passed())
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("cannot print the result")
}

fn write_json(path: Option<&Path>, report: &impl Serialize) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, serde_json::to_vec_pretty(report)?).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        Arguments::command().debug_assert();
    }
}
