//! A machine with a pipeline on it: the real one, on simulated edges.

use std::sync::Arc;
use std::time::Duration;

use orderly_domain::{Clock, Timestamp};
use orderly_operators::RecentTickets;
use orderly_pipeline::{Options, Pipeline, Ports};
use tokio::time::{Instant, sleep};

use crate::edge::Edge;
use crate::plan::Plan;
use crate::world::World;
use crate::{fanout, ledger, log, store};

/// How long a machine may be silent until the group gives its partitions to others.
const SESSION_TIMEOUT: Duration = Duration::from_millis(300);

struct NodeClock {
    world: World,
    node: usize,
}

impl Clock for NodeClock {
    fn now(&self) -> Timestamp {
        self.world.state().node_now(self.node)
    }
}

fn options(plan: &Plan, node: usize) -> Options {
    Options {
        workers: 1,
        stepped: true,
        epoch_records_max: plan.epoch_records_max,
        epoch_linger: Duration::from_millis(5),
        epochs_in_flight_max: plan.epochs_in_flight_max,
        batch_records_max: plan.batch_records_max,
        ledger_lanes: plan.ledger_lanes,
        recent: RecentTickets { tickets_max: plan.tickets_max, window: Duration::from_secs(plan.window_s) },
        owner: format!("n{node}"),
    }
}

/// Starts the machine again and again, as a supervisor does. What died stays as it was: nothing answers it any more.
pub(crate) async fn run(world: World, plan: Arc<Plan>, node: usize) {
    let mut dead = Vec::new();
    loop {
        let edge = {
            let mut state = world.state();
            state.log.bury(node, Instant::now());
            let machine = &mut state.machines[node];
            machine.incarnation += 1;
            machine.alive = true;
            machine.draining = false;
            machine.stopped_until = None;
            let incarnation = machine.incarnation;
            state.say(|| format!("n{node} starts"));
            Edge { world: world.clone(), node, incarnation }
        };
        let ledger = Arc::new(ledger::Port::new(edge.clone(), plan.shared_ledger));
        world.state().ledgers[node] = Some(Arc::clone(&ledger));
        let ports = Ports {
            log: Arc::new(log::Port(edge.clone())),
            ledger,
            store: Arc::new(store::Port(edge.clone())),
            fanout: Arc::new(fanout::Fanout(edge)),
            clock: Arc::new(NodeClock { world: world.clone(), node }),
        };
        let registry = prometheus::Registry::new();
        let started = tokio::select! {
            biased;
            started = Pipeline::start(options(&plan, node), ports, &registry) => Some(started),
            () = died(&world, node) => None,
        };
        match started {
            Some(Ok(pipeline)) => {
                enum End {
                    Failed(String),
                    Died,
                    Drain,
                }
                let end = tokio::select! {
                    biased;
                    () = died(&world, node) => End::Died,
                    error = pipeline.failed() => End::Failed(error.to_string()),
                    () = asked_to_stop(&world, node) => End::Drain,
                };
                match end {
                    End::Failed(cause) => {
                        world.state().violated(format!("n{node} stopped for good: {cause}"));
                        return;
                    }
                    End::Died => dead.push(pipeline),
                    End::Drain => {
                        tokio::select! {
                            biased;
                            () = died(&world, node) => {}
                            drained = pipeline.drain() => {
                                let mut state = world.state();
                                state.say(|| format!("n{node} drained: {drained:?}"));
                            }
                        }
                    }
                }
            }
            Some(Err(error)) => {
                world.state().violated(format!("n{node} does not start: {error}"));
                return;
            }
            None => {}
        }
        let down = {
            let mut state = world.state();
            state.machines[node].alive = false;
            Duration::from_millis(std::mem::take(&mut state.machines[node].down_ms))
        };
        sleep(down.min(SESSION_TIMEOUT)).await;
        world.state().log.bury(node, Instant::now());
        world.ring();
        sleep(down.saturating_sub(SESSION_TIMEOUT)).await;
    }
}

async fn died(world: &World, node: usize) {
    loop {
        let changed = world.changed();
        if !world.state().is_alive(node) {
            return;
        }
        changed.await;
    }
}

async fn asked_to_stop(world: &World, node: usize) {
    loop {
        let changed = world.changed();
        if world.state().machines[node].draining {
            return;
        }
        changed.await;
    }
}
