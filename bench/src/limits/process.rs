//! Servers that are started for a measurement and end with it.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
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

const START_MAX: Duration = Duration::from_secs(60);

/// A server process; it is killed when this is dropped.
pub(super) struct Server {
    pub url: String,
    child: Child,
    _folder: TempDir,
}

impl Server {
    /// Its resident memory, in bytes.
    pub(super) fn resident_bytes(&self) -> anyhow::Result<u64> {
        resident_bytes(&self.child.id().context("the server has ended")?.to_string())
    }
}

/// A process's resident memory, in bytes; `self` is this one.
pub(super) fn resident_bytes(process: &str) -> anyhow::Result<u64> {
    let read = || {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
    };
    read().with_context(|| format!("the memory of process {process} cannot be read"))
}

/// `orderly serve --demo` on a folder of its own.
pub(super) async fn orderly(program: &Path) -> anyhow::Result<Server> {
    let folder = tempfile::tempdir()?;
    let policy = folder.path().join("policy.toml");
    std::fs::write(&policy, OPEN_POLICY)?;
    let mut command = Command::new(program);
    command.args(["serve", "--demo", "--data"]).arg(folder.path().join("data")).arg("--policy").arg(policy);
    start(command, folder, "/readyz").await
}

/// `orderly ROLE` on the servers that `config` names.
pub(super) async fn node(program: &Path, config: &Path, role: &str) -> anyhow::Result<Server> {
    let folder = tempfile::tempdir()?;
    let policy = folder.path().join("policy.toml");
    std::fs::write(&policy, OPEN_POLICY)?;
    let mut command = Command::new(program);
    command.arg(role).arg("--config").arg(config);
    if role == "ingress" {
        command.arg("--demo").arg("--policy").arg(policy);
    }
    start(command, folder, "/readyz").await
}

/// The bare handler, in a process of its own.
pub(super) async fn bare() -> anyhow::Result<Server> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("bare");
    start(command, tempfile::tempdir()?, "/").await
}

async fn start(mut command: Command, folder: TempDir, ready: &str) -> anyhow::Result<Server> {
    // Free a moment ago; if another process takes it first, the server says so and the measurement ends.
    let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    command.args(["--listen", &address.to_string()]).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    let child = command.spawn().with_context(|| format!("cannot start {:?}", command.as_std().get_program()))?;
    let mut server = Server { url: format!("http://{address}"), child, _folder: folder };
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
