//! The machine that a figure was measured on, and what else a report must say of where it comes from.

use serde::Serialize;

/// Its processor, cores and memory in one line.
#[must_use]
pub fn describe() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let processor = field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok())
        .map(|kibibytes| format!(", {:.0} GiB", kibibytes / 1_048_576.0));
    format!("{processor}, {cores} cores{}", memory.unwrap_or_default())
}

/// Where, when, of which source, how and with what a report was made.
#[derive(Clone, Debug, Serialize)]
pub struct Origin {
    /// The machine.
    pub machine: String,
    /// The commit of the sources.
    pub commit: String,
    /// The day, in UTC.
    pub date: String,
    /// The command line.
    pub command: String,
    /// Of the compiler, the kernel, and the servers that were part of it.
    pub versions: Vec<String>,
}

impl Origin {
    /// This process's, without servers.
    #[must_use]
    pub fn here() -> Self {
        let sqlite = format!("SQLite {}", rusqlite::version());
        Self {
            machine: describe(),
            commit: commit(),
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
            command: command(),
            versions: vec![compiler().to_owned(), kernel(), sqlite],
        }
    }

    /// As lines for people.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let made =
            [self.machine.clone(), format!("commit {}, {}", self.commit, self.date), format!("`{}`", self.command)];
        made.into_iter().chain(self.versions.iter().cloned())
    }
}

/// What compiled this program.
#[must_use]
pub const fn compiler() -> &'static str {
    env!("ORDERLY_RUSTC")
}

/// The operating system's kernel.
fn kernel() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} {}", std::env::consts::OS, release.trim())
}

/// The commit of the sources in this folder, marked where they differ from it; `unknown` where there is none. Documents may
/// differ: reports are among them, and the one before this one may just have been written.
#[must_use]
pub fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".to_owned() };
    let status = ["status", "--porcelain", "--untracked-files=no", "--", ":/", ":(exclude,top)docs"];
    let is_changed = git(&status).is_some_and(|changes| !changes.is_empty());
    if is_changed { format!("{commit}, with changes") } else { commit }
}

/// The command line of this process, its program without the folder.
#[must_use]
pub fn command() -> String {
    let mut arguments = std::env::args();
    let program = arguments.next().unwrap_or_default();
    let program = std::path::Path::new(&program).file_name().map(|name| name.to_string_lossy().into_owned());
    program.into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
}

fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_field() {
        let text = "processor\t: 0\nmodel name\t: A Processor @ 2 GHz\n";
        assert_eq!(field(text, "model name").as_deref(), Some("A Processor @ 2 GHz"));
        assert_eq!(field(text, "flags"), None);
    }

    #[test]
    fn an_origin_names_what_made_it() {
        let versions = Origin::here().versions;
        for of in ["rustc 1.", "linux ", "SQLite 3."] {
            assert!(versions.iter().any(|version| version.starts_with(of)), "{of} in {versions:?}");
        }
    }
}
