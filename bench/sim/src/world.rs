//! What all nodes share: the servers behind the ports, the time, and what was seen to go wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orderly_domain::{Position, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::ledger;
use crate::log;
use crate::plan::Noise;
use crate::random::Random;
use crate::store;
use crate::told::Told;

/// A handle; all of a run share one world.
#[derive(Clone)]
pub(crate) struct World(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Rung when the log, a group or a node changed.
    changed: Notify,
}

/// A machine that runs a pipeline.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    /// Rises with every start; what an earlier one asked for is never answered.
    pub(crate) incarnation: u64,
    pub(crate) alive: bool,
    /// The last incarnation that ended by a loss of power: nothing that it was about to do happens.
    pub(crate) unpowered: u64,
    pub(crate) stopped_until: Option<Instant>,
    pub(crate) clock_ahead_us: i64,
    /// How long it stays away once it has died.
    pub(crate) down_ms: u64,
    /// It is asked to stop in order.
    pub(crate) draining: bool,
}

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) intents: u64,
    pub(crate) faults: BTreeMap<&'static str, u64>,
}

pub(crate) struct State {
    pub(crate) random: Random,
    pub(crate) noise: Noise,
    pub(crate) began: Instant,
    pub(crate) begins_at: Timestamp,
    /// How far the log's clock has jumped ahead.
    pub(crate) log_ahead: Duration,
    pub(crate) log_away_until: Option<Instant>,
    pub(crate) store_away_until: Option<Instant>,
    pub(crate) shared_ledger: bool,
    pub(crate) log: log::Log,
    pub(crate) store: store::Books,
    pub(crate) disk: store::Disk,
    pub(crate) ledger: ledger::Days,
    pub(crate) ledger_copy: Option<ledger::Days>,
    pub(crate) told: Told,
    pub(crate) machines: Vec<Machine>,
    /// Each machine's way to its ledger.
    pub(crate) ledgers: Vec<Option<Arc<ledger::Port>>>,
    /// What clients were promised.
    pub(crate) acknowledged: Vec<(Position, Vec<u8>)>,
    pub(crate) counts: Counts,
    pub(crate) violation: Option<String>,
    history: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(state: State) -> Self {
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no other handle is left.
    pub(crate) fn is_last(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    pub(crate) fn ring(&self) {
        self.0.changed.notify_waiters();
    }

    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.0.changed.notified()
    }
}

impl State {
    pub(crate) fn new(plan: &crate::plan::Plan, recording: bool) -> Self {
        Self {
            random: Random::new(plan.seed),
            noise: plan.noise.clone(),
            began: Instant::now(),
            begins_at: plan.begins_at,
            log_ahead: Duration::ZERO,
            log_away_until: None,
            store_away_until: None,
            shared_ledger: plan.shared_ledger,
            log: log::Log::default(),
            store: store::Books::default(),
            disk: store::Disk::new(plan.loses_power()),
            ledger: ledger::Days::default(),
            ledger_copy: None,
            told: Told::default(),
            machines: vec![Machine::default(); plan.nodes],
            ledgers: vec![None; plan.nodes],
            acknowledged: Vec::new(),
            counts: Counts::default(),
            violation: None,
            history: recording.then(Vec::new),
        }
    }

    /// The time by the log's clock.
    pub(crate) fn log_now(&self) -> Timestamp {
        self.begins_at.plus(self.began.elapsed() + self.log_ahead)
    }

    pub(crate) fn node_now(&self, node: usize) -> Timestamp {
        let ahead = self.machines.get(node).map_or(0, |machine| machine.clock_ahead_us);
        let now = self.begins_at.plus(self.began.elapsed());
        Timestamp::from_micros(now.as_micros() + ahead)
    }

    /// Adds a line to the history, if one is kept.
    pub(crate) fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(history) = &mut self.history {
            history.push(format!("{:>10.3} {}", self.began.elapsed().as_secs_f64(), line()));
        }
    }

    pub(crate) fn fault(&mut self, kind: &'static str) {
        *self.counts.faults.entry(kind).or_default() += 1;
    }

    /// Notes that a promise was broken; the first counts.
    pub(crate) fn violated(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.say(|| format!("VIOLATION {what}"));
        self.violation.get_or_insert(what);
    }

    pub(crate) fn take_history(&mut self) -> Vec<String> {
        self.history.take().unwrap_or_default()
    }

    pub(crate) fn is_current(&self, node: usize, incarnation: u64) -> bool {
        self.machines.get(node).is_none_or(|machine| machine.alive && machine.incarnation == incarnation)
    }

    pub(crate) fn is_alive(&self, node: usize) -> bool {
        self.machines.get(node).is_some_and(|machine| machine.alive)
    }

    /// Kills a machine; what it has in flight may still reach a server.
    pub(crate) fn kill(&mut self, node: usize) {
        if let Some(machine) = self.machines.get_mut(node) {
            machine.alive = false;
        }
        self.say(|| format!("n{node} dies"));
    }
}
