//! Edges that fail as real ones do, over the real ones.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use jiff::civil::Date;
use orderly_domain::clock::Manual;
use orderly_domain::inventory::Snapshot;
use orderly_domain::port::fanout::Event;
use orderly_domain::port::log::{Appended, Extent};
use orderly_domain::port::pipeline::State;
use orderly_domain::port::store::{
    Appointment, Claim, Commit, Committed, DecisionRow, Details, PolicyVersion, Progress, SeenTicket, SessionState,
};
use orderly_domain::port::{Error, Fanout, IntentLog, LogReader, Pipeline, Result, Store};
use orderly_domain::{Clock, Fence, Offset, Partition, Position, SessionId, Timestamp};
use tokio::sync::watch;

use crate::kit::{NOW, at};

/// A clock that can keep those who ask it waiting: the log's writer asks it for every record.
pub(crate) struct Held {
    clock: Manual,
    held: Mutex<bool>,
    let_go: Condvar,
    waits: watch::Sender<bool>,
}

impl Held {
    pub(crate) fn new() -> Arc<Self> {
        let (waits, _) = watch::channel(false);
        Arc::new(Self { clock: Manual::at(at(NOW)), held: Mutex::new(false), let_go: Condvar::new(), waits })
    }

    /// Keeps everybody waiting until the hold is dropped.
    pub(crate) fn hold(self: &Arc<Self>) -> Hold {
        *self.held.lock().unwrap() = true;
        Hold(Arc::clone(self))
    }

    /// Returns once somebody waits.
    pub(crate) async fn waits(&self) {
        self.waits.subscribe().wait_for(|waits| *waits).await.unwrap();
    }
}

impl Clock for Held {
    fn now(&self) -> Timestamp {
        let mut held = self.held.lock().unwrap();
        while *held {
            self.waits.send_replace(true);
            held = self.let_go.wait(held).unwrap();
        }
        self.waits.send_replace(false);
        self.clock.now()
    }
}

pub(crate) struct Hold(Arc<Held>);

impl Drop for Hold {
    fn drop(&mut self) {
        *self.0.held.lock().unwrap() = false;
        self.0.let_go.notify_all();
    }
}

/// What can be made to fail.
#[derive(Default)]
pub(crate) struct Switches {
    /// Appends are made and told as ones that may have happened.
    pub(crate) doubt: AtomicBool,
    /// The log cannot be read.
    pub(crate) log_down: AtomicBool,
    /// What was put in the log's place.
    pub(crate) replaced: Mutex<Option<Arc<dyn IntentLog>>>,
    /// What the log knows that stands in its way.
    pub(crate) log_trouble: Mutex<Option<String>>,
    /// The log does not answer.
    pub(crate) log_silent: AtomicBool,
    /// The store cannot be read.
    pub(crate) store_down: AtomicBool,
    /// How many asked the store for its progress since the start.
    pub(crate) asked: watch::Sender<usize>,
    /// How many may still ask the store for policies; the others wait. Without a number nobody does.
    pub(crate) policy_looks: watch::Sender<Option<usize>>,
    /// While true, whoever asks the store for its progress waits.
    pub(crate) store_held: watch::Sender<bool>,
    /// Once true, the fan-out ends.
    pub(crate) fanout_ends: watch::Sender<bool>,
    /// How many times the fan-out has lost what was committed. With a number it loses all of it; without one again, it tells a
    /// gap.
    pub(crate) fanout_lost: watch::Sender<Option<usize>>,
    /// What the pipeline says of itself.
    pub(crate) pipeline: Mutex<State>,
}

impl Switches {
    pub(crate) fn set(switch: &AtomicBool, on: bool) {
        switch.store(on, Ordering::SeqCst);
    }

    fn is(switch: &AtomicBool) -> bool {
        switch.load(Ordering::SeqCst)
    }
}

/// All edges, with switches.
pub(crate) fn switched(ports: orderly_ingress::Ports, switches: &Arc<Switches>) -> orderly_ingress::Ports {
    let switches = || Arc::clone(switches);
    orderly_ingress::Ports {
        log: Arc::new(Log { log: ports.log, switches: switches() }),
        store: Arc::new(Switched { store: ports.store, switches: switches() }),
        fanout: Arc::new(Losing { fanout: ports.fanout, switches: switches() }),
        pipeline: Some(Arc::new(Told(switches()))),
        peers: None,
        ..ports
    }
}

struct Log {
    log: Arc<dyn IntentLog>,
    switches: Arc<Switches>,
}

impl Log {
    fn log(&self) -> Arc<dyn IntentLog> {
        Arc::clone(self.switches.replaced.lock().unwrap().as_ref().unwrap_or(&self.log))
    }
}

#[async_trait]
impl IntentLog for Log {
    fn partitions(&self) -> u16 {
        self.log.partitions()
    }
    async fn append(&self, partition: Partition, key: &str, payload: Vec<u8>) -> Result<Appended> {
        let appended = self.log().append(partition, key, payload).await;
        if Switches::is(&self.switches.doubt) {
            return Err(Error::MayHaveHappened("the answer got lost".into()));
        }
        appended
    }
    async fn extents(&self) -> Result<Vec<Extent>> {
        if Switches::is(&self.switches.log_silent) {
            std::future::pending::<()>().await;
        }
        if Switches::is(&self.switches.log_down) {
            return Err(Error::DidNotHappen("the log is away".into()));
        }
        self.log().extents().await
    }
    async fn logged_at(&self, places: &[Position]) -> Result<Vec<Option<Timestamp>>> {
        self.log.logged_at(places).await
    }
    fn trouble(&self) -> Option<String> {
        self.switches.log_trouble.lock().unwrap().clone()
    }
    async fn reader(&self) -> Result<Box<dyn LogReader>> {
        self.log.reader().await
    }
    async fn scan(&self, from: &[(Partition, Offset)]) -> Result<Box<dyn LogReader>> {
        self.log.scan(from).await
    }
    async fn trim(&self, before: Timestamp, decided: &[(Partition, Offset)]) -> Result<u64> {
        self.log.trim(before, decided).await
    }
}

