//! The model: costs times demand, line by line.

use serde::Serialize;

use super::costs::{Costs, Intent};
use super::demand::Demand;
use super::simulate::{Least, Simulated, Speed, simulate};

/// The part of a core that is planned with; the rest is for what nobody planned.
const BUSY_MAX: f64 = 0.7;
/// Partitions for each pipeline node, so that there may be more of them later.
const PARTITIONS_PER_PIPELINE: f64 = 6.0;
/// Copies of every record in Kafka.
const COPIES: f64 = 3.0;
/// Days that Kafka keeps records: longer than the pipeline can ever be down.
const LOG_DAYS: f64 = 7.0;
/// What Redis needs over what it holds: fragmentation, and the copy of what changes while it saves.
const REDIS_SPARE: f64 = 2.0;
/// Bytes of a ticket that dedup remembers, and of a decision in ClickHouse: assumed, not measured.
const DEDUP_BYTES: f64 = 128.0;
const DEDUP_TICKETS: f64 = 32_768.0;
const ANALYTICS_BYTES: f64 = 100.0;
/// Cores of the largest server that PostgreSQL is planned on.
const POSTGRES_CORES_MAX: f64 = 64.0;

/// The simulation's step, in milliseconds: it tells waits no finer.
const STEP_MS: f64 = 1.0;

/// A step of the arithmetic.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Line {
    pub(super) what: &'static str,
    pub(super) formula: &'static str,
    /// The formula with its numbers.
    pub(super) numbers: String,
    pub(super) result: f64,
    pub(super) unit: &'static str,
}

/// What a deployment needs.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Plan {
    pub(super) costs: Costs,
    pub(super) demand: Demand,
    pub(super) lines: Vec<Line>,
    pub(super) simulated: Simulated,
    /// Whether 99 of 100 have their outcome in time.
    pub(super) met: bool,
    /// What to know, and what would help where the demand cannot be met.
    pub(super) advice: Vec<String>,
}

/// Lines, written down as they are computed.
#[derive(Default)]
struct Sheet(Vec<Line>);

impl Sheet {
    fn line(
        &mut self,
        what: &'static str,
        formula: &'static str,
        numbers: String,
        result: f64,
        unit: &'static str,
    ) -> f64 {
        self.0.push(Line { what, formula, numbers, result, unit });
        result
    }
}

