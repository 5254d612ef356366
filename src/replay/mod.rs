//! `orderly replay`: decides the log again in an embedded engine, and compares every outcome with the store's.

mod compare;
mod copy;
mod decide;
mod line;
mod report;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, ensure};
use orderly_domain::port::{IntentLog, Store};
use orderly_domain::{Offset, Partition};
use tempfile::TempDir;

use crate::config::Config;
use crate::edges::Past;
use crate::serve::stop_signal;
pub(crate) use line::{Wanted, print as print_line};
use report::Report;

/// Decides the configured log again and prints how the outcomes compare; true when all are the same. `keep` names the
/// folder in which the embedded copy stays; without it there is none afterwards.
///
/// # Errors
/// When the log or the store cannot be read, the log has lost its beginning, or there is no room for the copy.
pub(crate) async fn run(config: &Config, keep: Option<&Path>, as_json: bool) -> anyhow::Result<bool> {
    let past = Past::open(config).await?;
    // Dropped at a stop, too, so that no copy is left behind.
    let report = tokio::select! {
        report = replay(config, &past, keep) => report,
        () = stop_signal()? => Err(anyhow!("stopped, as asked; nothing is known of what was not compared yet")),
    };
    past.close().await;
    let report = report?;
    let mut out = std::io::stdout().lock();
    if as_json {
        writeln!(out, "{:#}", report.to_json())?;
    } else {
        write!(out, "{}", report.to_text(config.profile))?;
    }
    Ok(report.comparison.is_same())
}

async fn replay(config: &Config, past: &Past, keep: Option<&Path>) -> anyhow::Result<Report> {
    let Past { log, store, .. } = past;
    let span = Span::read(&**log, &**store).await?;
    let folder = Folder::make(keep)?;
    copy::copy(&**log, &span, folder.path()).await.context("the log cannot be copied")?;
    let anew = decide::decide(folder.path(), config, log.partitions(), span.records()).await;
    let anew = anew.context("the copy of the log cannot be decided")?;
    let comparison = compare::compare(&**store, &anew, &span).await.context("the decisions cannot be compared")?;
    Ok(Report { comparison, undecided: span.undecided })
}

/// What of the log was decided when the replay began.
struct Span {
    /// The first offset of each partition that was not, ascending by partition; those without decisions are left out.
    decided: Vec<(Partition, Offset)>,
    /// Records that lay in the log beyond.
    undecided: u64,
}

impl Span {
    async fn read(log: &dyn IntentLog, store: &dyn Store) -> anyhow::Result<Self> {
        // The store first: what it has decided lies in the log then.
        let progress = store.progress().await?;
        let mut span = Self { decided: Vec::new(), undecided: 0 };
        for extent in log.extents().await? {
            let partition = extent.partition;
            let progress = progress.iter().find(|progress| progress.partition == partition);
            let decided = progress.map_or(0, |progress| progress.next_offset);
            ensure!(
                extent.start == 0,
                "the log of partition {partition} begins at offset {}: what lay before has aged, and without it nothing can \
                 be decided again; `orderly check` judges what is left",
                extent.start
            );
            ensure!(
                decided <= extent.end,
                "the store has decided {decided} records of partition {partition}, and the log has {}: they do not belong \
                 together",
                extent.end
            );
            span.undecided += extent.end - decided;
            if decided > 0 {
                span.decided.push((partition, decided));
            }
        }
        ensure!(!span.decided.is_empty(), "nothing is decided yet, so there is nothing to compare");
        Ok(span)
    }

    /// How many were decided.
    fn records(&self) -> u64 {
        self.decided.iter().map(|(_, decided)| decided).sum()
    }
}

/// Where the embedded copy lies.
enum Folder {
    Kept(PathBuf),
    /// Removed when it is dropped.
    Temporary(TempDir),
}

impl Folder {
    fn make(keep: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = keep else {
            let made = tempfile::Builder::new().prefix("orderly-replay-").tempdir();
            return Ok(Self::Temporary(
                made.context("the temporary folder cannot be written; name another by TMPDIR")?,
            ));
        };
        let name = path.display();
        std::fs::create_dir_all(path).with_context(|| format!("the folder {name} cannot be made"))?;
        let empty =
            std::fs::read_dir(path).with_context(|| format!("the folder {name} cannot be read"))?.next().is_none();
        ensure!(empty, "the folder {name} is not empty; name a new one with --keep");
        Ok(Self::Kept(path.to_owned()))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}
