//! Running the program.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Long enough for any machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program, in `folder`, without any variable of Orderly from outside.
pub(crate) fn orderly(folder: &Path) -> Command {
    command(env!("CARGO_BIN_EXE_orderly"), folder)
}

/// A shell that finds the program, in `folder`, without any variable of Orderly from outside.
pub(crate) fn bash(folder: &Path) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_orderly")).parent().expect("it lies in a folder").to_owned();
    let elsewhere = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([program].into_iter().chain(std::env::split_paths(&elsewhere)));
    let mut bash = command("bash", folder);
    bash.env("PATH", path.expect("folders without a colon"));
    bash
}

fn command(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ORDERLY_")) {
        command.env_remove(name);
    }
    command.current_dir(folder);
    command
}

/// What it printed, after it succeeded.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{}", told(&output));
    String::from_utf8(output.stdout).expect("text")
}

/// All that it said, to be read.
fn told(Output { status, stdout, stderr }: &Output) -> String {
    format!("{status}\n{}\n{}", String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr))
}

/// Waits until every invariant holds and nothing is left to do: analytics come a moment after the store.
pub(crate) fn check_once_idle(folder: &Path, config: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let checked = orderly(folder).args(["check", "--idle", "--config", config]).output().expect("it runs");
        if checked.status.success() {
            return;
        }
        assert!(Instant::now() < deadline, "{}", told(&checked));
    }
}

/// What it complained about, after it failed with `status`. Complaints do not go to the standard output.
pub(crate) fn complaint(command: &mut Command, status: i32) -> String {
    let Output { status: ended, stdout, stderr } = command.output().expect("it runs");
    let stderr = String::from_utf8(stderr).expect("text");
    assert_eq!(ended.code(), Some(status), "{stderr}");
    assert!(stdout.is_empty(), "{}", String::from_utf8_lossy(&stdout));
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr
}
