//! A running server.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use nix::sys::signal::Signal;

use crate::program::{orderly, output};

/// A demo server on a free port. It is killed when this is dropped.
pub(crate) struct Server {
    process: Child,
    url: String,
    ops: String,
    /// Kept open: it may have more to say.
    stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts it with its data in `folder`, and waits until it listens.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    /// The same, with further arguments.
    pub(crate) fn start_with(folder: &Path, arguments: &[&str]) -> Self {
        let mut server = Self::start_role(folder, &[&["serve", "--demo"], arguments].concat());
        let token = ["token", "--sub", "amy", "--role", "ops"];
        output(orderly(folder).args(token)).trim_end().clone_into(&mut server.ops);
        server
    }

    /// The same, in whatever role the arguments name, and without a token for ops.
    pub(crate) fn start_role(folder: &Path, arguments: &[&str]) -> Self {
        Self::spawn(orderly(folder), arguments)
    }

    /// The same, with all that it logs, at every level, in a file.
    pub(crate) fn start_logged(folder: &Path, arguments: &[&str], log: &Path) -> Self {
        let mut serve = orderly(folder);
        let log = File::options().create(true).append(true).open(log).expect("it can be written");
        serve.env("ORDERLY_TELEMETRY__LOG", "trace").stderr(log);
        Self::spawn(serve, arguments)
    }

    /// The same, by a command that the arguments are added to.
    pub(crate) fn spawn(mut serve: Command, arguments: &[&str]) -> Self {
        serve.args(arguments).args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped());
        let mut process = serve.spawn().expect("it runs");
        let mut stdout = BufReader::new(process.stdout.take().expect("piped"));
        let mut first = String::new();
        stdout.read_line(&mut first).expect("it says where it listens");
        let url = first.split_whitespace().find(|word| word.starts_with("http")).expect("an address");
        let url = url.trim_end_matches(',').to_owned();
        Self { process, url, ops: String::new(), stdout }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What else it says, a line.
    pub(crate) fn says(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it says more");
        line
    }

    /// What the system counts of its memory under this name (`VmRSS`: what it has now, `VmHWM`: the most it had).
    pub(crate) fn memory_bytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("a line of it");
        let kib: u64 = value.trim().trim_end_matches(" kB").parse().expect("a number");
        kib * 1_024
    }

    /// Kills it with SIGKILL, wherever it is.
    pub(crate) fn kill(mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it was killed");
    }

    /// Asks it to stop by SIGTERM, and tells how it ended.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.process.wait().expect("it ends")
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().expect("it is ours")
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let process = nix::unistd::Pid::from_raw(self.process.id().try_into().expect("a process id"));
        nix::sys::signal::kill(process, signal).expect("it runs");
    }

    /// A command that asks it, as ops.
    pub(crate) fn asked(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = orderly(folder);
        command.args(arguments).env("ORDERLY_URL", &self.url).env("ORDERLY_TOKEN", &self.ops);
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which the test will have noticed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
