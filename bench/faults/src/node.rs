//! One of Orderly's processes.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use hyper::header::HeaderValue;
use nix::sys::signal::Signal;
use orderly_bench::api::Api;
use orderly_bench::client::Client;
use orderly_stack::{Process, Spec};
use serde::Deserialize;

/// A debug build on a busy machine is given time.
const START_MAX: Duration = Duration::from_secs(120);
/// How long one question may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// What it says once it listens, before its address.
const LISTENS: &str = "listens on http://";

/// What a process knows of the pipeline.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct State {
    /// The pipeline in the process itself.
    pub(crate) pipeline: Option<Here>,
    pub(crate) partitions: Vec<Partition>,
    /// Records that wait for a decision, in all partitions.
    pub(crate) lag: u64,
}

/// The pipeline in a process.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Here {
    /// Those that are assigned to it.
    pub(crate) partitions: Vec<u16>,
    /// One of them waits for records, even when nothing is to be decided.
    pub(crate) epochs_in_flight: usize,
    pub(crate) decided_total: u64,
}

/// A partition.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Partition {
    pub(crate) log_end: u64,
}

/// A running process. It is killed when this is dropped, and when this program ends.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    role: &'static str,
    process: Process,
    url: String,
    api: Api,
}

impl Node {
    /// Starts a process of that role and waits until it listens. What it prints goes to a file of its name in the folder of
    /// its configuration.
    ///
    /// # Errors
    /// When it ends, or does not listen in time.
    pub(crate) fn start(program: &Path, config: &Path, role: &'static str, name: String) -> anyhow::Result<Self> {
        Self::start_at("127.0.0.1:0", program, config, role, name)
    }

    fn start_at(listen: &str, program: &Path, config: &Path, role: &'static str, name: String) -> anyhow::Result<Self> {
        let log = config.with_file_name(format!("{name}.log"));
        // Its configuration alone tells it what to do.
        let ours = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let mut args: Vec<_> =
            ours.filter(|name| name.starts_with("ORDERLY_")).flat_map(|name| ["-u".to_owned(), name]).collect();
        args.extend([program.display().to_string(), role.to_owned()]);
        args.extend(["--config".to_owned(), config.display().to_string()]);
        args.extend(["--listen".to_owned(), listen.to_owned()]);
        if role == "ingress" {
            args.push("--demo".to_owned());
        }
        let spec = Spec { program: "env".into(), args, env: vec![], user: None, log: log.clone() };
        // What an earlier life said is in it, too.
        let said_before = std::fs::metadata(&log).map_or(0, |log| log.len());
        let process = Process::start(&spec)?;
        let mut address = None;
        let listens = || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let text = usize::try_from(said_before).ok().and_then(|before| text.get(before..)).unwrap_or_default();
            let said = text.rsplit_once(LISTENS).and_then(|(_, rest)| rest.split_once(','));
            address = said.map(|(address, _)| address.to_owned());
            address.is_some()
        };
        process.wait_until_ready(START_MAX, listens).with_context(|| format!("{name} does not start"))?;
        let url = format!("http://{}", address.context("it was told")?);
        let api = Api::new(Client::new(&url, 8, ANSWER_MAX)?);
        Ok(Self { name, role, process, url, api })
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Its API.
    pub(crate) const fn api(&self) -> &Api {
        &self.api
    }

    /// What it knows of the pipeline.
    ///
    /// # Errors
    /// When it does not tell: it is being killed, or does not reach its servers.
    pub(crate) async fn state(&self, ops: &HeaderValue) -> anyhow::Result<State> {
        self.api.read("/v1/pipeline", ops).await
    }

    /// Its own pipeline.
    ///
    /// # Errors
    /// As [`Node::state`], and when it has none.
    pub(crate) async fn pipeline(&self, ops: &HeaderValue) -> anyhow::Result<Here> {
        self.state(ops).await?.pipeline.with_context(|| format!("{} runs no pipeline", self.name))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.process.signal(signal)
    }

    /// Kills it, and starts it again where it listened.
    ///
    /// # Errors
    /// When it does not go, or does not come back.
    pub(crate) fn restart(&mut self, program: &Path, config: &Path) -> anyhow::Result<()> {
        self.process.kill()?;
        let listen = self.url.trim_start_matches("http://").to_owned();
        *self = Self::start_at(&listen, program, config, self.role, self.name.clone())?;
        Ok(())
    }

    /// Kills it.
    ///
    /// # Errors
    /// When it does not go.
    pub(crate) fn kill(self) -> anyhow::Result<()> {
        self.process.kill()
    }

    /// Asks it to stop, and waits.
    ///
    /// # Errors
    /// When it does not stop in order.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        let status = self.process.end()?;
        anyhow::ensure!(status == 0, "{} ended with status {status}; see its log", self.name);
        Ok(())
    }
}
