//! Clocks of processes that are wrong, by libfaketime (Debian package `faketime`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::block_in_place;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::node::Node;
use crate::recovery::{all_decide, until};

/// Its folders, by distribution.
const FOLDERS: [&str; 3] = ["/usr/lib/faketime", "/usr/lib64/faketime", "/usr/local/lib/faketime"];
/// The waits that it does not know.
const WAITS: &str = include_str!("../clock/waits.c");
/// Which library: the one for programs with threads.
const LIBRARY: &str = "libfaketimeMT.so.1";
/// How far ahead a clock is, in seconds. Whoever has a token from a right clock is let in: it was given out earlier.
const AHEAD_S: i64 = 300;
/// How far behind, in seconds: less than the 5 s by which clocks may differ, since else tokens are told to come too early.
const BEHIND_S: i64 = -4;
/// By how much the time in an answer, which has whole seconds, may be off.
const ROUNDED_S: i64 = 1;

/// What makes clocks wrong.
#[derive(Clone, Debug)]
pub(crate) struct Clocks {
    /// The libraries that a process loads before all others.
    preload: String,
}

impl Clocks {
    /// Finds libfaketime, and builds what it lacks into a folder.
    ///
    /// # Errors
    /// When it is not installed, or there is no C compiler.
    pub(crate) fn prepare(folder: &Path) -> anyhow::Result<Self> {
        let library = library().context("libfaketime is missing (Debian: apt-get install faketime)")?;
        let (source, waits) = (folder.join("waits.c"), folder.join("waits.so"));
        std::fs::write(&source, WAITS)?;
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O", "-o"]).arg(&waits).arg(&source);
        let told = compile.output().context("there is no C compiler")?;
        anyhow::ensure!(told.status.success(), "cc: {}", String::from_utf8_lossy(&told.stderr));
        Ok(Self { preload: format!("{}:{}", waits.display(), library.display()) })
    }

    /// A clock that is ahead by so many seconds.
    fn shifted(&self, seconds: i64) -> Shift {
        Shift { preload: self.preload.clone(), seconds }
    }
}

/// The library, where it is installed.
fn library() -> Option<PathBuf> {
    // Debian has a folder for each kind of machine.
    let machines = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let folders = machines.map(|machine| machine.path().join("faketime")).chain(FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(LIBRARY)).find(|library| library.is_file())
}

/// How far a process's clock is from the right one.
#[derive(Clone, Debug)]
pub(crate) struct Shift {
    preload: String,
    seconds: i64,
}

impl Shift {
    /// What makes it so, as variables of the process's environment. Time that only counts goes on as it does.
    pub(crate) fn environment(&self) -> Vec<String> {
        vec![
            format!("LD_PRELOAD={}", self.preload),
            format!("FAKETIME={:+}", self.seconds),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        ]
    }
}

impl Cluster {
    /// Gives a pipeline and an ingress a wrong clock, ahead or behind, sees by their answers that they have it and that the
    /// pipelines decide, and gives them the right one again. Counts from that.
    ///
    /// # Errors
    /// When the library is missing, or has no effect, or they do not work so.
    pub(crate) async fn shift_clocks(&mut self, nth: usize, lasts: Duration) -> anyhow::Result<Instant> {
        let seconds = if nth.is_multiple_of(2) { AHEAD_S } else { BEHIND_S };
        let clocks = self.clocks.as_ref().map_err(|why| anyhow::anyhow!("no wrong clocks: {why}"))?;
        let shift = clocks.shifted(seconds);
        self.restart_with(nth, Some(&shift))?;
        self.until_clocks_are(nth, seconds).await?;
        self.until_shared().await?;
        all_decide(self).await?;
        tokio::time::sleep(lasts).await;
        let since = Instant::now();
        self.restart_with(nth, None)?;
        self.until_clocks_are(nth, 0).await?;
        Ok(since)
    }

    fn restart_with(&mut self, nth: usize, shift: Option<&Shift>) -> anyhow::Result<()> {
        let ingress = nth % self.ingresses.len();
        block_in_place(|| {
            self.ingresses[ingress].restart_with(shift)?;
            self.pipelines[nth].restart_with(shift)
        })
    }

    async fn until_clocks_are(&self, nth: usize, seconds: i64) -> anyhow::Result<()> {
        let ingress = nth % self.ingresses.len();
        for node in [&self.ingresses[ingress], &self.pipelines[nth]] {
            until(&format!("{} has that clock", node.name), async || {
                let ahead = Node::clock_ahead(node).await?;
                anyhow::ensure!((ahead - seconds).abs() <= ROUNDED_S, "it is ahead by {ahead} s, not by {seconds} s");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}
