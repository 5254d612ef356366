//! The servers and a few connections to them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use orderly_domain::port::{Error, Result};
use redis::cluster::ClusterClient;
use redis::{AsyncConnectionConfig, Client, FromRedisValue as _, RedisResult};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::connection::Node;
use super::error::keeps_connection;
use super::{Connection, not_connected, unknown_or_refused};
use crate::tls::ClientTls;

/// Where Redis is, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// One for a server, several for a cluster (any of its nodes; the others are found): `redis://HOST:PORT`, or
    /// `rediss://HOST:PORT` for TLS.
    pub(crate) urls: Vec<String>,
    /// For `rediss`.
    pub(crate) tls: ClientTls,
}

impl Address {
    /// What makes connections, with the certificates of now.
    fn open(&self, response_timeout: Duration) -> Result<Opened> {
        let unreadable =
            |error| Error::DidNotHappen(format!("{error}; write addresses as redis://HOST:PORT, or rediss:// for TLS"));
        let certificates = if self.urls.iter().any(|url| url.starts_with(TLS_SCHEME)) {
            Some(self.tls.for_redis().map_err(|error| Error::DidNotHappen(error.to_string()))?)
        } else {
            None
        };
        match (self.urls.as_slice(), certificates) {
            ([], _) => Err(Error::DidNotHappen("no address of Redis was given".into())),
            ([url], certificates) => {
                let client = match certificates {
                    None => Client::open(url.as_str()),
                    Some(certificates) => Client::build_with_tls(url.as_str(), certificates),
                };
                client.map(Box::new).map(Opened::Single).map_err(unreadable)
            }
            (urls, certificates) => {
                let mut builder = ClusterClient::builder(urls.iter().map(String::as_str))
                    .connection_timeout(response_timeout)
                    .response_timeout(response_timeout)
                    .retries(CLUSTER_RETRIES)
                    .min_retry_wait(CLUSTER_RETRY_PAUSE_MIN_MS)
                    .max_retry_wait(CLUSTER_RETRY_PAUSE_MAX_MS);
                if let Some(certificates) = certificates {
                    builder = builder.certs(certificates);
                }
                builder.build().map(Box::new).map(Opened::Cluster).map_err(unreadable)
            }
        }
    }
}

/// How an address begins whose server speaks TLS.
const TLS_SCHEME: &str = "rediss://";

/// Attempts of the cluster's client, for redirections. Each call is safe to send twice.
const CLUSTER_RETRIES: u32 = 3;
const CLUSTER_RETRY_PAUSE_MIN_MS: u64 = 10;
const CLUSTER_RETRY_PAUSE_MAX_MS: u64 = 100;

enum Opened {
    Single(Box<Client>),
    Cluster(Box<ClusterClient>),
}

/// A connection and its number, by which it is told from its successor.
type Numbered = (u64, Connection);

/// The servers, with a fixed number of connections. Each is made when it is needed, and dropped for good when an answer
/// did not come in time: what comes late on it must not be taken for the answer to another question.
pub(crate) struct Servers {
    address: Address,
    response_timeout: Duration,
    connections: Vec<Mutex<Option<Numbered>>>,
    made: AtomicU64,
}

impl Servers {
    /// Servers at these addresses, nobody connected yet.
    ///
    /// # Errors
    /// When an address or a certificate cannot be read.
    pub(crate) fn new(address: Address, response_timeout: Duration, connections: usize) -> Result<Self> {
        address.open(response_timeout)?;
        let connections = (0..connections.max(1)).map(|_| Mutex::new(None)).collect();
        Ok(Self { address, response_timeout, connections, made: AtomicU64::new(0) })
    }

