//! Breakers around adapters: each port is implemented by a decorator that asks the breaker of its dependency first.
//!
//! Left out are calls that are long by nature or made once: takeovers, pruning, opening readers. They wait for a dependency
//! by themselves, and say nothing about how fast it answers patients. So are progress and policies: they are needed when a
//! dependency is not well.

mod analytics;
mod ledger;
mod log;
mod metrics;
mod store;

use std::sync::Arc;

use orderly_domain::Clock;
use orderly_domain::breaker::{Breaker, Breakers, Change, Settings, State};
use orderly_domain::port::{self, IntentLog};
use prometheus::Registry;

pub use metrics::{BREAKER_OPENED_TOTAL, BREAKER_REFUSED_TOTAL, BREAKER_STATE};

/// The breakers of a process, one a dependency.
#[derive(Clone, Debug)]
pub struct Guards {
    /// `log`: appends.
    log: Arc<Breaker>,
    /// `ledger`: the pipeline's decisions.
    ledger: Arc<Breaker>,
    /// `store`: the pipeline's commits.
    store: Arc<Breaker>,
    /// `store-reads`: decisions and appointments that are looked up. Apart from the commits, because reads go over other
    /// connections, often to another server, and one may be well while the other is not.
    store_reads: Arc<Breaker>,
    /// `analytics`: reports, and the rows that are carried there.
    analytics: Arc<Breaker>,
}

impl Guards {
    /// Closed breakers. Their changes are logged, their metrics registered.
    ///
    /// # Errors
    /// When their metrics' names are taken.
    pub fn new(settings: Settings, clock: &Arc<dyn Clock>, registry: &Registry) -> Result<Self, prometheus::Error> {
        let breaker = |name| Arc::new(Breaker::new(name, settings, Arc::clone(clock), Some(tell)));
        let guards = Self {
            log: breaker("log"),
            ledger: breaker("ledger"),
            store: breaker("store"),
            store_reads: breaker("store-reads"),
            analytics: breaker("analytics"),
        };
        metrics::register(guards.breakers(), registry)?;
        Ok(guards)
    }

    /// All of them, for ops.
    #[must_use]
    pub fn breakers(&self) -> Breakers {
        let Self { log, ledger, store, store_reads, analytics } = self.clone();
        Breakers::new(vec![log, ledger, store, store_reads, analytics])
    }

    /// The log, guarded.
    #[must_use]
    pub fn log(&self, log: Arc<dyn IntentLog>) -> Arc<dyn IntentLog> {
        Arc::new(log::Log::new(log, Arc::clone(&self.log)))
    }

    /// The ledger, guarded.
    #[must_use]
    pub fn ledger(&self, ledger: Arc<dyn port::Ledger>) -> Arc<dyn port::Ledger> {
        Arc::new(ledger::Ledger::new(ledger, Arc::clone(&self.ledger)))
    }

    /// The store, guarded.
    #[must_use]
    pub fn store(&self, store: Arc<dyn port::Store>) -> Arc<dyn port::Store> {
        Arc::new(store::Store::new(store, Arc::clone(&self.store), Arc::clone(&self.store_reads)))
    }

    /// The analytics, guarded: as a database of reports, and as a feed.
    #[must_use]
    pub fn analytics(&self, analytics: Arc<dyn port::Analytics>) -> Arc<dyn port::Analytics> {
        Arc::new(analytics::Analytics::new(analytics, Arc::clone(&self.analytics)))
    }
}

fn tell(breaker: &'static str, change: &Change) {
    let Change { state, cause } = change;
    match state {
        State::Open => tracing::warn!(breaker, %cause, "a breaker opened; calls are refused"),
        State::HalfOpen => tracing::info!(breaker, "a breaker lets a probe through"),
        State::Closed => tracing::info!(breaker, %cause, "a breaker closed; calls go through"),
    }
}
