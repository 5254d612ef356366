//! One run: a plan, carried out to its end, healed, drained and judged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use orderly_checker::Report;
use orderly_domain::Position;
use tokio::runtime::{Builder, LocalOptions};
use tokio::time::{Instant, sleep, sleep_until};

use crate::edge::{CLIENT, Edge};
use crate::plan::{Action, Noise, PARTITIONS, Plan};
use crate::world::{State, World};
use crate::{clients, ledger, log, node, store};

/// How long everything may take to come to rest once nothing goes wrong any more.
const REST_MAX: Duration = Duration::from_secs(120);

/// What a run came to.
pub(crate) struct Verdict {
    pub(crate) violation: Option<String>,
    pub(crate) intents: u64,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    pub(crate) history: Vec<String>,
}

/// Runs a plan. The same plan gives the same verdict and the same history, byte for byte.
pub(crate) fn run(plan: &Plan, recording: bool) -> anyhow::Result<Verdict> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build_local(LocalOptions::default())?;
    let plan = Arc::new(plan.clone());
    let world = runtime.block_on(async {
        let world = World::new(State::new(&plan, recording));
        play(&world, &plan).await;
        world
    });
    drop(runtime);
    // They know the world, which so would outlive its run.
    world.state().ledgers.clear();
    debug_assert!(world.is_last(), "seed {}: somebody keeps the world of a run that has ended", plan.seed);
    let mut state = world.state();
    Ok(Verdict {
        violation: state.violation.take(),
        intents: state.counts.intents,
        faults: std::mem::take(&mut state.counts.faults),
        history: state.take_history(),
    })
}

async fn play(world: &World, plan: &Arc<Plan>) {
    for index in 0..plan.nodes {
        tokio::spawn(node::run(world.clone(), Arc::clone(plan), index));
    }
    let began = Instant::now();
    for step in &plan.steps {
        sleep_until(began + Duration::from_millis(step.at_ms)).await;
        if world.state().violation.is_some() {
            return;
        }
        act(world, plan, &step.action);
    }
    heal(world);
    if !rest(world).await {
        return;
    }
    // A ledger that has gone back is noticed by whoever asks it next: everybody does.
    for index in 0..plan.clinics.len() {
        let last = Action::Cancel { patient: 999, key: 9, clinic: index, by: 999 };
        if let Some((partition, payload)) = clients::payload(plan, &last) {
            clients::ask(world.clone(), partition, payload).await;
        }
    }
    if rest(world).await {
        judge(world, plan).await;
    }
}

fn act(world: &World, plan: &Plan, action: &Action) {
    if let Some((partition, payload)) = clients::payload(plan, action) {
        world.state().say(|| format!("asked on {partition}: {action:?}"));
        tokio::spawn(clients::ask(world.clone(), partition, payload));
        return;
    }
    let mut state = world.state();
    if let Some(kind) = action.fault() {
        state.fault(kind);
    }
    state.say(|| format!("FAULT {action:?}"));
    let now = Instant::now();
    let later = |ms: u64| Some(now + Duration::from_millis(ms));
    match *action {
        Action::Crash { node, down_ms } if state.is_alive(node) => {
            state.machines[node].down_ms = down_ms;
            state.kill(node);
        }
        Action::PowerLoss { node, down_ms } => {
            let machine = &mut state.machines[node];
            (machine.down_ms, machine.unpowered) = (down_ms, machine.incarnation);
            state.kill(node);
            if let Some(books) = state.disk.recover() {
                state.store = books;
            }
        }
        Action::Drain { node, down_ms } => {
            state.machines[node].down_ms = down_ms;
            state.machines[node].draining = true;
        }
        Action::Pause { node, ms } => {
            state.machines[node].stopped_until = later(ms);
            if ms > 300 {
                state.log.evict(node, now);
            }
        }
        Action::Rebalance => state.log.rebalance(now),
        Action::Evict { node } => state.log.evict(node, now),
        Action::LedgerLoss => state.ledger = ledger::Days::default(),
        Action::LedgerCopy => state.ledger_copy = Some(state.ledger.clone()),
        Action::LedgerBack => {
            if let Some(copy) = state.ledger_copy.clone() {
                state.ledger = copy;
            }
        }
        Action::StoreFailover { ms } => state.store_away_until = later(ms),
        Action::LogOutage { ms } => state.log_away_until = later(ms),
        Action::NodeClock { node, by_s } => state.machines[node].clock_ahead_us += by_s * 1_000_000,
        Action::LogClock { by_s } => state.log_ahead += Duration::from_secs(by_s),
        _ => {}
    }
    drop(state);
    world.ring();
}

