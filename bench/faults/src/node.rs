//! One of Orderly's processes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use hyper::header::HeaderValue;
use nix::sys::signal::Signal;
use orderly_bench::api::Api;
use orderly_bench::client::Client;
use orderly_domain::Clock as _;
use orderly_domain::clock::System;
use orderly_stack::{Process, Spec, wait_until};
use serde::Deserialize;
use tokio::net::TcpStream;

use crate::certificates::Certificates;
use crate::clock::Shift;
use crate::front::Front;
use crate::health;

/// A debug build on a busy machine is given time.
const START_MAX: Duration = Duration::from_secs(120);
/// How long one question may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// What it says once it listens, before its address.
const LISTENS: &str = "listens on http";

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

/// How a process is started.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) program: PathBuf,
    pub(crate) config: PathBuf,
    pub(crate) role: &'static str,
    /// Serve TLS with these.
    pub(crate) certificates: Option<Certificates>,
}

/// A running process. It is killed when this is dropped, and when this program ends.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    plan: Plan,
    process: Process,
    address: SocketAddr,
    /// What speaks TLS to it, where it serves that.
    front: Option<Front>,
    url: String,
    api: Api,
}

impl Node {
    /// Starts a process and waits until it listens. What it prints goes to a file of its name in the folder of its
    /// configuration.
    ///
    /// # Errors
    /// When it ends, or does not listen in time.
    pub(crate) fn start(plan: Plan, name: String) -> anyhow::Result<Self> {
        let (process, address) = launch(&plan, &name, (Ipv4Addr::LOCALHOST, 0).into(), None)?;
        let roots = plan.certificates.as_ref().map(Certificates::roots);
        let front = roots.map(|roots| Front::start(address, &roots)).transpose()?;
        let url = front.as_ref().map_or_else(|| format!("http://{address}"), Front::url);
        let api = Api::new(Client::new(&url, 8, ANSWER_MAX)?);
        Ok(Self { name, plan, process, address, front, url, api })
    }

    /// Where it is found, in clear.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What speaks TLS to it, if it serves that.
    pub(crate) const fn front(&self) -> Option<&Front> {
        self.front.as_ref()
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

    /// By how many seconds its clock is ahead of this program's, as its answers say.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) async fn clock_ahead(&self) -> anyhow::Result<i64> {
        let mut stream = TcpStream::connect(self.url.trim_start_matches("http://")).await?;
        let head = health::ask(&mut stream).await?;
        let date = health::header(&head, "date").context("it tells no time")?;
        let there = jiff::fmt::rfc2822::parse(date)?.timestamp();
        Ok(there.as_second() - System.now().to_jiff().as_second())
    }

    /// What runs it, to be signalled.
    pub(crate) const fn process(&self) -> &Process {
        &self.process
    }

    /// Kills it, and starts it again where it listened.
    ///
    /// # Errors
    /// When it does not go, or does not come back.
    pub(crate) fn restart(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.come_back(None)
    }

    /// Asks it to stop, waits until it has by itself, and starts it again where it listened.
    ///
    /// # Errors
    /// When it does not stop, or does not come back.
    pub(crate) fn drain_and_restart(&mut self) -> anyhow::Result<()> {
        self.process.signal(Signal::SIGTERM)?;
        wait_until(&format!("{} stops", self.name), START_MAX, || Ok(!self.is_running()))?;
        self.come_back(None)
    }

    /// Stops it in order, and starts it again where it listened, with a clock that is as far from the right one.
    ///
    /// # Errors
    /// As [`Node::restart`].
    pub(crate) fn restart_with(&mut self, shift: Option<&Shift>) -> anyhow::Result<()> {
        self.process.stop()?;
        self.come_back(shift)
    }

    fn come_back(&mut self, shift: Option<&Shift>) -> anyhow::Result<()> {
        (self.process, self.address) = launch(&self.plan, &self.name, self.address, shift)?;
        Ok(())
    }

    /// Whether it runs still.
    pub(crate) fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// Kills it.
    ///
    /// # Errors
    /// When it does not go.
    pub(crate) fn kill(self) -> anyhow::Result<()> {
        self.process.kill()
    }

    /// Waits until it has ended by itself. Its exit status.
    ///
    /// # Errors
    /// When it goes on.
    pub(crate) fn ended(self) -> anyhow::Result<i32> {
        wait_until(&format!("{} ends", self.name), START_MAX, || Ok(!self.is_running()))?;
        self.process.end()
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

/// Starts a process there, and tells it and where it listens.
fn launch(plan: &Plan, name: &str, listen: SocketAddr, shift: Option<&Shift>) -> anyhow::Result<(Process, SocketAddr)> {
    let Plan { program, config, role, certificates } = plan;
    let log = config.with_file_name(format!("{name}.log"));
    // Its configuration alone tells it what to do.
    let ours = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut args: Vec<_> =
        ours.filter(|name| name.starts_with("ORDERLY_")).flat_map(|name| ["-u".to_owned(), name]).collect();
    if let Some(certificates) = certificates {
        args.push(format!("ORDERLY_TLS__CERTIFICATE_FILE={}", certificates.certificate().display()));
        args.push(format!("ORDERLY_TLS__KEY_FILE={}", certificates.key().display()));
    }
    args.extend(shift.map(Shift::environment).into_iter().flatten());
    args.extend([program.display().to_string(), (*role).to_owned()]);
    args.extend(["--config".to_owned(), config.display().to_string()]);
    args.extend(["--listen".to_owned(), listen.to_string()]);
    if *role == "ingress" {
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
        let said = said.and_then(|(url, _)| url.trim_start_matches('s').strip_prefix("://"));
        address = said.and_then(|address| address.parse().ok());
        address.is_some()
    };
    process.wait_until_ready(START_MAX, listens).with_context(|| format!("{name} does not start"))?;
    Ok((process, address.context("it was told")?))
}
