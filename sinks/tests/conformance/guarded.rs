//! Breakers around adapters: what they guard, count and tell. That guarded adapters do what their ports ask for is shown by
//! the ports' suites.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use orderly_domain::breaker::{Held, Settings, State};
use orderly_domain::clock::{Clock, Manual, Steady, Timestamp};
use orderly_domain::inventory::{Admission, Snapshot};
use orderly_domain::port::ledger::Request;
use orderly_domain::port::store::PolicyVersion;
use orderly_domain::port::{Error, Ledger, Result, Store};
use orderly_domain::{Decision, Fence, Partition, Position, SessionId};
use orderly_sinks::guarded::Guards;
use orderly_sinks::store::sqlite;
use prometheus::{Registry, TextEncoder};

/// Breakers as a process has them.
pub(crate) fn guards() -> Guards {
    let clock: Arc<dyn Clock> = Arc::new(Steady::start());
    Guards::new(Settings::default(), &clock, &Registry::new()).expect("a new registry")
}

/// A ledger behind a breaker, for the suite.
pub(crate) struct Guarded(Arc<dyn Ledger>);

impl Guarded {
    pub(crate) fn of(ledger: impl Ledger) -> Self {
        Self(guards().ledger(Arc::new(ledger)))
    }
}

#[async_trait]
impl Ledger for Guarded {
    async fn apply(&self, requests: &[Request<'_>]) -> Result<Vec<Admission>> {
        self.0.apply(requests).await
    }
    async fn hold(&self, held: &HashMap<Partition, Fence>) -> Result<()> {
        self.0.hold(held).await
    }
    async fn restore(&self, snapshots: Vec<(Fence, Snapshot)>) -> Result<()> {
        self.0.restore(snapshots).await
    }
    async fn undo(&self, refused: &[Decision]) -> Result<()> {
        self.0.undo(refused).await
    }
    async fn prune(&self, logged_at: Timestamp) -> Result<()> {
        self.0.prune(logged_at).await
    }
    async fn remaining(&self) -> Result<Vec<(SessionId, u32)>> {
        self.0.remaining().await
    }
}

/// A ledger that is away for so many calls.
struct Away(AtomicUsize);

#[async_trait]
impl Ledger for Away {
    async fn apply(&self, _: &[Request<'_>]) -> Result<Vec<Admission>> {
        let away = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |calls| calls.checked_sub(1)).is_ok();
        if away { Err(Error::MayHaveHappened("connection reset".into())) } else { Ok(Vec::new()) }
    }
    async fn hold(&self, _: &HashMap<Partition, Fence>) -> Result<()> {
        Ok(())
    }
    async fn restore(&self, _: Vec<(Fence, Snapshot)>) -> Result<()> {
        Ok(())
    }
    async fn undo(&self, _: &[Decision]) -> Result<()> {
        Ok(())
    }
    async fn prune(&self, _: Timestamp) -> Result<()> {
        Ok(())
    }
    async fn remaining(&self) -> Result<Vec<(SessionId, u32)>> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn a_breaker_is_told_by_metrics_and_leaves_restoring_alone() {
    let (clock, registry) = (Arc::new(Manual::at(Timestamp::from_millis(1_000_000))), Registry::new());
    let guards = Guards::new(Settings::default(), &(Arc::clone(&clock) as _), &registry).expect("a new registry");
    let ledger = guards.ledger(Arc::new(Away(AtomicUsize::new(6))));
    let told = |line: &str| {
        let text = TextEncoder::new().encode_to_string(&registry.gather()).expect("text");
        assert!(text.lines().any(|told| told == line), "{line} is not in {text}");
    };
    for name in ["log", "ledger", "store", "store-reads", "analytics"] {
        told(&format!("orderly_breaker_state{{dependency=\"{name}\"}} 0"));
    }
    for _ in 0..5 {
        assert!(matches!(ledger.apply(&[]).await, Err(Error::MayHaveHappened(_))));
    }
    for _ in 0..2 {
        assert!(matches!(ledger.apply(&[]).await, Err(Error::BreakerOpen { breaker: "ledger", .. })));
        assert!(matches!(ledger.undo(&[]).await, Err(Error::BreakerOpen { .. })));
    }
    ledger.restore(Vec::new()).await.expect("it is not guarded");
    told("orderly_breaker_state{dependency=\"ledger\"} 2");
    told("orderly_breaker_opened_total{dependency=\"ledger\"} 1");
    told("orderly_breaker_refused_total{dependency=\"ledger\"} 4");
    clock.advance(Duration::from_secs(2));
    told("orderly_breaker_state{dependency=\"ledger\"} 1");
    assert!(matches!(ledger.apply(&[]).await, Err(Error::MayHaveHappened(_))), "the first probe goes through");
    told("orderly_breaker_opened_total{dependency=\"ledger\"} 1");
    clock.advance(Duration::from_secs(3));
    for _ in 0..3 {
        ledger.apply(&[]).await.expect("it is back");
    }
    told("orderly_breaker_state{dependency=\"ledger\"} 0");
    assert!(Guards::new(Settings::default(), &(clock as _), &registry).is_err(), "one set of breakers a registry");
}

#[tokio::test]
async fn hands_hold_what_they_name() {
    let guards = guards();
    let breakers = guards.breakers();
    let ledger = guards.ledger(Arc::new(Away(AtomicUsize::new(0))));
    breakers.get("ledger").expect("it is there").hold(Held::Open, "a test");
    let refused = ledger.apply(&[]).await.expect_err("it is open");
    assert!(refused.to_string().starts_with("did not happen: the breaker of ledger is open (a test)"), "{refused}");
    breakers.get("ledger").expect("it is there").hold(Held::Automatic, "a test");
    ledger.apply(&[]).await.expect("it is closed");
    assert!(breakers.iter().all(|breaker| breaker.snapshot().state == State::Closed));
    assert!(breakers.get("fan-out").is_none());
}

/// A policy is what ops steer with while a store is not well.
#[tokio::test]
async fn a_policy_is_followed_while_reads_are_held_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let other = sqlite::Store::open(folder.path(), sqlite::Options::default(), &Registry::new()).expect("it opens");
    let other: Arc<dyn Store> = Arc::new(other);
    let guards = guards();
    let store = guards.store(Arc::clone(&other));
    guards.breakers().get("store-reads").expect("it is there").hold(Held::Open, "a test");
    let policy = PolicyVersion {
        version: 1,
        document: "{}".into(),
        author: "another node".into(),
        reason: "the store is slow".into(),
        set_at: Timestamp::default(),
    };
    other.save_policy(&policy).await.expect("saved");
    assert_eq!(store.policies(1).await.expect("it is not guarded"), [policy]);
    let refused = store.decision(Position { partition: 0, offset: 0 }).await;
    assert!(matches!(refused, Err(Error::BreakerOpen { breaker: "store-reads", .. })), "{refused:?}");
}
