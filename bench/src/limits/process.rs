//! Servers that are started for a measurement and end with it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Everything is let in: the limits are checked, and none is reached.
const OPEN_POLICY: &str = "
[limits]
global = { rate_per_s = 1000000, burst = 1000000 }
address = { rate_per_s = 1000000, burst = 1000000 }
doctor = { rate_per_s = 1000000, burst = 1000000 }
patient = { rate_per_s = 1000000, burst = 1000000 }
";

/// The data folder of one that runs alone, in its own folder.
const DATA: &str = "data";

const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(60);

/// A server process; it is killed when this is dropped.
pub(crate) struct Server {
    pub url: String,
    child: Child,
    folder: TempDir,
}

impl Server {
    /// Kills it, and waits until it is gone.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("the server cannot be killed")
    }

    /// Asks it to drain and end, and waits. The folder stays until what is given back is dropped.
    pub(crate) async fn stop(mut self) -> anyhow::Result<TempDir> {
        let id = i32::try_from(self.id()?)?;
        signal::kill(Pid::from_raw(id), Signal::SIGTERM).context("the server cannot be asked to end")?;
        let ended = tokio::time::timeout(STOP_MAX, self.child.wait()).await;
        ended.context("the server did not end in time")??;
        Ok(self.folder)
    }

    /// Kills it as [`Server::kill`] does, and keeps its folder.
    pub(crate) async fn crash(mut self) -> anyhow::Result<TempDir> {
        self.child.kill().await.context("the server cannot be killed")?;
        Ok(self.folder)
    }

    /// The data folder of one that runs alone.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join(DATA)
    }

    /// Its process id.
    pub(crate) fn id(&self) -> anyhow::Result<u32> {
        self.child.id().context("the server has ended")
    }

    /// Its resident memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        resident_bytes(&self.id()?.to_string())
    }
}

/// A process's resident memory, in bytes; `self` is this one.
pub(crate) fn resident_bytes(process: &str) -> anyhow::Result<u64> {
    let read = || {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
    };
    read().with_context(|| format!("the memory of process {process} cannot be read"))
}

/// `orderly serve --demo` on a folder of its own.
pub(crate) async fn orderly(program: &Path) -> anyhow::Result<Server> {
    orderly_with(program, &[]).await
}

/// The same, with variables of the environment.
pub(crate) async fn orderly_with(program: &Path, environment: &[(&str, &str)]) -> anyhow::Result<Server> {
    let folder = tempfile::tempdir()?;
    let policy = folder.path().join("policy.toml");
    std::fs::write(&policy, OPEN_POLICY)?;
    let mut command = Command::new(program);
    behind_a_proxy(&mut command);
    command.envs(environment.iter().copied());
    command.args(["serve", "--demo", "--data"]).arg(folder.path().join(DATA)).arg("--policy").arg(policy);
    start(command, folder, "/readyz").await
}

/// `orderly ROLE` on the servers that `config` names.
pub(crate) async fn node(program: &Path, config: &Path, role: &str) -> anyhow::Result<Server> {
    let folder = tempfile::tempdir()?;
    let policy = folder.path().join("policy.toml");
    std::fs::write(&policy, OPEN_POLICY)?;
    let mut command = Command::new(program);
    command.arg(role).arg("--config").arg(config);
    if role == "ingress" {
        behind_a_proxy(&mut command);
        command.arg("--demo").arg("--policy").arg(policy);
    }
    start(command, folder, "/readyz").await
}

/// All clients come from one address, as they do through a proxy: they may have as many connections as all together, and it is
/// trusted to tell whose each request is.
fn behind_a_proxy(ingress: &mut Command) {
    ingress.env("ORDERLY_INGRESS__TRUSTED_PROXIES", "127.0.0.1");
    ingress.env("ORDERLY_INGRESS__CONNECTIONS_PER_ADDRESS_MAX", "20000");
}

/// The bare handler, in a process of its own.
pub(crate) async fn bare() -> anyhow::Result<Server> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("bare");
    start(command, tempfile::tempdir()?, "/").await
}

/// Any program that takes `--listen ADDRESS` and answers at the path `ready`.
pub(crate) async fn start(mut command: Command, folder: TempDir, ready: &str) -> anyhow::Result<Server> {
    // Free a moment ago; if another process takes it first, the server says so and the measurement ends.
    let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    command.args(["--listen", &address.to_string()]).kill_on_drop(true);
    // What goes wrong is seen beside the progress bar, and nothing else.
    command.env("ORDERLY_TELEMETRY__LOG", "warn");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    let child = command.spawn().with_context(|| format!("cannot start {:?}", command.as_std().get_program()))?;
    let mut server = Server { url: format!("http://{address}"), child, folder };
    let deadline = tokio::time::Instant::now() + START_MAX;
    let http = reqwest::Client::new();
    loop {
        // The bare handler answers 404 here, which is ready too.
        match http.get(format!("{}{ready}", server.url)).send().await {
            Ok(answer) if !answer.status().is_server_error() => return Ok(server),
            _ => {}
        }
        if let Some(status) = server.child.try_wait()? {
            bail!("the server ended before it was ready: {status}");
        }
        if tokio::time::Instant::now() > deadline {
            bail!("the server was not ready within {} s", START_MAX.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
