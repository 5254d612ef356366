//! The edges of a process: which adapters stand behind the ports.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use orderly_domain::breaker::Breakers;
use orderly_domain::clock::{Clock, Steady};
use orderly_domain::port::{Analytics, Audit, Fanout, Feed, IntentLog, Ledger, Peers, Store, Turn};
use orderly_pipeline::same_log;
use orderly_sinks::guarded::Guards;
use orderly_sinks::{analytics, fanout, feed, ledger, log, peers, store};
use prometheus::Registry;

use crate::config::{Config, Profile};
use crate::serve::{Roles, owner};
use crate::{audit, personal};

/// What is to be done about a topic that is gone.
const LOST_LOG_ADVICE: &str = "bring it back as it was, or begin anew with an empty topic, database and Redis \
                               (docs/ops/runbooks.md, A lost log)";

/// The adapters, opened.
pub(crate) struct Edges {
    pub log: Arc<dyn IntentLog>,
    pub ledger: Arc<dyn Ledger>,
    pub store: Arc<dyn Store>,
    pub fanout: Arc<dyn Fanout>,
    pub analytics: Arc<dyn Analytics>,
    pub audit: Arc<dyn Audit>,
    /// Where the relay carries decisions to.
    pub feeds: Vec<Arc<dyn Feed>>,
    /// Whose turn it is to do so, where there may be several processes.
    pub turn: Option<Arc<dyn Turn>>,
    /// The breakers before log, ledger, store and analytics.
    pub breakers: Breakers,
    /// The other ingress nodes, where this is one of several.
    pub peers: Option<Arc<dyn Peers>>,
    kept: Kept,
}

/// What has to be closed in order.
enum Kept {
    Embedded(Arc<log::sqlite::Log>),
    Distributed {
        log: Arc<log::kafka::Log>,
        events: Option<Arc<feed::kafka::Feed>>,
        /// Whether what the log has is decided here.
        decides: bool,
    },
}

/// What was asked and what was decided, for whoever only reads.
pub(crate) struct Past {
    pub log: Arc<dyn IntentLog>,
    pub store: Arc<dyn Store>,
    /// The log again, where it has to be closed.
    kafka: Option<Arc<log::kafka::Log>>,
}

impl Past {
    /// Opens log and store of the configured profile. Reads only, also while they are written; only the store's schema on
    /// PostgreSQL is made or raised, if it is missing or older than this program.
    ///
    /// # Errors
    /// When one cannot be opened. Says which, and what to do.
    pub(crate) async fn open(config: &Config) -> anyhow::Result<Self> {
        match config.profile {
            Profile::Embedded => {
                let data = &config.data;
                let hint =
                    |what: &str| format!("cannot open {what} in {}; name its folder with --data", data.display());
                let log = log::sqlite::Log::open_read_only(data).with_context(|| hint("the intent log"))?;
                let store = store::sqlite::Store::open_read_only(data).with_context(|| hint("the store"))?;
                Ok(Self { log: Arc::new(log), store: Arc::new(store), kafka: None })
            }
            Profile::Distributed => {
                let log = log::kafka::Log::open_read_only(config.kafka_options()).await;
                let log = Arc::new(log.context("cannot open the intent log")?);
                let store = store::postgres::Store::open(config.postgres_options(), &Registry::new()).await;
                let store = store.context("cannot open the store")?;
                Ok(Self { log: Arc::clone(&log) as _, store: Arc::new(store), kafka: Some(log) })
            }
        }
    }

    /// Closes what must not be dropped at once.
    pub(crate) async fn close(&self) {
        if let Some(log) = &self.kafka {
            log.close().await;
        }
    }
}

impl Edges {
    /// Opens the adapters of the configured profile.
    ///
    /// # Errors
    /// When one cannot be opened. Says which, and what to do.
    pub(crate) async fn open(
        config: &Config,
        roles: Roles,
        clock: Arc<dyn Clock>,
        registry: &Registry,
    ) -> anyhow::Result<Self> {
        match config.profile {
            Profile::Embedded => Self::embedded(config, clock, registry).await,
            Profile::Distributed => Self::distributed(config, roles, registry).await,
        }
    }

    /// Opens the adapters in the data folder.
    ///
    /// # Errors
    /// When one cannot be opened. Says which, and what to do.
    async fn embedded(config: &Config, clock: Arc<dyn Clock>, registry: &Registry) -> anyhow::Result<Self> {
        // The log comes first: it makes the folder, and refuses one that another process serves.
        let log = Arc::new(log::sqlite::Log::open(&config.data, config.log_options(), clock, registry)?);
        let store = store::sqlite::Store::open(&config.data, config.store_options(), registry)?;
        same_log(&*log, &store).await?;
        let analytics = analytics::sqlite::Analytics::open(&config.data, config.analytics_options(), registry)?;
        let guards = guards(config, registry)?;
        let analytics = guards.analytics(Arc::new(analytics));
        Ok(Self {
            log: guards.log(Arc::clone(&log) as _),
            ledger: guards.ledger(Arc::new(ledger::memory::Ledger::default())),
            store: guards.store(Arc::new(store)),
            fanout: Arc::new(fanout::memory::Fanout::new(config.fanout.capacity_batches)),
            feeds: vec![Arc::clone(&analytics) as _],
            turn: None,
            breakers: guards.breakers(),
            peers: None,
            analytics,
            audit: audit::open(config).await?,
            kept: Kept::Embedded(log),
        })
    }

