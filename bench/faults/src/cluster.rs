//! A cluster: the servers, several pipelines, two ingresses, a relay and an auditor, each a process of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hyper::header::HeaderValue;
use orderly_bench::api::{Api, Role};
use orderly_bench::client::Client;
use serde::Deserialize;

use crate::certificates::Certificates;
use crate::clock::Clocks;
use crate::config;
use crate::fault::Fault;
use crate::node::{Node, Plan};
use crate::recovery::{PATIENCE, POLL, until};
use crate::servers::Servers;

/// Pipelines at the start.
pub const PIPELINES: usize = 3;
/// Partitions of the log: the default.
pub(crate) const PARTITIONS: u16 = 8;
const INGRESSES: usize = 2;
/// How often the log has to look the same until nothing more is to come.
const IDLE_LOOKS: u32 = 5;
/// How long one call of this program's own may take; longer than what it waits for.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A running cluster. Everything is killed when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    // Before the servers, so that nobody is left to miss them.
    pub(crate) pipelines: Vec<Node>,
    pub(crate) ingresses: Vec<Node>,
    pub(crate) relay: Node,
    pub(crate) auditor: Node,
    pub(crate) servers: Servers,
    pub(crate) ops: HeaderValue,
    desk: Api,
    pub(crate) certificates: Certificates,
    /// Or why there are none.
    pub(crate) clocks: Result<Clocks, String>,
    pub(crate) program: PathBuf,
    pub(crate) config: PathBuf,
    folder: PathBuf,
    /// How many pipelines were ever started.
    started: usize,
}

/// What the auditor tells.
#[derive(Debug, Deserialize)]
struct Audited {
    invariants: Vec<Audit>,
}

#[derive(Debug, Deserialize)]
struct Audit {
    invariant: String,
    checked: u64,
    rows: Vec<String>,
}

impl Cluster {
    /// Starts a cluster of the `orderly` program in an empty folder, and waits until its pipelines share the partitions and
    /// the demo hospital is decided.
    ///
    /// # Errors
    /// When a server or a process does not start.
    pub async fn start(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let program = std::path::absolute(program)?;
        let folder = std::path::absolute(folder)?;
        let servers = tokio::task::block_in_place(|| Servers::start(&folder))?;
        let config = config::write(&folder, &servers)?;
        let certificates = tokio::task::block_in_place(|| Certificates::make(&program, folder.join("certs")))?;
        let plan =
            |role: &'static str| Plan { program: program.clone(), config: config.clone(), role, certificates: None };
        let node = |role: &'static str, name: String| Node::start(plan(role), name);
        // The last ingress serves TLS, the others do not.
        let ingress = |nth: usize| {
            let certificates = (nth == INGRESSES).then(|| certificates.clone());
            Node::start(Plan { certificates, ..plan("ingress") }, format!("ingress-{nth}"))
        };
        // The first one makes the schemas.
        let (relay, pipelines, ingresses, auditor) = tokio::task::block_in_place(|| {
            let relay = node("relay", "relay".into())?;
            let pipelines = (1..=PIPELINES).map(|nth| node("pipeline", format!("pipeline-{nth}")));
            let pipelines = pipelines.collect::<anyhow::Result<Vec<_>>>()?;
            let ingresses = (1..=INGRESSES).map(ingress).collect::<anyhow::Result<Vec<_>>>()?;
            anyhow::Ok((relay, pipelines, ingresses, node("audit-run", "auditor".into())?))
        })?;
        let urls = ingresses.iter().map(Node::url).collect::<Vec<_>>().join(",");
        let desk = Api::new(Client::new(&urls, 64, ANSWER_MAX)?);
        let ops = desk.token("faults", Role::Ops).await?;
        let cluster = Self {
            pipelines,
            ingresses,
            relay,
            auditor,
            servers,
            ops,
            desk,
            certificates,
            clocks: Clocks::prepare(&folder).map_err(|error| format!("{error:#}")),
            program,
            config,
            folder,
            started: PIPELINES,
        };
        cluster.until_shared().await?;
        cluster.until_idle().await?;
        Ok(cluster)
    }

    /// The API, on whichever ingress answers.
    pub(crate) const fn desk(&self) -> &Api {
        &self.desk
    }

    /// The ingresses' addresses, with commas between.
    pub(crate) fn urls(&self) -> String {
        self.ingresses.iter().map(Node::url).collect::<Vec<_>>().join(",")
    }

