//! The systems, started for one load each, with the servers that they need.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use orderly_baselines::{Booked, Kind};
use orderly_stack::postgres::{self, Postgres};
use orderly_stack::redis::{self, Redis};
use serde::Serialize;
use tempfile::TempDir;
use tokio::process::Command;

use super::record::{baseline_record, distributed_record, embedded_record};
use super::target::Words;
use crate::api::Api;
use crate::client::Client;
use crate::limits::process::{self, Server};
use crate::limits::servers::{Servers, ask};
use crate::replay::{self, Session};

pub(super) const ANSWER_MAX: Duration = Duration::from_secs(90);
/// How long an accepted booking may take to be in the distributed profile's store.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// The distributed profile's database.
pub(super) const DATABASE: &str = "orderly";
/// What Orderly's servers sign tokens with, so that tokens outlive each of them.
const KEY: &str = "a key of a measurement on the loopback address\n";
/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum System {
    /// Orderly, embedded: one process and files
    Orderly,
    /// Orderly, distributed: one ingress and one pipeline on Kafka, Redis and PostgreSQL
    Distributed,
    /// PostgreSQL, a row lock
    RowLock,
    /// PostgreSQL, a version column
    Optimistic,
    /// PostgreSQL, one conditional statement
    Conditional,
    /// A lock in Redis around PostgreSQL
    RedisLock,
    /// Redis first, PostgreSQL later
    RedisQueue,
    /// Memory, nothing is kept
    Memory,
}

impl System {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::Orderly,
        Self::Distributed,
        Self::Conditional,
        Self::RowLock,
        Self::Optimistic,
        Self::RedisLock,
        Self::RedisQueue,
        Self::Memory,
    ];

    /// What a table calls it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Orderly => "Orderly, embedded",
            Self::Distributed => "Orderly, distributed",
            Self::RowLock => "row lock",
            Self::Optimistic => "optimistic",
            Self::Conditional => "conditional update",
            Self::RedisLock => "Redis lock",
            Self::RedisQueue => "Redis first, queue",
            Self::Memory => "memory only",
        }
    }

    const fn kind(self) -> Option<Kind> {
        match self {
            Self::Orderly | Self::Distributed => None,
            Self::RowLock => Some(Kind::RowLock),
            Self::Optimistic => Some(Kind::Optimistic),
            Self::Conditional => Some(Kind::Conditional),
            Self::RedisLock => Some(Kind::RedisLock),
            Self::RedisQueue => Some(Kind::RedisQueue),
            Self::Memory => Some(Kind::Memory),
        }
    }

    /// Whether it is a baseline that answers once a booking is on the disk.
    #[must_use]
    pub const fn answers_from_disk(self) -> bool {
        matches!(self, Self::Conditional | Self::RowLock | Self::Optimistic | Self::RedisLock)
    }

    /// Whether it is a baseline that keeps bookings on a disk, when they are answered or later: all but the one in memory.
    #[must_use]
    pub const fn is_of_the_five(self) -> bool {
        self.answers_from_disk() || matches!(self, Self::RedisQueue)
    }

    /// How bookings are asked for.
    pub(super) const fn words(self) -> Words {
        match self {
            Self::Orderly | Self::Distributed => Words::Wait,
            _ => Words::Plain,
        }
    }
}

/// The servers of the baselines, and the programs.
pub(super) struct Lab {
    orderly: PathBuf,
    baselines: PathBuf,
    pool: usize,
    pub(super) postgres: Postgres,
    pub(super) redis: Redis,
    /// Databases made so far.
    databases: u32,
    key: PathBuf,
    folder: TempDir,
}

