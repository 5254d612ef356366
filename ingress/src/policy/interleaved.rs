//! A policy is set while another node's is followed and while the schedule moves on.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::civil::Date;
use orderly_domain::clock::Manual;
use orderly_domain::inventory::Snapshot;
use orderly_domain::port::store::{
    Appointment, Claim, Commit, Committed, DecisionRow, Details, Progress, SeenTicket, SessionState,
};
use orderly_domain::port::{Error, Result, Store};
use orderly_domain::{Fence, Offset, Partition, Position, SessionId};
use orderly_interleave::sync::Mutex;
use orderly_interleave::{block_on, explore, thread};
use prometheus::Registry;

use super::*;
use crate::suspicion;
use crate::throttle::{Limits, Rate};

const EXECUTIONS: usize = 3_000;
const NOW: Timestamp = Timestamp::from_millis(1_795_392_000_000);

/// A store that keeps policies, and nothing else.
#[derive(Default)]
struct Versions(Mutex<Vec<PolicyVersion>>);

const ONLY: &str = "it is asked for policies only";

#[async_trait]
impl Store for Versions {
    async fn claim(&self, _: &[Partition], _: &str) -> Result<Vec<Claim>> {
        unreachable!("{ONLY}")
    }
    async fn commit(&self, _: &Commit) -> Result<Vec<Committed>> {
        unreachable!("{ONLY}")
    }
    async fn sync(&self) -> Result<()> {
        unreachable!("{ONLY}")
    }
    async fn mark_published(&self, _: &[(Partition, Fence, Offset)]) -> Result<()> {
        unreachable!("{ONLY}")
    }
    async fn decision(&self, _: Position) -> Result<Option<DecisionRow>> {
        unreachable!("{ONLY}")
    }
    async fn decisions(&self, _: Partition, _: Offset, _: usize) -> Result<Vec<DecisionRow>> {
        unreachable!("{ONLY}")
    }
    async fn seen_tickets(&self, _: Partition, _: Timestamp, _: usize) -> Result<Vec<SeenTicket>> {
        unreachable!("{ONLY}")
    }
    async fn snapshots(&self, _: &[Partition], _: Date) -> Result<Vec<Snapshot>> {
        unreachable!("{ONLY}")
    }
    async fn sessions(&self, _: Date) -> Result<Vec<SessionState>> {
        unreachable!("{ONLY}")
    }
    async fn appointments(&self, _: &SessionId) -> Result<Vec<Appointment>> {
        unreachable!("{ONLY}")
    }
    async fn details(&self, _: &[Position]) -> Result<Vec<Details>> {
        unreachable!("{ONLY}")
    }
    async fn details_after(&self, _: Option<Position>, _: usize) -> Result<Vec<Details>> {
        unreachable!("{ONLY}")
    }
    async fn reseal(&self, _: &[Details]) -> Result<u64> {
        unreachable!("{ONLY}")
    }
    async fn progress(&self) -> Result<Vec<Progress>> {
        unreachable!("{ONLY}")
    }
    async fn policies(&self, rows_max: usize) -> Result<Vec<PolicyVersion>> {
        let versions = self.0.lock().expect("no panic under the lock");
        Ok(versions.iter().rev().take(rows_max).cloned().collect())
    }
    async fn save_policy(&self, policy: &PolicyVersion) -> Result<()> {
        let mut versions = self.0.lock().expect("no panic under the lock");
        let found = versions.last().map_or(0, |last| last.version);
        if policy.version != found + 1 {
            return Err(Error::Conflict { expected: policy.version - 1, found });
        }
        versions.push(policy.clone());
        Ok(())
    }
    async fn prune(&self, _: Date, _: &[(Partition, Offset)]) -> Result<u64> {
        unreachable!("{ONLY}")
    }
    async fn kept_since(&self) -> Result<Option<Date>> {
        unreachable!("{ONLY}")
    }
}

/// A policy that differs from others by its burst.
fn policy(burst: u32) -> Policy {
    Policy::of(Limits { patient: Some(Rate { rate_per_s: 1.0, burst }), ..Limits::default() })
}

fn document(policy: &Policy) -> String {
    serde_json::to_string(policy).expect("a policy is always JSON")
}

struct Node {
    current: Current,
    store: Versions,
    clock: Manual,
}

impl Node {
    fn new() -> Arc<Self> {
        let registry = Registry::new();
        let throttle = Throttle::new(policy(1), NOW, &registry).expect("a valid policy");
        let suspicion = Suspicion::new(suspicion::Metrics::register(&registry).expect("a registry of its own"));
        Arc::new(Self {
            current: Current::new(throttle, suspicion, NOW),
            store: Versions::default(),
            clock: Manual::at(NOW),
        })
    }

    fn set(&self, burst: u32) -> bool {
        let set = self.current.set(&self.store, &self.clock, policy(burst), "ops", String::new(), None);
        block_on(set).is_ok()
    }

    /// Another node sets one.
    fn hear(&self, burst: u32) {
        let version = PolicyVersion {
            version: 1,
            document: document(&policy(burst)),
            author: "another".into(),
            reason: String::new(),
            set_at: NOW,
        };
        block_on(self.store.save_policy(&version)).expect("it is the first");
    }

    fn refresh(&self) {
        block_on(self.current.refresh(&self.store, NOW)).expect("the store answers");
    }
}

#[test]
fn what_is_in_force_is_the_version_that_is_told() {
    explore(EXECUTIONS, || {
        let node = Node::new();
        let beside = |run: fn(&Node)| {
            let node = Arc::clone(&node);
            thread::spawn(move || run(&node))
        };
        // Another node was first; this one hears of it, in its own time, while somebody asks it for a policy on top.
        node.hear(2);
        let threads = [
            beside(Node::refresh),
            beside(|node| {
                node.refresh();
                assert!(node.set(3), "nobody else sets one");
            }),
        ];
        threads.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
        node.refresh();
        let newest = node.store.0.lock().expect("no panic under the lock").last().cloned().expect("one was set");
        assert_eq!(node.current.version.load().version, newest.version);
        assert_eq!(document(&node.current.throttle.policy()), newest.document);
    });
}