/// A number as people write it.
pub(super) fn number(value: f64) -> String {
    let rounded = if value.abs() < 10.0 && (value - value.round()).abs() > 0.005 {
        return format!("{value:.2}");
    } else {
        format!("{value:.0}")
    };
    let (sign, digits) = rounded.strip_prefix('-').map_or(("", rounded.as_str()), |digits| ("-", digits));
    let first = digits.len() % 3;
    let mut text = String::from(sign);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && place % 3 == first {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The least that 99 of 100 wait on the machine that was measured.
fn least(costs: &Costs) -> Least {
    let light = costs.light;
    Least {
        accept_ms: light.accept_p99_ms,
        outcome_ms: (light.outcome_p99_ms - light.accept_p50_ms).max(0.0),
        total_ms: light.outcome_p99_ms,
    }
}

/// Sizes a deployment.
pub(super) fn plan(demand: &Demand, costs: &Costs) -> Plan {
    let each = Intent::mixed(&costs.booked, &costs.refused, demand.booked_share);
    let mut sheet = Sheet::default();
    let mut advice = Vec::new();
    let (accepts, ingresses) = ingresses(&mut sheet, demand, &each);
    let (decides, pipelines) = pipelines(&mut sheet, demand, &each, costs, &mut advice);
    servers(&mut sheet, demand, &each, decides, &mut advice);
    memory(&mut sheet, demand, costs, ingresses, pipelines);
    kept(&mut sheet, demand, &each, costs);
    let simulated = simulate(demand.peak_rps, demand.peak_seconds, Speed::Apart { accepts, decides }, least(costs));
    finish(demand, costs, sheet, simulated, advice)
}

/// Everything, the load client too, on one machine of so many cores: what a run of `orderly-bench plan` is held beside.
pub(super) fn one_machine(demand: &Demand, costs: &Costs, cores: u16) -> Plan {
    let each = Intent::mixed(&costs.booked, &costs.refused, demand.booked_share);
    let mut sheet = Sheet::default();
    let n = number;
    let accept_us = sheet.line(
        "to take an intent in",
        "client + ingress + Kafka",
        format!("{} + {} + {}", n(each.client_us), n(each.ingress_us), n(each.kafka_us)),
        each.client_us + each.ingress_us + each.kafka_us,
        "µs of a core",
    );
    let decide_us = sheet.line(
        "to decide it",
        "pipeline + Redis + PostgreSQL",
        format!("{} + {} + {}", n(each.pipeline_us), n(each.redis_us), n(each.postgres_us)),
        each.pipeline_us + each.redis_us + each.postgres_us,
        "µs of a core",
    );
    let slowest_us = each.pipeline_us.max(each.redis_us).max(each.postgres_us);
    let decides_max = sheet.line(
        "decisions of the step that one thread does",
        "1,000,000 ÷ the largest of these costs",
        format!("1,000,000 ÷ {}", n(slowest_us)),
        1e6 / slowest_us,
        "a second",
    );
    let cores = f64::from(cores);
    sheet.line(
        "intents that the machine bears",
        "cores × 1,000,000 ÷ all costs",
        format!("{} × 1,000,000 ÷ ({} + {})", n(cores), n(accept_us), n(decide_us)),
        cores * 1e6 / (accept_us + decide_us),
        "a second",
    );
    let speed = Speed::Together { cores, accept_us, decide_us, decides_max };
    let simulated = simulate(demand.peak_rps, demand.peak_seconds, speed, least(costs));
    finish(demand, costs, sheet, simulated, Vec::new())
}

fn finish(demand: &Demand, costs: &Costs, sheet: Sheet, simulated: Simulated, mut advice: Vec<String>) -> Plan {
    let met = simulated.total_p99_ms <= demand.p99_ms + STEP_MS;
    if costs.light.outcome_p99_ms > demand.p99_ms {
        advice.push(format!(
            "99 % within {} ms cannot be met by more nodes: without any queue it takes {} ms on the machine measured. Ask for \
             at least that, or measure faster disks and processors (orderly-bench costs), or lower pipeline.epoch_linger_ms.",
            number(demand.p99_ms),
            number(costs.light.outcome_p99_ms)
        ));
    } else if !met {
        advice.push(format!(
            "99 % within {} ms is not met: it takes {} ms. More cores, a lower peak (the throttle's global rate), or a longer wait \
             would do.",
            number(demand.p99_ms),
            number(simulated.total_p99_ms)
        ));
    }
    Plan { costs: costs.clone(), demand: *demand, lines: sheet.0, simulated, met, advice }
}

/// Intents a second that they take in, and how many there are.
fn ingresses(sheet: &mut Sheet, demand: &Demand, each: &Intent) -> (f64, f64) {
    let n = number;
    let node = sheet.line(
        "an ingress takes in",
        "cores × busy ÷ cost",
        format!("{} × {BUSY_MAX} × 1,000,000 ÷ {} µs", n(demand.node_cores), n(each.ingress_us)),
        demand.node_cores * BUSY_MAX * 1e6 / each.ingress_us,
        "intents a second",
    );
    let needed = (demand.peak_rps / node).ceil();
    let nodes = sheet.line(
        "ingress nodes",
        "⌈peak ÷ node⌉ + 1 that may fail",
        format!("⌈{} ÷ {}⌉ + 1", n(demand.peak_rps), n(node)),
        needed + 1.0,
        "nodes",
    );
    (node * needed, nodes)
}

/// Decisions a second of all of them, and how many there are.
fn pipelines(sheet: &mut Sheet, demand: &Demand, each: &Intent, costs: &Costs, advice: &mut Vec<String>) -> (f64, f64) {
    let n = number;
    // p99 of a line that grows all the peak: 0.99 × (peak − rate) × seconds ÷ rate ≤ what may be waited.
    let spare_s = ((demand.p99_ms - costs.light.outcome_p99_ms) / 1_000.0).max(0.0);
    let rate = sheet.line(
        "decisions that are needed",
        "0.99 × peak × seconds ÷ (p99 − least + 0.99 × seconds)",
        format!(
            "0.99 × {} × {} ÷ ({} + 0.99 × {})",
            n(demand.peak_rps),
            n(demand.peak_seconds),
            n(spare_s),
            n(demand.peak_seconds)
        ),
        0.99 * demand.intents() / (spare_s + 0.99 * demand.peak_seconds),
        "a second",
    );
    let by_cores = sheet.line(
        "a pipeline decides, by its cores",
        "cores × busy ÷ cost",
        format!("{} × {BUSY_MAX} × 1,000,000 ÷ {} µs", n(demand.node_cores), n(each.pipeline_us)),
        demand.node_cores * BUSY_MAX * 1e6 / each.pipeline_us,
        "a second",
    );
    let by_commit = sheet.line(
        "a pipeline commits, one transaction at a time",
        "busy ÷ PostgreSQL's cost",
        format!("{BUSY_MAX} × 1,000,000 ÷ {} µs", n(each.postgres_us)),
        BUSY_MAX * 1e6 / each.postgres_us,
        "a second",
    );
    let node = by_cores.min(by_commit);
    let needed = (rate / node).ceil();
    let nodes = sheet.line(
        "pipeline nodes",
        "⌈needed ÷ the smaller of both⌉ + 1 that may fail",
        format!("⌈{} ÷ {}⌉ + 1", n(rate), n(node)),
        needed + 1.0,
        "nodes",
    );
    sheet.line(
        "partitions",
        "pipeline nodes × 6",
        format!("{} × {PARTITIONS_PER_PIPELINE}", n(nodes)),
        nodes * PARTITIONS_PER_PIPELINE,
        "partitions",
    );
    let doctor = sheet.line(
        "the line of one doctor",
        "1,000,000 ÷ pipeline's cost, on one core",
        format!("1,000,000 ÷ {} µs", n(each.pipeline_us)),
        1e6 / each.pipeline_us,
        "a second at most",
    );
    if doctor * demand.p99_ms / 1_000.0 < demand.peak_rps {
        advice.push(format!(
            "If one doctor draws more than {} intents a second, that doctor's patients wait longer, whatever is added: limit \
             doctors in the throttle's policy.",
            n(doctor)
        ));
    }
    (node * needed, nodes)
}

fn servers(sheet: &mut Sheet, demand: &Demand, each: &Intent, decides: f64, advice: &mut Vec<String>) {
    let n = number;
    let brokers = (demand.peak_rps * each.kafka_us * COPIES / (demand.node_cores * BUSY_MAX * 1e6)).ceil();
    sheet.line(
        "Kafka brokers",
        "max(3, ⌈peak × cost × copies ÷ (cores × busy)⌉)",
        format!(
            "max(3, ⌈{} × {} µs × {COPIES} ÷ ({} × {BUSY_MAX} s)⌉)",
            n(demand.peak_rps),
            n(each.kafka_us),
            n(demand.node_cores)
        ),
        brokers.max(3.0),
        "brokers",
    );
    let rate = decides.min(demand.peak_rps);
    sheet.line(
        "Redis masters, a core each",
        "⌈decisions × cost ÷ busy⌉",
        format!("⌈{} × {} µs ÷ {BUSY_MAX} s⌉", n(rate), n(each.redis_us)),
        (rate * each.redis_us / 1e6 / BUSY_MAX).ceil().max(1.0),
        "masters",
    );
    let cores = sheet.line(
        "PostgreSQL's cores",
        "⌈decisions × cost ÷ busy⌉",
        format!("⌈{} × {} µs ÷ {BUSY_MAX} s⌉", n(rate), n(each.postgres_us)),
        (rate * each.postgres_us / 1e6 / BUSY_MAX).ceil().max(1.0),
        "cores",
    );
    let sites = (cores / POSTGRES_CORES_MAX).ceil();
    if sites > 1.0 {
        advice.push(format!(
            "PostgreSQL would need {} cores, more than a server of {POSTGRES_CORES_MAX}: run {} deployments side by side, each \
             with its part of the hospitals (a patient's rules hold within one), or accept a longer wait.",
            n(cores),
            n(sites)
        ));
    }
}

fn memory(sheet: &mut Sheet, demand: &Demand, costs: &Costs, ingresses: f64, pipelines: f64) {
    let n = number;
    let clients = demand.intents().min(demand.patients);
    let connection = costs.memory.ingress_connection_bytes;
    sheet.line(
        "memory of an ingress",
        "base + clients of the peak × connection ÷ nodes without one",
        format!(
            "{} MB + {} × {} kB ÷ {}",
            n(costs.memory.ingress_base_bytes / 1e6),
            n(clients),
            n(connection / 1e3),
            n(ingresses - 1.0)
        ),
        (costs.memory.ingress_base_bytes + clients * connection / (ingresses - 1.0)) / 1e9,
        "GB",
    );
    let partitions = PARTITIONS_PER_PIPELINE * pipelines / (pipelines - 1.0);
    sheet.line(
        "memory of a pipeline",
        "base + partitions of it × tickets known × bytes (assumed)",
        format!(
            "{} MB + {} × {} × {DEDUP_BYTES} B",
            n(costs.memory.pipeline_base_bytes / 1e6),
            n(partitions),
            n(DEDUP_TICKETS)
        ),
        (costs.memory.pipeline_base_bytes + partitions * DEDUP_TICKETS * DEDUP_BYTES) / 1e9,
        "GB",
    );
    sheet.line(
        "memory of Redis",
        "doctors × days open × places × bytes × spare",
        format!(
            "{} × {} × {} × {} B × {REDIS_SPARE}",
            n(demand.doctors),
            n(demand.days_open),
            n(demand.places),
            n(costs.booked.redis_bytes)
        ),
        demand.doctors * demand.days_open * demand.places * costs.booked.redis_bytes * REDIS_SPARE / 1e9,
        "GB",
    );
}

fn kept(sheet: &mut Sheet, demand: &Demand, each: &Intent, costs: &Costs) {
    let n = number;
    let intents = sheet.line(
        "intents a day",
        "one release's peak",
        format!("{} × {}", n(demand.peak_rps), n(demand.peak_seconds)),
        demand.intents(),
        "intents",
    );
    sheet.line(
        "disk of Kafka, all brokers",
        "intents × bytes × copies × days of log",
        format!("{} × {} B × {COPIES} × {LOG_DAYS}", n(intents), n(each.kafka_bytes)),
        intents * each.kafka_bytes * COPIES * LOG_DAYS / 1e9,
        "GB",
    );
    let booked = intents * demand.booked_share;
    let (booking, refusal) = (costs.booked.postgres_bytes, costs.refused.postgres_bytes);
    sheet.line(
        "disk of PostgreSQL",
        "days kept × (booked × bytes + refused × bytes)",
        format!(
            "{} × ({} × {} B + {} × {} B)",
            n(demand.retention_days),
            n(booked),
            n(booking),
            n(intents - booked),
            n(refusal)
        ),
        demand.retention_days * (booked * booking + (intents - booked) * refusal) / 1e9,
        "GB",
    );
    sheet.line(
        "disk of ClickHouse",
        "days kept × intents × bytes (assumed)",
        format!("{} × {} × {ANALYTICS_BYTES} B", n(demand.retention_days), n(intents)),
        demand.retention_days * intents * ANALYTICS_BYTES / 1e9,
        "GB",
    );
}