impl Lab {
    /// Starts PostgreSQL and Redis as `make up` does.
    pub(super) async fn start(orderly: PathBuf, baselines: PathBuf, pool: usize) -> anyhow::Result<Self> {
        for program in [&orderly, &baselines] {
            ensure!(program.exists(), "{} is missing; build it by `make build`", program.display());
        }
        tokio::task::spawn_blocking(move || {
            let folder = tempfile::tempdir()?;
            // PostgreSQL's user has to reach its own folder in it.
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
            let postgres = Postgres::start(&folder.path().join("postgres"), postgres::Options::default())?;
            let redis = Redis::start(&folder.path().join("redis"), redis::Options::for_trying_out())?;
            let key = folder.path().join("auth.key");
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&key)?;
            file.write_all(KEY.as_bytes())?;
            Ok(Self { orderly, baselines, pool, postgres, redis, databases: 0, key, folder })
        })
        .await?
    }

    /// Orderly, embedded, on a fresh folder.
    pub(super) async fn embedded(&self) -> anyhow::Result<Server> {
        let key = self.key.to_str().context("the folder for temporary files has a name in UTF-8")?;
        process::orderly_with(&self.orderly, &[("ORDERLY_AUTH__KEY_FILE", key)]).await
    }

    /// Orderly, distributed, on servers of its own: the ingress, and the pipeline.
    pub(super) async fn distributed(&self) -> anyhow::Result<(Box<Servers>, Vec<Server>)> {
        let servers = Box::new(Servers::start().await?);
        let config = servers.config()?;
        let pipeline = process::node(&self.orderly, &config, "pipeline").await?;
        let ingress = process::node(&self.orderly, &config, "ingress").await?;
        Ok((servers, vec![ingress, pipeline]))
    }

    /// A baseline on a database.
    pub(super) async fn baseline(&self, kind: Kind, database: &str, redis: &Redis) -> anyhow::Result<Server> {
        let mut command = Command::new(&self.baselines);
        command.arg(clap::ValueEnum::to_possible_value(&kind).context("every kind has a name")?.get_name());
        command.args(["--postgres", &self.postgres.url(database), "--redis", &redis.url()]);
        command.args(["--pool", &self.pool.to_string()]);
        process::start(command, tempfile::tempdir()?, "/readyz").await
    }

    /// A fresh database.
    pub(super) fn database(&mut self) -> anyhow::Result<String> {
        self.databases += 1;
        let name = format!("run_{}", self.databases);
        self.postgres.create_database(&name)?;
        Ok(name)
    }

    /// Starts a system that holds nothing yet.
    pub(super) async fn system(&mut self, system: System) -> anyhow::Result<Running> {
        let mut running = match system {
            System::Orderly => Running::new(system, vec![self.embedded().await?], Behind::Files),
            System::Distributed => {
                let (servers, nodes) = self.distributed().await?;
                Running::new(system, nodes, Behind::Servers(servers))
            }
            _ => {
                let kind = system.kind().context("it is a baseline")?;
                self.redis.ask("FLUSHALL")?;
                let database = self.database()?;
                let server = self.baseline(kind, &database, &self.redis).await?;
                let mut running = Running::new(system, vec![server], Behind::Database(self.postgres.url(&database)));
                if system != System::Memory {
                    running.roots.push(u32::try_from(self.postgres.process().id())?);
                }
                if matches!(system, System::RedisLock | System::RedisQueue) {
                    running.roots.push(u32::try_from(self.redis.process().id())?);
                }
                running
            }
        };
        if let Behind::Servers(servers) = &running.behind {
            let ids = [servers.postgres.process().id(), servers.redis.process().id(), servers.kafka.process(0).id()];
            running.roots.extend(ids.into_iter().map(u32::try_from).collect::<Result<Vec<_>, _>>()?);
        }
        for server in &running.servers {
            running.roots.push(server.id()?);
        }
        // What earlier loads left to write is not this one's.
        if let Some(url) = running.postgres_url() {
            ask(&url, "CHECKPOINT", |_| Ok(())).await?;
        }
        running.syncs_before = running.syncs().await?;
        Ok(running)
    }

    /// Orderly's checker on a data folder that nobody uses.
    pub(super) async fn check(&self, data: &Path) -> anyhow::Result<bool> {
        let mut check = Command::new(&self.orderly);
        check.args(["check", "--idle", "--json", "--data"]).arg(data);
        let output = check.output().await.context("the checker cannot be started")?;
        ensure!(!output.stdout.is_empty(), "the checker could not check: {}", String::from_utf8_lossy(&output.stderr));
        Ok(output.status.success())
    }

    /// Where a measurement's own files lie.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Where a system keeps its record.
enum Behind {
    Files,
    Servers(Box<Servers>),
    Database(String),
}

/// A system under load.
pub(super) struct Running {
    system: System,
    /// The first one takes requests.
    servers: Vec<Server>,
    behind: Behind,
    /// The first processes of all of it.
    pub(super) roots: Vec<u32>,
    syncs_before: Option<f64>,
    /// What [`Running::count_syncs`] has seen.
    syncs_after: Option<f64>,
}

/// What was found when it had ended.
pub(super) struct Ended {
    pub(super) record: Vec<Booked>,
    pub(super) checker_holds: Option<bool>,
    /// Waits for the disk since the start, where they can be counted.
    pub(super) syncs: Option<f64>,
}

impl Running {
    fn new(system: System, servers: Vec<Server>, behind: Behind) -> Self {
        Self { system, servers, behind, roots: Vec::new(), syncs_before: None, syncs_after: None }
    }

    /// Where it takes requests.
    pub(super) fn url(&self) -> &str {
        &self.servers[0].url
    }

    fn postgres_url(&self) -> Option<String> {
        match &self.behind {
            Behind::Files => None,
            Behind::Servers(servers) => Some(servers.postgres.url(DATABASE)),
            Behind::Database(url) => Some(url.clone()),
        }
    }

