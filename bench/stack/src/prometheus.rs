//! Prometheus, looking at Orderly's processes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::process::{Process, Spec, free_port};

/// Its configuration, which names the file of targets that lies beside it.
const CONFIGURATION: &str = include_str!("../../../deploy/prometheus.yml");
/// What it computes and when it calls somebody; lies beside the configuration too.
const RULES: &str = include_str!("../../../dashboards/prometheus/rules.yml");
/// The file of targets. Prometheus notices when it changes.
const TARGETS: &str = "targets.json";
/// How long it keeps what it has collected.
pub const RETENTION: &str = "--storage.tsdb.retention.time=1d";

/// The version that is tried: Debian 12 has it.
pub const VERSION: &str = "2.42.0";

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
        set_targets(&folder, &options.targets)?;
        let config = folder.join("prometheus.yml");
        for (path, text) in [(&config, CONFIGURATION), (&folder.join("rules.yml"), RULES)] {
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let port = options.port.map_or_else(free_port, Ok)?;
        let process = Process::start(&Spec {
            program: PathBuf::from("prometheus"),
            args: vec![
                format!("--config.file={}", config.display()),
                format!("--storage.tsdb.path={}", folder.join("data").display()),
                RETENTION.to_owned(),
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

/// Tells the server whose data lie in `folder` what to look at from now on, whether it runs or not.
///
/// # Errors
/// When the file of targets cannot be written.
pub fn set_targets(folder: &Path, targets: &[String]) -> anyhow::Result<()> {
    let targets: Vec<_> = targets.iter().map(|target| format!("{target:?}")).collect();
    let (file, new) = (folder.join(TARGETS), folder.join("targets.json.new"));
    let text = format!("[{{\"targets\": [{}]}}]\n", targets.join(", "));
    // Nobody reads half of it.
    std::fs::write(&new, text)
        .and_then(|()| std::fs::rename(&new, &file))
        .with_context(|| format!("cannot write {}", file.display()))
}
