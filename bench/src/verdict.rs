//! The checker's verdict on a data folder, by the `orderly` program itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

/// Which data folder to check, and with what.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Options {
    /// The server's data folder, to be checked afterwards
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The `orderly` program to check it with [default: the one beside this program]
    #[arg(long, value_name = "PROGRAM", requires = "data")]
    pub check_with: Option<PathBuf>,
}

impl Options {
    /// Checks the folder, if one is named, and with it what clients were told, if there is a history of that. The checker
    /// prints to this process's own output.
    ///
    /// # Errors
    /// When the checker cannot be started.
    pub fn check(&self, clients: Option<&Path>) -> anyhow::Result<bool> {
        let Some(data) = &self.data else { return Ok(true) };
        match &self.check_with {
            Some(program) => check(program, data, clients),
            None => check(
                &std::env::current_exe().context("this program's folder is not known")?.with_file_name("orderly"),
                data,
                clients,
            ),
        }
    }
}

fn check(program: &Path, data: &Path, clients: Option<&Path>) -> anyhow::Result<bool> {
    let mut check = Command::new(program);
    check.arg("check").arg("--data").arg(data);
    if let Some(clients) = clients {
        check.arg("--clients").arg(clients);
    }
    let status = check.status().with_context(|| {
        format!("cannot start {}; build it first, or name another by --check-with", program.display())
    })?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkers_status_is_the_verdict() {
        let of = |program: &str| Options { data: Some("folder".into()), check_with: Some(program.into()) }.check(None);
        assert!(of("/bin/true").expect("started"));
        assert!(!of("/bin/false").expect("started"));
        assert!(of("/no/such/program").is_err());
        assert!(Options { data: None, check_with: None }.check(None).expect("nothing to do"));
    }

    #[test]
    fn the_checker_is_told_of_the_history() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("program");
        let script = "#!/bin/sh\n[ \"$*\" = 'check --data folder --clients history' ]\n";
        std::fs::write(&program, script).expect("written");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).expect("made a program");
        let options = Options { data: Some("folder".into()), check_with: Some(program) };
        assert!(options.check(Some(Path::new("history"))).expect("started"));
        assert!(!options.check(None).expect("started"));
    }
}
