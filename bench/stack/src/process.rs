//! One server process: started, signalled, awaited, and never left behind.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

/// Runs its arguments, tells their process id, and kills them once its input ends: also when whoever started it was killed.
/// Its exit status is theirs.
const WATCHDOG: &str = r#""$@" <&- & echo $!; cat >/dev/null; kill -9 $! 2>/dev/null; wait $!"#;

/// How long a server may take to stop by itself before it is killed.
const STOP_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

/// What to start.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The program, by path or name.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables added to its environment.
    pub env: Vec<(String, String)>,
    /// The user and group to run as, for a server that refuses to run as root.
    pub user: Option<(u32, u32)>,
    /// Where its output goes; appended.
    pub log: PathBuf,
}

/// A running server. It is killed when this is dropped, and when this process ends in any way.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    watchdog: Child,
    /// Closed to end the server.
    lifeline: Option<ChildStdin>,
    log: PathBuf,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started or its log cannot be written.
    pub fn start(spec: &Spec) -> anyhow::Result<Self> {
        let open = || File::options().create(true).append(true).open(&spec.log);
        let log = open().with_context(|| format!("cannot write {}", spec.log.display()))?;
        let mut command = Command::new("sh");
        command.args(["-c", WATCHDOG, "sh"]).arg(&spec.program).args(&spec.args);
        command.envs(spec.env.iter().map(|(name, value)| (name, value)));
        // The server must not share the terminal's signals: a Ctrl-C is for whoever started it.
        command.process_group(0);
        if let Some((user, group)) = spec.user {
            command.uid(user).gid(group);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut watchdog = command.spawn().context("cannot start sh")?;
        let mut output = BufReader::new(watchdog.stdout.take().context("the output is piped")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let pid = line.trim().parse().with_context(|| format!("sh told no process id: {line:?}"))?;
        // The server's own output comes the same way; somebody has to read it.
        let mut sink = open()?;
        std::thread::spawn(move || std::io::copy(&mut output, &mut sink));
        let lifeline = watchdog.stdin.take();
        Ok(Self { pid: Pid::from_raw(pid), watchdog, lifeline, log: spec.log.clone() })
    }

    /// Its process id.
    #[must_use]
    pub const fn id(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Whether it runs (a stopped one does). One that ends does until its last thread is gone: only then are its ports and
    /// files free.
    #[must_use]
    pub fn is_running(&self) -> bool {
        // A zombie is reaped by the watchdog's shell only at its end; the states of its threads tell.
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten().flatten();
        threads.map(|thread| thread.path().join("stat")).any(|stat| {
            let stat = std::fs::read_to_string(stat).unwrap_or_default();
            let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
            state.is_some_and(|state| state != "Z" && state != "X")
        })
    }

    /// Sends it a signal. One that stops it has stopped all of its threads when this returns: on a busy machine they go on for
    /// a moment after it was sent.
    ///
    /// # Errors
    /// When it is gone, or does not stop.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        signal::kill(self.pid, signal).with_context(|| format!("cannot send {signal} to process {}", self.pid))?;
        if signal == Signal::SIGSTOP {
            wait_until("a stopped process stands still", STOP_MAX, || Ok(self.stands_still()))?;
        }
        Ok(())
    }

    fn stands_still(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid));
        threads.into_iter().flatten().flatten().all(|thread| {
            // The name before the state may have any character. A thread that has ended does nothing either.
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 'Z', 'X']))
        })
    }

    /// Kills it, as a machine that loses power would, and waits until it is gone.
    ///
    /// # Errors
    /// When it does not go.
    pub fn kill(&self) -> anyhow::Result<()> {
        // It may have gone by itself.
        let _ = self.signal(Signal::SIGKILL);
        wait_until("a killed process is gone", STOP_MAX, || Ok(!self.is_running()))
    }

    /// Asks it to stop and waits; kills it when it does not.
    ///
    /// # Errors
    /// When it does not go even then.
    pub fn stop(&self) -> anyhow::Result<()> {
        let _ = self.signal(Signal::SIGTERM);
        if wait_until("it stops", STOP_MAX, || Ok(!self.is_running())).is_err() {
            self.kill()?;
        }
        Ok(())
    }

    /// Asks it to stop, as [`Process::stop`] does, and tells its exit status as a shell would: 128 and the signal's number
    /// when one ended it.
    ///
    /// # Errors
    /// When it does not go.
    pub fn end(mut self) -> anyhow::Result<i32> {
        self.stop()?;
        drop(self.lifeline.take());
        self.watchdog.wait()?.code().context("the watchdog of a server was killed")
    }

    /// Waits until `ready` says so; ends early, with the last lines of its log, when it ends.
    ///
    /// # Errors
    /// When it ends or is not ready in time.
    pub fn wait_until_ready(&self, most: Duration, mut ready: impl FnMut() -> bool) -> anyhow::Result<()> {
        wait_until("a server is ready", most, || {
            if ready() {
                return Ok(true);
            }
            if !self.is_running() {
                bail!("a server ended at its start; its log ends so:\n{}", tail(&self.log));
            }
            Ok(false)
        })
        .with_context(|| format!("its log is {}", self.log.display()))
    }

    /// Waits until it listens on a loopback port.
    ///
    /// # Errors
    /// As [`Process::wait_until_ready`].
    pub fn wait_until_listening(&self, port: u16, most: Duration) -> anyhow::Result<()> {
        self.wait_until_ready(most, || TcpStream::connect(("127.0.0.1", port)).is_ok())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A stopped process takes no other signal.
        let _ = self.signal(Signal::SIGKILL);
        drop(self.lifeline.take());
        let _ = self.watchdog.wait();
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// Asks again and again until the answer is yes.
///
/// # Errors
/// When it is not yes in time, or asking fails.
pub fn wait_until(what: &str, most: Duration, mut yes: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + most;
    while !yes()? {
        if Instant::now() > deadline {
            bail!("waited {} s in vain until {what}", most.as_secs());
        }
        std::thread::park_timeout(POLL);
    }
    Ok(())
}

/// A loopback port that nobody listened on a moment ago.
///
/// # Errors
/// When there is none.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
