//! The distributed profile on this machine, and what each of its processes has taken.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use hyper::header::HeaderValue;
use tokio::time::Instant;

use crate::api::{Api, Role};
use crate::client::Client;
use crate::compare::TOKENS_AT_ONCE;
use crate::compare::cost::{own_cpu_s, usage};
use crate::compare::target::{Target, Words};
use crate::compare::workload::PATIENTS;
use crate::limits::process::{self, Server};
use crate::limits::servers::{Servers, ask};
use crate::replay::{self, Session};

const ANSWER_MAX: Duration = Duration::from_secs(30);
const SETTLE_MAX: Duration = Duration::from_secs(120);
/// How often the backlog is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The gauge of an ingress that says how many of its records are undecided.
const UNDECIDED: &str = "orderly_ingress_undecided";

/// The database that the nodes' configuration names.
const DATABASE: &str = "orderly";

/// One ingress and one pipeline on Kafka, Redis and PostgreSQL, with nothing in them.
pub(super) struct Site {
    pub(super) ingress: Server,
    pub(super) pipeline: Server,
    servers: Servers,
    session_ids: Vec<String>,
}

/// What the processes have taken by now: seconds of the processor, and bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) ingress_s: f64,
    pub(super) pipeline_s: f64,
    pub(super) kafka_s: f64,
    pub(super) redis_s: f64,
    pub(super) postgres_s: f64,
    /// This process: the client.
    pub(super) client_s: f64,
    pub(super) kafka_bytes: f64,
    pub(super) redis_bytes: f64,
    pub(super) postgres_bytes: f64,
}

impl Site {
    /// Starts everything, and opens the sessions.
    pub(super) async fn start(orderly: &Path, sessions: &[Session]) -> anyhow::Result<Self> {
        let servers = Servers::start().await?;
        let config = servers.config()?;
        let pipeline = process::node(orderly, &config, "pipeline").await?;
        let ingress = process::node(orderly, &config, "ingress").await?;
        replay::open(&[Api::new(Client::new(&ingress.url, 1, ANSWER_MAX)?)], sessions).await?;
        let session_ids = sessions.iter().map(|session| session.session_id.clone()).collect();
        Ok(Self { ingress, pipeline, servers, session_ids })
    }

    /// Tokens for all patients; every site takes them.
    pub(super) async fn tokens(&self) -> anyhow::Result<Vec<HeaderValue>> {
        let api = Api::new(Client::new(&self.ingress.url, TOKENS_AT_ONCE, ANSWER_MAX)?);
        let token = |patient: usize| {
            let api = &api;
            async move { api.token(&format!("patient-{patient}"), Role::Patient).await }
        };
        futures::stream::iter((0..PATIENTS).map(token)).buffered(TOKENS_AT_ONCE).try_collect().await
    }

    /// The way to ask it.
    pub(super) fn target(
        &self,
        words: Words,
        bearers: &[HeaderValue],
        connections: usize,
    ) -> anyhow::Result<Arc<Target>> {
        let client = Client::new(&self.ingress.url, connections, ANSWER_MAX)?;
        Ok(Arc::new(Target { client, words, bearers: bearers.to_vec(), session_ids: self.session_ids.clone() }))
    }

    /// Records that the ingress has taken and nobody has decided yet.
    pub(super) async fn undecided(&self) -> anyhow::Result<f64> {
        let api = Api::new(Client::new(&self.ingress.url, 1, ANSWER_MAX)?);
        api.metric(UNDECIDED).await.context("the ingress does not tell its backlog")
    }

    /// Waits until everything is decided.
    pub(super) async fn settle(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + SETTLE_MAX;
        while self.undecided().await? > 0.0 {
            ensure!(Instant::now() < deadline, "not everything was decided in {} s", SETTLE_MAX.as_secs());
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Asks the store, in one column of floats.
    pub(super) async fn ask(&self, question: &str) -> anyhow::Result<f64> {
        let answer = ask(&self.servers.postgres.url(DATABASE), question, |row| Ok(row.try_get::<_, f64>(0)?)).await?;
        answer.context("the store has no answer")
    }

    /// What was taken by now.
    pub(super) async fn taken(&self) -> anyhow::Result<Taken> {
        let of = |id: u32| anyhow::Ok(usage(&[id])?.cpu_s);
        let [ingress_s, pipeline_s] = [of(self.ingress.id()?)?, of(self.pipeline.id()?)?];
        let kafka_s = of(u32::try_from(self.servers.kafka.process(0).id())?)?;
        let redis_s = of(u32::try_from(self.servers.redis.process().id())?)?;
        let postgres_s = of(u32::try_from(self.servers.postgres.process().id())?)?;
        let info = self.servers.redis.ask("INFO memory")?;
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).context("Redis tells its memory")?;
        let size = "SELECT pg_database_size(current_database())::float8";
        Ok(Taken {
            ingress_s,
            pipeline_s,
            kafka_s,
            redis_s,
            postgres_s,
            client_s: own_cpu_s()?,
            kafka_bytes: on_disk(&self.servers.folder().join("kafka")),
            redis_bytes: used.trim().parse()?,
            postgres_bytes: self.ask(size).await?,
        })
    }
}

/// What the files of a folder take; what cannot be read has just been removed.
fn on_disk(folder: &Path) -> f64 {
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    let mut blocks = 0_u64;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(data) if data.is_dir() => folders.push(entry.path()),
                Ok(data) => blocks += data.blocks(),
                Err(_) => {}
            }
        }
    }
    // Linux counts blocks of 512 bytes, whatever the file system's own.
    blocks as f64 * 512.0
}
