//! Flame graphs of both paths, by Linux' perf: where the processor is while bookings are accepted, and while they are decided.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::accept::{self, Crowd};
use super::{decide, process};

/// Looks a second at each processor: not in step with what happens every millisecond.
const LOOKS_PER_S: &str = "397";
/// Bytes of each stack that are kept, as many as can be: dwarf unwinds what was compiled without frame pointers, and futures are large.
const STACKS: &str = "dwarf,65528";
/// How long perf may take to attach.
const ATTACH: Duration = Duration::from_secs(1);

/// What is drawn, and where it goes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The server's program; by default the `orderly` beside this one
    #[arg(long)]
    pub orderly: Option<PathBuf>,
    /// The folder of the graphs: flame-accept.svg and flame-decide.svg
    #[arg(long, value_name = "DIR", default_value = "docs/bench")]
    pub out: PathBuf,
    /// Seconds of bookings over HTTP
    #[arg(long, default_value_t = 5)]
    pub seconds: u64,
    /// Intents in the log that is decided
    #[arg(long, default_value_t = 1_000_000)]
    pub intents: u32,
    /// Connections that send bookings
    #[arg(long, default_value_t = 512)]
    pub connections: usize,
    /// The folder of `inferno-collapse-perf` and `inferno-flamegraph`; by default the path is searched
    #[arg(long, value_name = "DIR")]
    pub inferno: Option<PathBuf>,
}

/// Draws both; answers with the files.
///
/// # Errors
/// When perf or inferno is missing or may not look, or a server cannot be started.
pub async fn run(options: &Options) -> anyhow::Result<Vec<PathBuf>> {
    let folder = tempfile::tempdir()?;
    std::fs::create_dir_all(&options.out).with_context(|| format!("cannot make {}", options.out.display()))?;
    let orderly = match &options.orderly {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("orderly"),
    };

    let server = process::orderly(&orderly).await?;
    let crowd = Crowd::gather(&server.url).await?;
    // The first second is a start, not a rush.
    accept::saturate(&server.url, options.connections, ATTACH, &crowd).await?;
    let recording = Recording::begin(server.id()?, &folder.path().join("accept.perf")).await?;
    accept::saturate(&server.url, options.connections, Duration::from_secs(options.seconds), &crowd).await?;
    let accepted = recording.end().await?;
    server.kill().await?;

    let filled = decide::Filled::new(options.intents).await?;
    let recording = Recording::begin(std::process::id(), &folder.path().join("decide.perf")).await?;
    filled.decide()?;
    let decided = recording.end().await?;

    let mut drawn = Vec::new();
    for (recorded, name, title) in [
        (accepted, "flame-accept.svg", "Bookings over HTTP: accepted, decided and stored by one process"),
        (decided, "flame-decide.svg", "From a filled log to committed decisions"),
    ] {
        let path = options.out.join(name);
        draw(&recorded, &path, title, options.inferno.as_deref()).await?;
        drawn.push(path);
    }
    Ok(drawn)
}

/// perf, while it looks at a process.
struct Recording {
    perf: Child,
    file: PathBuf,
}

impl Recording {
    async fn begin(process: u32, file: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new("perf");
        command.args([
            "record",
            "--quiet",
            "-F",
            LOOKS_PER_S,
            "--call-graph",
            STACKS,
            "-p",
            &process.to_string(),
            "-o",
        ]);
        command.arg(file).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let mut perf = command.spawn().context("perf is missing; install it: apt-get install linux-perf")?;
        if let Ok(ended) = tokio::time::timeout(ATTACH, perf.wait()).await {
            anyhow::bail!("perf may not look at processes here: {}", ended?);
        }
        Ok(Self { perf, file: file.to_owned() })
    }

    async fn end(mut self) -> anyhow::Result<PathBuf> {
        if let Some(id) = self.perf.id() {
            signal::kill(Pid::from_raw(id.try_into()?), Signal::SIGINT)?;
        }
        self.perf.wait().await?;
        Ok(self.file)
    }
}

/// `perf script | inferno-collapse-perf | inferno-flamegraph`.
async fn draw(recorded: &Path, path: &Path, title: &str, inferno: Option<&Path>) -> anyhow::Result<()> {
    let tool = |name: &str| inferno.map_or_else(|| PathBuf::from(name), |folder| folder.join(name));
    let spawn = |command: &mut Command| {
        command.stderr(Stdio::null()).kill_on_drop(true).spawn().with_context(|| {
            let program = command.as_std().get_program().to_string_lossy();
            format!("{program} is missing; `make bench-flame` installs it")
        })
    };
    let mut script = Command::new("perf");
    script.args(["script", "--no-inline", "-i"]).arg(recorded).stdout(Stdio::piped());
    let mut script = spawn(&mut script)?;
    let mut collapse = Command::new(tool("inferno-collapse-perf"));
    collapse.stdin(piped(script.stdout.take())?).stdout(Stdio::piped());
    let mut collapse = spawn(&mut collapse)?;
    let mut graph = Command::new(tool("inferno-flamegraph"));
    graph.args(["--title", title, "--minwidth", "0.3", "--truncate-text-right", "--colors", "rust", "--nametype", ""]);
    graph.stdin(piped(collapse.stdout.take())?).stdout(std::fs::File::create(path)?);
    let mut graph = spawn(&mut graph)?;
    for (what, child) in [("perf script", &mut script), ("collapsing", &mut collapse), ("drawing", &mut graph)] {
        let status = child.wait().await?;
        ensure!(status.success(), "{what} failed: {status}");
    }
    Ok(())
}

fn piped(output: Option<tokio::process::ChildStdout>) -> anyhow::Result<Stdio> {
    Ok(output.context("its output is a pipe")?.try_into()?)
}