    /// Where everything lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a process of that name tells what it does.
    pub(crate) fn log_of(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// Starts one more pipeline.
    pub(crate) fn add_pipeline(&mut self) -> anyhow::Result<()> {
        let (plan, name) = self.next_pipeline();
        self.pipelines.push(Node::start(plan, name)?);
        Ok(())
    }

    /// How one more pipeline is started, and its name.
    pub(crate) fn next_pipeline(&mut self) -> (Plan, String) {
        self.started += 1;
        let (program, config) = (self.program.clone(), self.config.clone());
        (Plan { program, config, role: "pipeline", certificates: None }, format!("pipeline-{}", self.started))
    }

    /// Why a fault cannot be done here, if so: it takes something that this machine has not.
    pub(crate) fn lacks(&self, fault: Fault) -> Option<String> {
        match fault {
            Fault::RedisFull | Fault::PostgresFull => self.servers.disks.as_ref().err().cloned(),
            Fault::ClockShifted => self.clocks.as_ref().err().cloned(),
            _ => None,
        }
    }

    /// Waits until every pipeline has its share, and all partitions are somebody's.
    pub(crate) async fn until_shared(&self) -> anyhow::Result<()> {
        let shares = |count: usize| {
            let least = usize::from(PARTITIONS) / count;
            least..=least + usize::from(usize::from(PARTITIONS) % count > 0)
        };
        let fair = shares(self.pipelines.len());
        until("the partitions are shared", async || {
            let mut all = Vec::new();
            for node in &self.pipelines {
                let owned = node.pipeline(&self.ops).await?.partitions;
                if !fair.contains(&owned.len()) {
                    bail!("{} has partitions {owned:?}", node.name);
                }
                all.extend(owned);
            }
            all.sort_unstable();
            anyhow::ensure!(all == (0..PARTITIONS).collect::<Vec<_>>(), "the partitions that somebody has: {all:?}");
            Ok(())
        })
        .await
    }

    /// Waits until the others have taken over what this pipeline had.
    pub(crate) async fn until_others_have_all(&self, but: usize) -> anyhow::Result<()> {
        until("the others have taken over", async || {
            let mut owned = 0;
            for node in self.pipelines.iter().enumerate().filter_map(|(nth, node)| (nth != but).then_some(node)) {
                owned += node.pipeline(&self.ops).await?.partitions.len();
            }
            anyhow::ensure!(owned == usize::from(PARTITIONS), "they have {owned} of {PARTITIONS} partitions");
            Ok(())
        })
        .await
    }

    /// Waits until nothing is left to decide and nothing more comes.
    pub(crate) async fn until_idle(&self) -> anyhow::Result<()> {
        let idle = async {
            let (mut looks, mut before) = (0, None);
            while looks < IDLE_LOOKS {
                let state = self.ingresses[0].state(&self.ops).await.ok();
                let end = state.filter(|state| state.lag == 0);
                let end = end.map(|state| state.partitions.iter().map(|part| part.log_end).sum::<u64>());
                looks = if end.is_some() && end == before { looks + 1 } else { 0 };
                before = end;
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(PATIENCE, idle).await.context("the pipelines do not decide everything")
    }

    /// Runs `orderly check --idle` with a history of what clients were told; its report. The auditor, which looked on all the
    /// time, must be content too.
    ///
    /// # Errors
    /// When an invariant is broken.
    pub(crate) async fn check(&self, clients: &Path) -> anyhow::Result<String> {
        self.until_idle().await?;
        self.audited().await?;
        let mut check = Command::new(&self.program);
        check.args(["check", "--idle", "--config"]).arg(&self.config).arg("--clients").arg(clients);
        let told = tokio::task::block_in_place(|| check.output()).context("cannot start the checker")?;
        let text = format!("{}{}", String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
        anyhow::ensure!(told.status.success(), "the checker is not content:\n{text}");
        Ok(text)
    }

    /// Waits until the auditor has judged all that is decided.
    ///
    /// # Errors
    /// When it found something.
    async fn audited(&self) -> anyhow::Result<()> {
        let state = self.ingresses[0].state(&self.ops).await?;
        let decided: u64 = state.partitions.iter().map(|part| part.log_end).sum();
        let mut found = Vec::new();
        until("the auditor has judged everything", async || {
            let audited: Audited = self.auditor.api().read("/report", &self.ops).await?;
            // What it found once stays found.
            found = audited.invariants.iter().flat_map(|finding| finding.rows.clone()).collect();
            let judged = audited.invariants.iter().find(|finding| finding.invariant == "exactly_once");
            let judged = judged.map_or(0, |finding| finding.checked);
            anyhow::ensure!(!found.is_empty() || judged >= decided, "it has judged {judged} of {decided} decisions");
            Ok(())
        })
        .await?;
        anyhow::ensure!(found.is_empty(), "the auditor is not content:\n{}", found.join("\n"));
        Ok(())
    }

    /// Stops every process, those that take requests first.
    ///
    /// # Errors
    /// When one does not stop in order.
    pub fn stop(self) -> anyhow::Result<()> {
        let Self { pipelines, ingresses, relay, auditor, servers, .. } = self;
        for node in ingresses.into_iter().chain(pipelines).chain([relay, auditor]) {
            node.stop()?;
        }
        drop(servers);
        Ok(())
    }
}
