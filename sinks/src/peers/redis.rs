//! Ingress nodes that meet in Redis: each says from time to time that it is there and how much is asked of it.

use std::time::Duration;

use async_trait::async_trait;
use orderly_domain::port::peers::Share;
use orderly_domain::port::{self, Error, Result};
use orderly_lua::SHARE;

use crate::redis::{Address, Connection, Servers};
use crate::tls::ClientTls;

/// How nodes meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where Redis is, as [`crate::fanout::redis::Options::urls`].
    pub urls: Vec<String>,
    /// Whom to trust where an address begins with `rediss`.
    pub tls: ClientTls,
    /// How long an answer may take.
    pub response_timeout: Duration,
    /// The key under which they meet.
    pub key: String,
    /// This node's name, which no other has at the same time.
    pub node: String,
    /// How long a node counts after it was heard of.
    pub counts_for: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let crate::fanout::redis::Options { urls, tls, response_timeout, .. } =
            crate::fanout::redis::Options::default();
        Self {
            urls,
            tls,
            response_timeout,
            key: "orderly:ingress:nodes".into(),
            node: String::new(),
            counts_for: Duration::from_secs(1),
        }
    }
}

/// This node among its peers.
pub struct Peers {
    servers: Servers,
    options: Options,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Peers {
    /// A node that has not been heard of yet.
    ///
    /// # Errors
    /// When an address or a certificate cannot be read.
    pub fn new(options: Options) -> Result<Self> {
        let address = Address { urls: options.urls.clone(), tls: options.tls.clone() };
        Ok(Self { servers: Servers::new(address, options.response_timeout, 1)?, options })
    }
}

#[async_trait]
impl port::Peers for Peers {
    async fn share(&self, demand_per_s: f64) -> Result<Share> {
        let demand = if demand_per_s.is_finite() { demand_per_s.max(0.0) } else { 0.0 };
        let args = [self.options.node.clone(), format!("{demand:.3}"), self.options.counts_for.as_millis().to_string()];
        let keys = [self.options.key.clone()];
        let ask = |mut connection: Connection| async move {
            SHARE.call::<(String, u32)>(&mut connection, &keys, &args).await
        };
        let (share, nodes) = self.servers.call(SHARE.name(), 0, ask).await?;
        let share = share.parse().map_err(|_| Error::Corrupt(format!("Redis told a share of {share:?}")))?;
        Ok(Share { share, nodes })
    }

    async fn leave(&self) -> Result<()> {
        let mut forget = redis::cmd("HDEL");
        forget.arg(&self.options.key).arg(&self.options.node);
        let ask = |mut connection: Connection| async move { forget.query_async::<u64>(&mut connection).await };
        self.servers.call("HDEL", 0, ask).await.map(drop)
    }
}
