//! The servers of the distributed profile, and Orderly's processes on them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use orderly_stack::Tls;
use orderly_stack::clickhouse::{self, ClickHouse};
use orderly_stack::kafka::{self, Kafka};
use orderly_stack::postgres::{self, Postgres};
use orderly_stack::redis::{self, Redis};
use tempfile::TempDir;

use crate::program::{orderly, output};
use crate::server::Server;

/// The configuration with which Orderly finds the servers, in their folder.
pub(crate) const CONFIG: &str = "orderly.toml";

/// The file with what logged nodes log, in the same folder.
pub(crate) const LOG: &str = "nodes.log";

/// A file with keys for personal data.
pub(crate) fn personal_keys() -> String {
    format!("pseudonyms {0}\n1 {0}\n", "QUJD".repeat(10) + "QUI=")
}

/// A folder that PostgreSQL's user can reach its own folder in.
fn new_folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    folder
}

/// The servers, in a folder of their own.
pub(crate) struct Servers {
    pub(crate) kafka: Kafka,
    pub(crate) redis: Redis,
    pub(crate) postgres: Postgres,
    pub(crate) clickhouse: ClickHouse,
    folder: TempDir,
}

impl Servers {
    pub(crate) fn start() -> Self {
        Self::start_in(new_folder(), None)
    }

    /// Servers that Orderly speaks TLS with, all with one pair of certificate and key, which `orderly certs dev` made in the
    /// folder `certs` beside the configuration.
    pub(crate) fn start_with_tls() -> Self {
        let folder = new_folder();
        output(orderly(folder.path()).args(["certs", "dev"]));
        let tls = Tls::of(&folder.path().join("certs"));
        Self::start_in(folder, Some(tls))
    }

    fn start_in(folder: TempDir, tls: Option<Tls>) -> Self {
        let at = |name: &str| folder.path().join(name);
        let options = postgres::Options { tls: tls.clone(), ..postgres::Options::default() };
        let postgres = Postgres::start(&at("postgres"), options).expect("PostgreSQL starts");
        postgres.create_database("orderly").expect("it can be made");
        let options = redis::Options { append_only: true, tls: tls.clone(), ..redis::Options::default() };
        let redis = Redis::start(&at("redis"), options).expect("Redis starts");
        let options = clickhouse::Options { tls: tls.clone(), ..clickhouse::Options::default() };
        let clickhouse = ClickHouse::start(&at("clickhouse"), &options).expect("ClickHouse starts");
        let options = kafka::Options { tls: tls.clone(), ..kafka::Options::default() };
        let kafka = Kafka::start(&at("kafka"), &options).expect("Kafka starts");
        std::fs::write(at("auth.key"), "a secret of the test, long enough for HS256 to take it\n").expect("written");
        std::fs::write(at("ticket.keys"), format!("1 {}\n", "QUJD".repeat(16))).expect("written");
        std::fs::write(at("personal.keys"), personal_keys()).expect("written");
        let servers_tls = match tls {
            Some(Tls { roots, certificate, key }) => format!(
                "[servers_tls]\nroots_file = {roots:?}\ncertificate_file = {certificate:?}\nkey_file = {key:?}\n"
            ),
            None => String::new(),
        };
        let config = format!(
            "profile = \"distributed\"\n[auth]\nkey_file = \"auth.key\"\n[ticket]\nkeys_file = \"ticket.keys\"\n\
             [personal]\nkeys_file = \"personal.keys\"\n{servers_tls}\
             [kafka]\ntls = {}\nbrokers = {:?}\n[redis]\nurls = {:?}\n[postgres]\nurl = {:?}\n[clickhouse]\nurl = {:?}\n",
            !servers_tls.is_empty(),
            kafka.tls_brokers().unwrap_or_else(|| kafka.brokers()),
            redis.tls_url().unwrap_or_else(|| redis.url()),
            postgres.tls_url("orderly").unwrap_or_else(|| postgres.url("orderly")),
            clickhouse.tls_url().unwrap_or_else(|| clickhouse.url())
        );
        std::fs::write(at(CONFIG), config).expect("written");
        Self { kafka, redis, postgres, clickhouse, folder }
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
