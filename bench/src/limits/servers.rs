//! The servers of the distributed profile, started for a measurement, and Orderly's adapters on them.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use orderly_domain::clock::System;
use orderly_domain::personal::Pseudonyms;
use orderly_pipeline::Ports;
use orderly_sinks::{fanout, ledger, log, store};
use orderly_stack::{kafka, postgres, redis};
use prometheus::Registry;
use tempfile::TempDir;
use tokio_postgres::NoTls;

/// Partitions of every log that is measured.
pub(crate) const PARTITIONS: u16 = 8;

/// A key of 32 bytes: nobody but a measurement's processes sees what it seals.
const KEY: &str = "QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUI=";

/// The pseudonyms of a measurement.
pub(crate) fn pseudonyms() -> Pseudonyms {
    Pseudonyms::new(KEY.as_bytes()).expect("it is longer than 32 bytes")
}

/// Kafka, Redis and PostgreSQL, as `make up` starts them. They end when this is dropped.
pub(crate) struct Servers {
    pub(crate) kafka: kafka::Kafka,
    pub(crate) redis: redis::Redis,
    pub(crate) postgres: postgres::Postgres,
    folder: TempDir,
}

impl Servers {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        tokio::task::spawn_blocking(|| {
            let folder = tempfile::tempdir()?;
            // PostgreSQL's user has to reach its own folder in it.
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
            let at = |name: &str| folder.path().join(name);
            let postgres = postgres::Postgres::start(&at("postgres"), postgres::Options::default())?;
            let append_only = redis::Options { append_only: true, ..redis::Options::default() };
            let redis = redis::Redis::start(&at("redis"), append_only)?;
            let kafka = kafka::Kafka::start(&at("kafka"), &kafka::Options::default())?;
            anyhow::Ok(Self { kafka, redis, postgres, folder })
        })
        .await?
    }

    /// Where the servers keep their files, each in a folder of its name.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The options of a log of its own.
    pub(crate) fn log(&self, topic: &str) -> log::kafka::Options {
        log::kafka::Options {
            brokers: self.kafka.brokers(),
            topic: topic.to_owned(),
            group: format!("{topic}.group"),
            partitions: PARTITIONS,
            ..Default::default()
        }
    }

    /// The options of a ledger of its own.
    pub(crate) fn ledger(&self, name: &str) -> ledger::redis::Options {
        ledger::redis::Options {
            urls: vec![self.redis.url()],
            prefix: format!("{name}:"),
            log_partitions: PARTITIONS,
            ..Default::default()
        }
    }

    /// The edges of `orderly pipeline`, on a topic, a database and keys of that name.
    pub(crate) async fn ports(&self, name: &str, registry: &Registry) -> anyhow::Result<Ports> {
        self.postgres.create_database(name)?;
        let store = store::postgres::Options::new(self.postgres.url(name));
        let fanout = fanout::redis::Options {
            urls: vec![self.redis.url()],
            stream: format!("{name}:outcomes"),
            listen: false,
            ..Default::default()
        };
        Ok(Ports {
            log: Arc::new(log::kafka::Log::open(self.log(name), registry).await?),
            ledger: Arc::new(ledger::redis::Ledger::open(self.ledger(name), pseudonyms(), registry).await?),
            store: Arc::new(store::postgres::Store::open(store, registry).await?),
            fanout: Arc::new(fanout::redis::Fanout::open(fanout, registry).await?),
            clock: Arc::new(System),
        })
    }

    /// A configuration for Orderly's processes.
    pub(crate) fn config(&self) -> anyhow::Result<PathBuf> {
        let write = |name: &str, text: &str| {
            let path = self.folder.path().join(name);
            let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
            anyhow::Ok(path)
        };
        self.postgres.create_database("orderly")?;
        // Nobody but this run's processes sees them.
        let auth = write("auth.key", "a key of a measurement on the loopback address\n")?;
        let ticket = write("ticket.keys", &format!("1 {}\n", "QUJD".repeat(16)))?;
        let personal = write("personal.keys", &format!("pseudonyms {KEY}\n1 {KEY}\n"))?;
        write(
            "orderly.toml",
            &format!(
                "profile = \"distributed\"\n[auth]\nkey_file = {auth:?}\n[ticket]\nkeys_file = {ticket:?}\n\
                 [personal]\nkeys_file = {personal:?}\n\
                 [log]\npartitions = {PARTITIONS}\n[kafka]\nbrokers = {:?}\n[redis]\nurls = {:?}\n[postgres]\nurl = {:?}\n",
                self.kafka.brokers(),
                self.redis.url(),
                self.postgres.url("orderly"),
            ),
        )
    }
}

/// Which servers these are, and how they are set.
pub(crate) async fn versions(postgres: &postgres::Postgres, redis: &redis::Redis) -> anyhow::Result<Vec<String>> {
    const SETTINGS: &str = "SELECT 'PostgreSQL ' || current_setting('server_version') || ': ' || string_agg(name || ' ' || \
                            current_setting(name), ', ' ORDER BY name) FROM pg_settings WHERE name IN ('fsync', \
                            'synchronous_commit', 'full_page_writes', 'wal_sync_method', 'shared_buffers', 'max_connections')";
    let settings = ask(&postgres.url("postgres"), SETTINGS, |row| Ok(row.try_get::<_, String>(0)?)).await?;
    let info = redis.ask("INFO server")?;
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("unknown").trim();
    let redis = format!("Redis {version}: appendonly yes, appendfsync everysec");
    let kafka = kafka::POM.split("<kafka.version>").nth(1).and_then(|rest| rest.split('<').next()).unwrap_or("unknown");
    let kafka = format!("Kafka {kafka}, one broker (distributed profile only); ClickHouse is no part of it");
    Ok(settings.into_iter().chain([redis, kafka]).collect())
}

/// One question to PostgreSQL; `None` when it has no rows.
pub(crate) async fn ask<T>(
    url: &str,
    question: &str,
    of: impl FnOnce(&tokio_postgres::Row) -> anyhow::Result<T>,
) -> anyhow::Result<Option<T>> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let connection = tokio::spawn(connection);
    let row = client.query_opt(question, &[]).await?;
    drop(client);
    connection.await??;
    row.as_ref().map(of).transpose()
}
