//! The servers, each with its folder, and the proxies in front of those that answer may be lost from.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use orderly_stack::Tmpfs;
use orderly_stack::clickhouse::{self, ClickHouse};
use orderly_stack::kafka::{self, Kafka};
use orderly_stack::postgres::{self, Postgres};
use orderly_stack::proxy::Proxy;
use orderly_stack::redis::{self, Redis};

/// The database.
pub(crate) const DATABASE: &str = "orderly";
/// Connections of PostgreSQL: each of Orderly's processes has up to a dozen, and those of one that was killed linger.
const CONNECTIONS_MAX: u32 = 300;

/// The servers. They are killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) redis_proxy: Proxy,
    pub(crate) postgres_proxy: Proxy,
    pub(crate) clickhouse_proxy: Proxy,
    pub(crate) kafka: Kafka,
    pub(crate) redis: Redis,
    pub(crate) postgres: Postgres,
    pub(crate) clickhouse: ClickHouse,
    /// Last, so that nobody is left who writes there; or why there are none.
    pub(crate) disks: Result<Disks, String>,
}

/// Disks of servers that can be full.
#[derive(Debug)]
pub(crate) struct Disks {
    pub(crate) redis: Tmpfs,
    pub(crate) postgres: Tmpfs,
}

impl Disks {
    fn mount(redis: &Path, postgres: &Path) -> anyhow::Result<Self> {
        let disks = Self { redis: Tmpfs::mount(redis)?, postgres: Tmpfs::mount(&Postgres::data(postgres))? };
        // Its log is worth keeping when its disk is gone.
        let log = redis.with_extension("log");
        std::fs::File::create(&log)?;
        std::os::unix::fs::symlink(&log, redis.join("redis.log"))?;
        Ok(disks)
    }
}

impl Servers {
    /// Starts them all at once, in a folder.
    ///
    /// # Errors
    /// When one is not installed or does not start.
    pub(crate) fn start(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // PostgreSQL's user has to reach its own folder in it.
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
        let at = |name: &str| folder.join(name);
        let disks = Disks::mount(&at("redis"), &at("postgres")).map_err(|error| format!("{error:#}"));
        let (postgres, redis, clickhouse, kafka) = std::thread::scope(|scope| {
            let postgres = scope.spawn(|| {
                let options = postgres::Options { connections_max: CONNECTIONS_MAX, ..postgres::Options::default() };
                let postgres = Postgres::start(&at("postgres"), options)?;
                postgres.create_database(DATABASE)?;
                anyhow::Ok(postgres)
            });
            let redis = scope.spawn(|| {
                let options = redis::Options { append_only: true, ..redis::Options::default() };
                Redis::start(&at("redis"), options)
            });
            let clickhouse = scope.spawn(|| ClickHouse::start(&at("clickhouse"), &clickhouse::Options::default()));
            let kafka = Kafka::start(&at("kafka"), &kafka::Options::default());
            (joined(postgres), joined(redis), joined(clickhouse), kafka)
        });
        let (postgres, redis, clickhouse, kafka) = (postgres?, redis?, clickhouse?, kafka?);
        let (redis_proxy, postgres_proxy) = (Proxy::start(redis.port())?, Proxy::start(postgres.port())?);
        let clickhouse_proxy = Proxy::start(clickhouse.port())?;
        Ok(Self { redis_proxy, postgres_proxy, clickhouse_proxy, kafka, redis, postgres, clickhouse, disks })
    }

    /// Ends what a half-open connection left behind at a server whose client has gone: otherwise a campaign runs out of them.
    pub(crate) fn forget_half_open(&self) {
        self.redis_proxy.bury();
        self.postgres_proxy.bury();
        self.clickhouse_proxy.bury();
    }

    /// Where Orderly finds PostgreSQL: behind its proxy.
    pub(crate) fn postgres_url(&self) -> String {
        format!("postgres://{}@127.0.0.1:{}/{DATABASE}", postgres::ROLE, self.postgres_proxy.port())
    }

    /// Where Orderly finds ClickHouse: behind its proxy.
    pub(crate) fn clickhouse_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.clickhouse_proxy.port())
    }

    /// Where Orderly finds Redis: behind its proxy.
    pub(crate) fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.redis_proxy.port())
    }
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, anyhow::Result<T>>) -> anyhow::Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