    /// Connects to the servers.
    ///
    /// # Errors
    /// When one of them cannot be reached or used. Says which, and what to do.
    async fn distributed(config: &Config, roles: Roles, registry: &Registry) -> anyhow::Result<Self> {
        let store = store::postgres::Store::open(config.postgres_options(), registry).await.context("the store")?;
        let log = Self::kafka(config, &store, registry).await.context("the intent log")?;
        same_log(&log, &store).await?;
        let pseudonyms = personal::pseudonyms(config)?;
        let ledger = ledger::redis::Ledger::open(config.redis_ledger_options(), pseudonyms, registry);
        let ledger = ledger.await.context("the ledger")?;
        let listening = fanout::redis::Options { listen: roles.ingress, ..config.redis_fanout_options() };
        let fanout = fanout::redis::Fanout::open(listening, registry).await.context("the fan-out")?;
        // ClickHouse may be away: nobody but an analyst waits for it.
        let analytics = analytics::clickhouse::Analytics::new(config.clickhouse_options()?, registry)?;
        let guards = guards(config, registry)?;
        let (log, analytics) = (Arc::new(log), guards.analytics(Arc::new(analytics)));
        let mut feeds: Vec<Arc<dyn Feed>> = vec![Arc::clone(&analytics) as _];
        let (mut events, mut turn) = (None, None);
        if roles.relay {
            turn = Some(Arc::new(store::postgres::Turn::stand_by(&config.postgres_options())?) as _);
            let feed = feed::kafka::Feed::open(config.kafka_feed_options(), registry).await;
            let feed = Arc::new(feed.context("the feed of events")?);
            feeds.push(Arc::clone(&feed) as _);
            events = Some(feed);
        }
        let peers = if roles.ingress {
            Some(Arc::new(peers::redis::Peers::new(config.redis_peers_options(owner()?))?) as _)
        } else {
            None
        };
        Ok(Self {
            log: guards.log(Arc::clone(&log) as _),
            ledger: guards.ledger(Arc::new(ledger)),
            store: guards.store(Arc::new(store)),
            fanout: Arc::new(fanout),
            feeds,
            turn,
            breakers: guards.breakers(),
            peers,
            analytics,
            audit: audit::open(config).await?,
            kept: Kept::Distributed { log, events, decides: roles.pipeline },
        })
    }

    /// Opens the log on Kafka. Its topic is made for a store that knows of none: one that had records is brought back by a
    /// person, or the store would take the new ones for those that it has decided.
    async fn kafka(
        config: &Config,
        store: &store::postgres::Store,
        registry: &Registry,
    ) -> anyhow::Result<log::kafka::Log> {
        let options = config.kafka_options();
        let progress = store.progress().await.context("the store does not tell what is decided")?;
        if progress.iter().all(|progress| progress.next_offset == 0) {
            return Ok(log::kafka::Log::open(options, registry).await?);
        }
        let log = log::kafka::Log::open_existing(options, registry).await;
        log.with_context(|| format!("the store has decided records of this log: if it was lost, {LOST_LOG_ADVICE}"))
    }

    /// Waits until an edge has failed in a way that ends the process.
    pub(crate) async fn failed(&self) -> anyhow::Error {
        match &self.kept {
            Kept::Embedded(log) => {
                let cause = log.failed().await;
                anyhow!("the intent log failed: {cause}; free or repair the disk and start again")
            }
            // Its group's reader may never be told. Others serve on what is decided, and are not ready.
            Kept::Distributed { log, decides: true, .. } => {
                let cause = log.lost().await;
                anyhow!("the intent log is lost: {cause}; {LOST_LOG_ADVICE}")
            }
            // What else is wrong with a server heals there, and is waited for here.
            Kept::Distributed { decides: false, .. } => std::future::pending().await,
        }
    }

    /// Closes what must not be dropped at once.
    pub(crate) async fn close(&self) {
        match &self.kept {
            Kept::Embedded(log) => log.close().await,
            Kept::Distributed { log, events, .. } => {
                if let Some(events) = events {
                    events.close().await;
                }
                log.close().await;
            }
        }
    }
}

fn guards(config: &Config, registry: &Registry) -> anyhow::Result<Guards> {
    // A wall clock that is set would make calls look slow.
    let clock: Arc<dyn Clock> = Arc::new(Steady::start());
    Ok(Guards::new(config.breaker_settings(), &clock, registry)?)
}
