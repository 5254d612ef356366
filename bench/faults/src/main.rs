//! `orderly-faults`: a campaign of faults on a cluster of real servers, drawn by a seed.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use orderly_faults::campaign;
use orderly_faults::cluster::Cluster;

/// Starts servers and a cluster of Orderly on them, plays rushes, and meanwhile kills, stops, empties and cuts off one after
/// another. Tells how long recovery takes. Exit status 1 when something does not recover or a promise is broken; then the
/// folder has everyone's logs.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  orderly-faults --minutes 10 --seed 1
      What `make faults` runs.
  orderly-faults --faults postgres-killed,redis-flushed --minutes 2
      Only these."
)]
struct Arguments {
    #[command(flatten)]
    options: campaign::Options,
    /// Where the servers keep their data and logs; what an earlier campaign left there is removed
    #[arg(long, value_name = "DIR", default_value = ".dev/faults")]
    folder: PathBuf,
    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Add a line with the totals to this ledger of campaigns
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(run(arguments))
}

async fn run(Arguments { options, folder, json, ledger }: Arguments) -> anyhow::Result<()> {
    let beside = || std::env::current_exe().map(|program| program.with_file_name("orderly"));
    let program = options.program.clone().map_or_else(beside, Ok).context("this program's folder is not known")?;
    anyhow::ensure!(program.is_file(), "there is no {}; build it first, or name it by --program", program.display());
    if folder.exists() {
        // A campaign that was killed leaves disks behind.
        orderly_stack::Tmpfs::unmount_below(&folder)?;
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    let cluster = Cluster::start(&program, &folder).await?;
    let failed = || format!("the logs are in {}; --seed {} draws the same faults", folder.display(), options.seed);
    let report = campaign::run(cluster, &options).await.with_context(failed)?;
    if let Some(path) = ledger {
        let line = report.to_line(jiff::Zoned::now().date());
        let opened = std::fs::OpenOptions::new().append(true).open(&path);
        let written = opened.and_then(|mut file| file.write_all(line.as_bytes()));
        written.with_context(|| format!("cannot add a line to {}", path.display()))?;
    }
    std::io::stdout().write_all(report.to_text().as_bytes())?;
    if let Some(path) = json {
        std::fs::write(&path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    match report.failed {
        None => Ok(()),
        Some(why) => Err(anyhow::anyhow!(why).context(failed())),
    }
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