    /// Opens sessions.
    pub(super) async fn open(&self, sessions: &[Session]) -> anyhow::Result<()> {
        if self.system.kind().is_some() {
            return open_baseline(self.url(), sessions).await;
        }
        replay::open(&[Api::new(Client::new(self.url(), 1, ANSWER_MAX)?)], sessions).await
    }

    /// Waits until what was answered is in the system of record.
    pub(super) async fn settle(&self) -> anyhow::Result<()> {
        if self.system == System::RedisQueue { baseline_record(self.url()).await.map(drop) } else { Ok(()) }
    }

    /// Waits until all that Orderly has accepted is decided.
    pub(super) async fn decide_all(&self) -> anyhow::Result<()> {
        /// The gauge of an ingress that says how many of its records are undecided.
        const UNDECIDED: &str = "orderly_ingress_undecided";
        let api = Api::new(Client::new(self.url(), 1, ANSWER_MAX)?);
        let deadline = tokio::time::Instant::now() + SETTLE_MAX;
        while api.metric(UNDECIDED).await.context("the ingress does not tell its backlog")? > 0.0 {
            ensure!(tokio::time::Instant::now() < deadline, "not everything was decided in {} s", SETTLE_MAX.as_secs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// How often the disk was waited for by now: PostgreSQL's count; for the embedded profile, the transactions of the log, each
    /// of which waits once.
    async fn syncs(&self) -> anyhow::Result<Option<f64>> {
        if self.system == System::Memory {
            return Ok(None);
        }
        if let Some(url) = self.postgres_url() {
            let count = |row: &tokio_postgres::Row| Ok(row.try_get::<_, i64>(0)? as f64);
            return ask(&url, "SELECT wal_sync FROM pg_stat_wal", count).await;
        }
        let api = Api::new(Client::new(self.url(), 1, ANSWER_MAX)?);
        Ok(api.metric("orderly_log_group_records_count").await)
    }

    /// Counts how often the disk was waited for by now, where what comes later is not to be counted. A baseline's connections
    /// tell their counts when they end.
    pub(super) async fn count_syncs(&mut self) -> anyhow::Result<()> {
        self.syncs_after = self.syncs().await?;
        Ok(())
    }

    /// Ends it and reads its record.
    pub(super) async fn end(self, lab: &Lab) -> anyhow::Result<Ended> {
        let (before, counted) = (self.syncs_before, self.syncs_after);
        let since = |now: Option<f64>| now.zip(before).map(|(now, before)| now - before);
        match &self.behind {
            Behind::Files => {
                let syncs = since(if counted.is_some() { counted } else { self.syncs().await? });
                let server = self.servers.into_iter().next().context("it has a server")?;
                let folder = server.stop().await?;
                let data = folder.path().join("data");
                let checker_holds = Some(lab.check(&data).await?);
                Ok(Ended { record: embedded_record(&data)?, checker_holds, syncs })
            }
            Behind::Servers(servers) => {
                let syncs = since(if counted.is_some() { counted } else { self.syncs().await? });
                let record = distributed_record(servers).await?;
                Ok(Ended { record, checker_holds: None, syncs })
            }
            Behind::Database(url) => {
                let (record, url) = (baseline_record(self.url()).await?, url.clone());
                let (system, behind) = (self.system, Behind::Database(url.clone()));
                for server in self.servers {
                    server.kill().await?;
                }
                // A connection tells its counts when it ends.
                until_left(&url).await?;
                let ended = Self::new(system, Vec::new(), behind);
                Ok(Ended { record, checker_holds: None, syncs: since(ended.syncs().await?) })
            }
        }
    }
}

/// Opens a baseline's sessions.
pub(super) async fn open_baseline(url: &str, sessions: &[Session]) -> anyhow::Result<()> {
    let session = |session: &Session| {
        Ok(orderly_baselines::Session {
            session_id: session.session_id.clone(),
            department: session.department.clone(),
            day: session.day,
            capacity: i32::try_from(session.capacity)?,
        })
    };
    let sessions = sessions.iter().map(session).collect::<anyhow::Result<Vec<_>>>()?;
    let answer = reqwest::Client::new().post(format!("{url}/sessions")).json(&sessions).send().await?;
    ensure!(answer.status().is_success(), "the sessions could not be opened: {}", answer.text().await?);
    Ok(())
}

/// Waits until nobody else is connected to a database.
async fn until_left(url: &str) -> anyhow::Result<()> {
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let deadline = tokio::time::Instant::now() + SETTLE_MAX;
    while ask(url, others, |row| Ok(row.try_get::<_, i64>(0)?)).await? != Some(0) {
        ensure!(tokio::time::Instant::now() < deadline, "a baseline that was killed still has connections");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