fn heal(world: &World) {
    let mut state = world.state();
    state.noise = Noise::NONE;
    state.say(|| "nothing goes wrong from now on".to_owned());
    drop(state);
    world.ring();
}

/// Waits until every record is decided, everybody was told, and nothing moves any more.
async fn rest(world: &World) -> bool {
    let until = Instant::now() + REST_MAX;
    // Whoever still asks gives up after some tries.
    sleep(Duration::from_secs(2)).await;
    loop {
        {
            let mut state = world.state();
            if state.violation.is_some() {
                return false;
            }
            let waiting = (0..PARTITIONS).find(|partition| state.store.next(*partition) < state.log.end(*partition));
            let untold = untold(&state);
            if waiting.is_none() && untold.is_none() {
                break;
            }
            if Instant::now() > until {
                let what = match waiting {
                    Some(partition) => format!(
                        "partition {partition} stands still at {} of {}",
                        state.store.next(partition),
                        state.log.end(partition)
                    ),
                    None => format!("nobody was told of {}", untold.expect("one of the two")),
                };
                state.violated(what);
                return false;
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
    sleep(Duration::from_secs(3)).await;
    world.state().violation.is_none()
}

fn untold(state: &State) -> Option<Position> {
    (0..PARTITIONS).find_map(|partition| {
        let all = (0..state.store.next(partition)).map(|offset| Position { partition, offset });
        all.into_iter().find(|position| !state.told.0.contains_key(position))
    })
}

/// Decides the whole log again, one record after the other, by rules written down a second time, and compares.
async fn judge(world: &World, plan: &Plan) {
    let acknowledged = std::mem::take(&mut world.state().acknowledged);
    for (position, payload) in acknowledged {
        let mut state = world.state();
        let all = state.log.records.get(&position.partition);
        let record = all.and_then(|all| all.get(usize::try_from(position.offset).ok()?));
        if record.is_none_or(|record| record.payload != payload) {
            state.violated(format!("{position} was acknowledged, and is not in the log"));
        }
    }
    let edge = Edge { world: world.clone(), node: CLIENT, incarnation: 0 };
    let (log, store) = (log::Port(edge.clone()), store::Port(edge));
    let options = orderly_checker::Options {
        idle: true,
        repeats_known_records: plan.tickets_max as u64,
        repeats_known_for: Duration::from_secs(plan.window_s),
        embedded: !plan.shared_ledger,
        analytics_forget: false,
    };
    let mut report = match orderly_checker::check(&log, &store, options).await {
        Ok(report) => report,
        Err(error) => return world.state().violated(format!("the history cannot be judged: {error}")),
    };
    let now = world.state().log_now();
    let ledgers = world.state().ledgers.clone();
    for ledger in ledgers.into_iter().flatten().take(1) {
        if let Err(error) = orderly_checker::check_ledger(&*ledger, &store, now, &mut report).await {
            world.state().violated(format!("the ledger cannot be judged: {error}"));
        }
    }
    if let Some(what) = first_broken(&report) {
        world.state().violated(what);
    }
}

fn first_broken(report: &Report) -> Option<String> {
    let broken = report.broken().next()?;
    let finding = &report.findings[&broken];
    Some(format!("{}: {}", broken.title(), finding.rows.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_history_byte_for_byte() {
        for seed in 1..=4 {
            let history = || run(&Plan::draw(seed), true).expect("a runtime").history.join("\n");
            let first = history();
            assert!(first.lines().count() > 20, "seed {seed} tells what happened");
            assert_eq!(first, history(), "seed {seed}");
        }
    }

    #[test]
    fn the_store_refuses_keys_that_cross_departments() {
        let crossing = (1..=60).map(Plan::draw).filter(|plan| plan.keys_cross_departments);
        let verdicts: Vec<_> = crossing.map(|plan| run(&plan, true).expect("a runtime")).collect();
        let of_several = |verdict: &&Verdict| {
            let refused = verdict.history.iter().filter(|line| line.ends_with("corrected by the store"));
            let booked_beside = |refused: &String| {
                let at = refused.split(" n").next();
                verdict.history.iter().any(|line| line.split(" n").next() == at && line.contains(": booked"))
            };
            refused.into_iter().any(booked_beside)
        };
        assert!(verdicts.iter().any(|verdict| of_several(&verdict)), "one commit has a refused booking and another");
        assert!(verdicts.iter().all(|verdict| verdict.violation.is_none()), "and all promises are kept");
    }

    #[test]
    fn promises_are_kept() {
        for seed in 1..=20 {
            let verdict = run(&Plan::draw(seed), false).expect("a runtime");
            assert_eq!(verdict.violation, None, "orderly-sim --seed {seed} tells how");
        }
    }
}
