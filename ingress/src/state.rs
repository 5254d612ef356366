//! What handlers share.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use orderly_domain::breaker::Breakers;
use orderly_domain::port::{Analytics, Audit, Fanout, IntentLog, Peers, Pipeline, Store};
use orderly_domain::{Clock, Partition, Timestamp, ticket};
use prometheus::Registry;
use tokio::sync::watch;

use crate::arrivals::Arrivals;
use crate::audit::Trail;
use crate::auditor::Auditor;
use crate::auth::Verifier;
use crate::catalogue::Catalogue;
use crate::challenge::Challenge;
use crate::heat::Heat;
use crate::idempotency::Window;
use crate::jitter;
use crate::lost_log;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::personal;
use crate::policy::Current;
use crate::problem::{Problem, RETRY, kind};
use crate::progress::Progress;
use crate::shed::{Bounds, Shed};
use crate::streams::{self, Streams};
use crate::waiters::Waiters;

/// The edges that the ingress reaches through.
#[derive(Clone)]
pub struct Ports {
    /// Where intents go.
    pub log: Arc<dyn IntentLog>,
    /// Where decisions are read.
    pub store: Arc<dyn Store>,
    /// Tells what was committed.
    pub fanout: Arc<dyn Fanout>,
    /// Keeps the audit trail.
    pub audit: Arc<dyn Audit>,
    /// Answers reports.
    pub analytics: Arc<dyn Analytics>,
    /// The pipeline, when it runs in this process.
    pub pipeline: Option<Arc<dyn Pipeline>>,
    /// The breakers that guard them, and others of this process.
    pub breakers: Breakers,
    /// The other ingress nodes, where there may be some.
    pub peers: Option<Arc<dyn Peers>>,
    /// What an auditor beside this system tells, where one is asked.
    pub auditor: Option<watch::Receiver<Auditor>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ports").finish_non_exhaustive()
    }
}

pub(crate) type Shared = Arc<State>;

pub(crate) struct State {
    pub(crate) options: Options,
    pub(crate) ports: Ports,
    pub(crate) codec: ticket::Codec,
    pub(crate) personal: personal::Keys,
    pub(crate) verifier: Verifier,
    pub(crate) policy: Current,
    pub(crate) challenge: Arc<dyn Challenge>,
    pub(crate) trail: Trail,
    pub(crate) catalogue: Catalogue,
    pub(crate) progress: Progress,
    pub(crate) lost_log: lost_log::Alarm,
    pub(crate) shed: Shed,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) window: Window,
    pub(crate) arrivals: Arrivals,
    pub(crate) heat: Heat,
    pub(crate) streams: Streams,
    pub(crate) metrics: Metrics,
    pub(crate) registry: Registry,
    /// Whether this node hears what is committed.
    pub(crate) following: AtomicBool,
    /// Turns true when the server stops.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl State {
    pub(crate) fn is_following(&self) -> bool {
        self.following.load(Ordering::Relaxed)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Whether outcomes of this partition are late: its line stands still, or this node knows that the store is away. When
    /// they will come is not known then.
    pub(crate) fn is_late(&self, partition: Partition, now: Timestamp) -> bool {
        let away = |name| self.ports.breakers.get(name).is_some_and(|breaker| breaker.is_away());
        away("store") || self.shed.stands_still(partition, &self.progress, now)
    }

    /// How long people may wait, and how much may wait: as the policy says, else as configured.
    pub(crate) fn bounds(&self) -> Bounds {
        self.policy.throttle.in_force().shed.map_or(self.options.shed, |shed| Bounds {
            wait_max: Duration::from_millis(shed.wait_max_ms),
            undecided_max: shed.undecided_max,
        })
    }

    /// Waits until the server stops.
    pub(crate) async fn stopped(&self) {
        // The sender lives as long as the server; without it, it has stopped.
        let _ = self.stopping.clone().wait_for(|stopping| *stopping).await;
    }

    /// A place among the streams, for a client at this address.
    pub(crate) fn stream_slot(&self, kind: streams::Kind, address: IpAddr) -> Result<streams::Slot, Problem> {
        if self.is_stopping() {
            return Err(Problem::new(&kind::STOPPING).retry_after(jitter::spread(RETRY)));
        }
        self.streams.open(kind, address)
    }
}
