//! Today's ClickHouse engine, chDB, behind a small HTTP front: what the analytics adapter meets on a new server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::clickhouse::answers;
use crate::{Process, Spec, free_port};

/// Which chDB; `bench/stack/clickhouse/fetch-chdb.sh` fetches this one.
const VERSION: &str = include_str!("../clickhouse/chdb-version");
const PROGRAM: &str = "orderly-chdb";
const START_MAX: Duration = Duration::from_secs(120);
/// How often other ports are tried when somebody took the free one first.
const ATTEMPTS: usize = 5;

/// What can be set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The port of its HTTP interface; a free one when `None`.
    pub http_port: Option<u16>,
}

/// A running engine with its front, on the loopback address. It asks for no password and takes no compressed rows.
#[derive(Debug)]
pub struct ChDb {
    process: Process,
    spec: Spec,
    http_port: u16,
}

impl ChDb {
    /// Starts one in a folder, with what an earlier one left there.
    ///
    /// # Errors
    /// When the library or the front is missing, or it is not ready in time.
    pub fn start(folder: &Path, options: Options) -> anyhow::Result<Self> {
        let (front, library) = (front()?, library()?);
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        let mut failed = None;
        for _ in 0..if options.http_port.is_some() { 1 } else { ATTEMPTS } {
            let http_port = options.http_port.map_or_else(free_port, Ok)?;
            let data = folder.join("data");
            let spec = Spec {
                program: front.clone(),
                args: vec![library.display().to_string(), data.display().to_string(), http_port.to_string()],
                env: vec![],
                user: None,
                log: folder.join("server.log"),
            };
            match start(&spec, http_port) {
                Ok(process) => return Ok(Self { process, spec, http_port }),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.context("it was tried at least once")?)
    }

    /// Starts it again, on the same port and in the same folder. A running one is killed: the engine does not stop well.
    ///
    /// # Errors
    /// As [`ChDb::start`].
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process = start(&self.spec, self.http_port)?;
        Ok(())
    }

    /// The address of its HTTP interface.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    /// Its process, to be signalled or killed.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }
}

fn start(spec: &Spec, http_port: u16) -> anyhow::Result<Process> {
    let process = Process::start(spec)?;
    process.wait_until_ready(START_MAX, || answers(http_port))?;
    Ok(process)
}

/// The front is built beside the program that runs now, or, for a test, one folder above.
fn front() -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    match here.ancestors().skip(1).take(2).map(|folder| folder.join(PROGRAM)).find(|file| file.is_file()) {
        Some(file) => Ok(file),
        None => bail!("{PROGRAM} is missing; build it as this program was built: cargo build -p {PROGRAM}"),
    }
}

fn library() -> anyhow::Result<PathBuf> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).context("HOME is not set")?;
    let file = cache.join("orderly").join(format!("chdb-{}", VERSION.trim())).join("libchdb.so");
    if !file.is_file() {
        bail!("{} is missing; fetch it: bench/stack/clickhouse/fetch-chdb.sh", file.display());
    }
    Ok(file)
}
