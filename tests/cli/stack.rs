//! The servers of the distributed profile, and Orderly's processes on them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use orderly_stack::clickhouse::{self, ClickHouse};
use orderly_stack::kafka::{self, Kafka};
use orderly_stack::postgres::{self, Postgres};
use orderly_stack::redis::{self, Redis};
use tempfile::TempDir;

use crate::server::Server;

/// The configuration with which Orderly finds the servers, in their folder.
pub(crate) const CONFIG: &str = "orderly.toml";

/// The file with what logged nodes log, in the same folder.
pub(crate) const LOG: &str = "nodes.log";

/// A file with keys for personal data.
pub(crate) fn personal_keys() -> String {
    format!("pseudonyms {0}\n1 {0}\n", "QUJD".repeat(10) + "QUI=")
}

/// The servers, in a folder of their own.
pub(crate) struct Servers {
    pub(crate) kafka: Kafka,
    _redis: Redis,
    pub(crate) postgres: Postgres,
    pub(crate) clickhouse: ClickHouse,
    folder: TempDir,
}

impl Servers {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // PostgreSQL's user has to reach its own folder in it.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        let at = |name: &str| folder.path().join(name);
        let postgres = Postgres::start(&at("postgres"), postgres::Options::default()).expect("PostgreSQL starts");
        postgres.create_database("orderly").expect("it can be made");
        let append_only = redis::Options { append_only: true, ..redis::Options::default() };
        let redis = Redis::start(&at("redis"), append_only).expect("Redis starts");
        let clickhouse =
            ClickHouse::start(&at("clickhouse"), clickhouse::Options::default()).expect("ClickHouse starts");
        let kafka = Kafka::start(&at("kafka"), &kafka::Options::default()).expect("Kafka starts");
        std::fs::write(at("auth.key"), "a secret of the test, long enough for HS256 to take it\n").expect("written");
        std::fs::write(at("ticket.keys"), format!("1 {}\n", "QUJD".repeat(16))).expect("written");
        std::fs::write(at("personal.keys"), personal_keys()).expect("written");
        let config = format!(
            "profile = \"distributed\"\n[auth]\nkey_file = \"auth.key\"\n[ticket]\nkeys_file = \"ticket.keys\"\n\
             [personal]\nkeys_file = \"personal.keys\"\n\
             [kafka]\nbrokers = {:?}\n[redis]\nurls = {:?}\n[postgres]\nurl = {:?}\n[clickhouse]\nurl = {:?}\n",
            kafka.brokers(),
            redis.url(),
            postgres.url("orderly"),
            clickhouse.url()
        );
        std::fs::write(at(CONFIG), config).expect("written");
        Self { kafka, _redis: redis, postgres, clickhouse, folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn node(&self, role: &str) -> Server {
        let demo: &[&str] = if role == "ingress" { &["--demo"] } else { &[] };
        self.node_with(role, demo)
    }

    /// A node that leaves all that it logs in `LOG`.
    pub(crate) fn node_logged(&self, role: &str) -> Server {
        let demo: &[&str] = if role == "ingress" { &["--demo"] } else { &[] };
        let arguments = [&[role, "--config", CONFIG], demo].concat();
        Server::start_logged(self.path(), &arguments, &self.path().join(LOG))
    }

    /// A node with further arguments.
    pub(crate) fn node_with(&self, role: &str, arguments: &[&str]) -> Server {
        Server::start_role(self.path(), &[&[role, "--config", CONFIG], arguments].concat())
    }
}