struct Switched {
    store: Arc<dyn Store>,
    switches: Arc<Switches>,
}

#[async_trait]
impl Store for Switched {
    async fn claim(&self, partitions: &[Partition], owner: &str) -> Result<Vec<Claim>> {
        self.store.claim(partitions, owner).await
    }
    async fn commit(&self, commit: &Commit) -> Result<Vec<Committed>> {
        self.store.commit(commit).await
    }
    async fn sync(&self) -> Result<()> {
        self.store.sync().await
    }
    async fn mark_published(&self, marks: &[(Partition, Fence, Offset)]) -> Result<()> {
        self.store.mark_published(marks).await
    }
    async fn decision(&self, position: Position) -> Result<Option<DecisionRow>> {
        self.store.decision(position).await
    }
    async fn decisions(&self, partition: Partition, from: Offset, rows_max: usize) -> Result<Vec<DecisionRow>> {
        self.store.decisions(partition, from, rows_max).await
    }
    async fn seen_tickets(&self, partition: Partition, since: Timestamp, max: usize) -> Result<Vec<SeenTicket>> {
        self.store.seen_tickets(partition, since, max).await
    }
    async fn snapshots(&self, partitions: &[Partition], since: Date) -> Result<Vec<Snapshot>> {
        self.store.snapshots(partitions, since).await
    }
    async fn sessions(&self, since: Date) -> Result<Vec<SessionState>> {
        self.store.sessions(since).await
    }
    async fn appointments(&self, session_id: &SessionId) -> Result<Vec<Appointment>> {
        self.store.appointments(session_id).await
    }
    async fn details(&self, of: &[Position]) -> Result<Vec<Details>> {
        self.store.details(of).await
    }
    async fn details_after(&self, after: Option<Position>, rows_max: usize) -> Result<Vec<Details>> {
        self.store.details_after(after, rows_max).await
    }
    async fn reseal(&self, details: &[Details]) -> Result<u64> {
        self.store.reseal(details).await
    }
    async fn progress(&self) -> Result<Vec<Progress>> {
        self.switches.asked.send_modify(|asked| *asked += 1);
        self.switches.store_held.subscribe().wait_for(|held| !held).await.unwrap();
        if Switches::is(&self.switches.store_down) {
            return Err(Error::DidNotHappen("the store is away".into()));
        }
        self.store.progress().await
    }
    async fn policies(&self, rows_max: usize) -> Result<Vec<PolicyVersion>> {
        self.switches.policy_looks.subscribe().wait_for(|left| *left != Some(0)).await.unwrap();
        self.switches.policy_looks.send_modify(|left| *left = left.map(|left| left - 1));
        self.store.policies(rows_max).await
    }
    async fn save_policy(&self, policy: &PolicyVersion) -> Result<()> {
        self.store.save_policy(policy).await
    }
    async fn prune(&self, before: Date, below: &[(Partition, Offset)]) -> Result<u64> {
        self.store.prune(before, below).await
    }
    async fn kept_since(&self) -> Result<Option<Date>> {
        self.store.kept_since().await
    }
}

struct Losing {
    fanout: Arc<dyn Fanout>,
    switches: Arc<Switches>,
}

#[async_trait]
impl Fanout for Losing {
    async fn publish(&self, committed: Arc<[Committed]>) -> Result<()> {
        self.fanout.publish(committed).await
    }
    fn subscribe(&self) -> BoxStream<'static, Event> {
        let mut ends = self.switches.fanout_ends.subscribe();
        let end = async move { ends.wait_for(|ends| *ends).await.map(drop) };
        let heard = Heard { events: self.fanout.subscribe(), switches: Arc::clone(&self.switches), missed: false };
        let events = stream::unfold(heard, |mut heard| async move { Some((heard.next().await?, heard)) });
        events.take_until(end).boxed()
    }
}

/// What a subscriber hears.
struct Heard {
    events: BoxStream<'static, Event>,
    switches: Arc<Switches>,
    /// Something was lost, and no gap was told yet.
    missed: bool,
}

impl Heard {
    async fn next(&mut self) -> Option<Event> {
        let mut lost = self.switches.fanout_lost.subscribe();
        loop {
            let found = async { lost.wait_for(Option::is_none).await.map(drop) };
            tokio::select! {
                biased;
                Ok(()) = found, if self.missed => {
                    self.missed = false;
                    return Some(Event::Gap);
                }
                event = self.events.next() => {
                    let event = event?;
                    let count = |lost: &mut Option<usize>| lost.as_mut().map(|lost| *lost += 1).is_some();
                    if !self.switches.fanout_lost.send_if_modified(count) {
                        return Some(event);
                    }
                    self.missed = true;
                }
            }
        }
    }
}

struct Told(Arc<Switches>);

impl Pipeline for Told {
    fn state(&self) -> State {
        self.0.pipeline.lock().unwrap().clone()
    }
}
