//! The real pipeline in one thread, on servers that are simulated, under faults that a seed draws.

mod campaign;
mod clients;
mod edge;
mod fanout;
mod ledger;
mod log;
mod node;
mod plan;
#[cfg(feature = "planted-bugs")]
mod planted;
mod random;
mod run;
mod shrink;
mod store;
mod told;
mod world;

use std::io::Write as _;
use std::path::PathBuf;

use clap::Parser;

/// Runs the real pipeline on simulated servers, under faults that seeds draw.
#[derive(Parser)]
struct Arguments {
    /// Run this seed alone, and print all that happened; when it fails, also the least that still fails.
    #[arg(long)]
    seed: Option<u64>,
    /// How many seeds to run.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long)]
    from: Option<u64>,
    /// Go on where this ledger of seeds ended, and add a line with the totals.
    #[arg(long)]
    ledger: Option<PathBuf>,
    #[cfg(feature = "planted-bugs")]
    #[command(subcommand)]
    command: Option<Mode>,
}

#[cfg(feature = "planted-bugs")]
#[derive(clap::Subcommand)]
enum Mode {
    /// Make each of the planted mistakes in turn, and tell which seed finds it.
    Planted {
        /// How many seeds to try for each.
        #[arg(long, default_value_t = 3_000)]
        seeds_max: u64,
        /// Only the mistake of this name.
        #[arg(long)]
        only: Option<String>,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut out = std::io::stdout().lock();
    #[cfg(feature = "planted-bugs")]
    if let Some(Mode::Planted { seeds_max, only }) = arguments.command {
        return planted::run(seeds_max, only.as_deref(), &mut out);
    }
    let Arguments { seed, seeds, from, ledger, .. } = arguments;
    match seed {
        Some(seed) => campaign::replay(seed, &mut out),
        None => {
            let from = match (from, &ledger) {
                (Some(from), _) => from,
                (None, Some(ledger)) => campaign::ended_at(ledger)?,
                (None, None) => 1,
            };
            let good = campaign::run(from, seeds, ledger.as_deref(), &mut out)?;
            out.flush()?;
            anyhow::ensure!(good, "promises were broken; `orderly-sim --seed N` shows how");
            Ok(())
        }
    }
}