    /// Asks on the connection of that lane: what is asked on one lane at the same time is sent in the order asked.
    ///
    /// # Errors
    /// `DidNotHappen` when there is no connection or the server refuses; `MayHaveHappened` when no answer came.
    pub(crate) async fn call<T, F>(&self, what: &str, lane: u64, ask: impl FnOnce(Connection) -> F) -> Result<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let (number, connection) = self.connection(lane).await?;
        let (answer, keep) = match timeout(self.response_timeout, ask(connection)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => (unknown_or_refused(what, &error), keeps_connection(&error)),
            Err(_) => {
                let waited = self.response_timeout.as_millis();
                (Error::MayHaveHappened(format!("{what}: Redis did not answer within {waited} ms")), false)
            }
        };
        if !keep {
            self.discard(lane, number).await;
        }
        Err(answer)
    }

    /// Drops the connection of that lane, unless that was done already.
    async fn discard(&self, lane: u64, number: u64) {
        let mut slot = self.slot(lane).lock().await;
        if slot.as_ref().is_some_and(|(current, _)| *current == number) {
            *slot = None;
        }
    }

    /// Drops all connections: something was answered on one of them that was not asked.
    pub(crate) async fn discard_all(&self) {
        for slot in &self.connections {
            *slot.lock().await = None;
        }
    }

    fn slot(&self, lane: u64) -> &Mutex<Option<Numbered>> {
        let count = self.connections.len() as u64;
        &self.connections[usize::try_from(lane % count).expect("less than a length")]
    }

    async fn connection(&self, lane: u64) -> Result<Numbered> {
        let mut slot = self.slot(lane).lock().await;
        if let Some(numbered) = &*slot {
            return Ok(numbered.clone());
        }
        let numbered = (self.made.fetch_add(1, Ordering::Relaxed), self.connect().await?);
        *slot = Some(numbered.clone());
        Ok(numbered)
    }

    /// A connection of one's own.
    ///
    /// # Errors
    /// `DidNotHappen` when there is none to be had.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        let opened = self.address.open(self.response_timeout)?;
        let connect = async {
            match &opened {
                Opened::Single(client) => {
                    // `call` has a timeout of its own, which also drops the connection.
                    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
                    client.get_multiplexed_async_connection_with_config(&config).await.map(Connection::Single)
                }
                Opened::Cluster(client) => client.get_async_connection().await.map(Connection::Cluster),
            }
        };
        match timeout(self.response_timeout, connect).await {
            Ok(connected) => connected.map_err(|error| not_connected(&error)),
            Err(_) => {
                let waited = self.response_timeout.as_millis();
                Err(Error::DidNotHappen(format!("Redis did not let us connect within {waited} ms; check that it runs")))
            }
        }
    }

    /// Makes sure that no node throws anything away when its memory is full.
    ///
    /// # Errors
    /// When one would, or cannot be asked.
    pub(crate) async fn check_keeps_everything(&self) -> Result<()> {
        for node in self.nodes().await? {
            let asked = node.clone();
            let value = self
                .call("INFO memory", 0, |mut connection| async move {
                    let mut info = redis::cmd("INFO");
                    info.arg("memory");
                    connection.ask(&asked, info).await
                })
                .await?;
            let info =
                String::from_redis_value(value).map_err(|error| Error::Corrupt(format!("INFO memory: {error}")))?;
            let policy = info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:")).map_or("", str::trim);
            if policy != "noeviction" {
                return Err(Error::DidNotHappen(format!(
                    "Redis ({node:?}) has maxmemory-policy {policy:?} and would silently throw inventory away when its \
                     memory is full; run `CONFIG SET maxmemory-policy noeviction` on it and set the same in redis.conf"
                )));
            }
        }
        Ok(())
    }

    /// Every key that matches a pattern, on all nodes, in no order.
    ///
    /// # Errors
    /// When a node cannot be asked.
    pub(crate) async fn keys(&self, pattern: &str) -> Result<std::collections::BTreeSet<String>> {
        /// Keys looked at in one step.
        const STEP: usize = 1_000;
        let mut found = std::collections::BTreeSet::new();
        for node in self.nodes().await? {
            let mut cursor = 0_u64;
            loop {
                let asked = &node;
                let step = self.call("SCAN", 0, |mut connection| async move {
                    let mut scan = redis::cmd("SCAN");
                    scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(STEP);
                    connection.ask(asked, scan).await
                });
                let (next, keys): (u64, Vec<String>) =
                    redis::from_redis_value(step.await?).map_err(|error| Error::Corrupt(format!("SCAN: {error}")))?;
                found.extend(keys);
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        Ok(found)
    }

    async fn nodes(&self) -> Result<Vec<Node>> {
        self.call("CLUSTER NODES", 0, |mut connection| async move { connection.nodes().await }).await
    }
}
