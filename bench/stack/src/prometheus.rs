//! Prometheus, looking at Orderly's processes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::process::{Process, Spec, free_port};

const READY_MAX: Duration = Duration::from_secs(60);

/// How the server is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The loopback port; `None` for one that is free.
    pub port: Option<u16>,
    /// HOST:PORT of every process whose metrics are collected.
    pub targets: Vec<String>,
}

/// A running Prometheus server on the loopback address. It is killed when this is dropped, and when this process ends.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    port: u16,
}

impl Prometheus {
    /// Starts a server whose data lie in `folder`.
    ///
    /// # Errors
    /// When Prometheus is not installed, or does not start.
    pub fn start(folder: &Path, options: &Options) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let folder = std::path::absolute(folder)?;
        let targets: Vec<_> = options.targets.iter().map(|target| format!("{target:?}")).collect();
        let config = folder.join("prometheus.yml");
        let text = format!(
            "global:\n  scrape_interval: 2s\nscrape_configs:\n  - job_name: orderly\n    static_configs:\n      - targets: [{}]\n",
            targets.join(", ")
        );
        std::fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        let port = options.port.map_or_else(free_port, Ok)?;
        let process = Process::start(&Spec {
            program: PathBuf::from("prometheus"),
            args: vec![
                format!("--config.file={}", config.display()),
                format!("--storage.tsdb.path={}", folder.join("data").display()),
                "--storage.tsdb.retention.time=1d".to_owned(),
                format!("--web.listen-address=127.0.0.1:{port}"),
            ],
            env: Vec::new(),
            user: None,
            log: folder.join("prometheus.log"),
        })
        .context("is Prometheus installed? Its Debian package is prometheus")?;
        process.wait_until_listening(port, READY_MAX)?;
        Ok(Self { process, port })
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its process.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }
}
