//! What must hold of the arithmetic, whatever the demand.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::costs::Costs;
use super::demand::Demand;
use super::size::{Plan, number, one_machine, plan};

/// Demands that are tried.
const TRIES: usize = 200;

fn costs() -> Costs {
    Costs::built_in().expect("they can be read")
}

/// Any demand, from a small practice to a country.
fn any(random: &mut StdRng) -> Demand {
    Demand {
        doctors: f64::from(random.random_range(1_u32..500_000)),
        patients: f64::from(random.random_range(1_000_u32..50_000_000)),
        peak_rps: 10_f64.powf(random.random_range(0.0..5.5)),
        peak_seconds: random.random_range(0.5..5.0),
        p99_ms: random.random_range(1.0..10_000.0),
        retention_days: f64::from(random.random_range(1_u32..3_000)),
        days_open: f64::from(random.random_range(1_u32..60)),
        places: 30.0,
        booked_share: random.random_range(0.0..=1.0),
        node_cores: f64::from(random.random_range(1_u32..64)),
    }
}

fn result(plan: &Plan, what: &str) -> f64 {
    plan.lines.iter().find(|line| line.what == what).unwrap_or_else(|| panic!("no line {what}")).result
}

const NEEDS: [&str; 9] = [
    "ingress nodes",
    "pipeline nodes",
    "partitions",
    "Kafka brokers",
    "Redis masters, a core each",
    "PostgreSQL's cores",
    "memory of Redis",
    "disk of Kafka, all brokers",
    "disk of PostgreSQL",
];

#[test]
fn more_load_never_needs_less() {
    let (costs, mut random) = (costs(), StdRng::seed_from_u64(1));
    for _ in 0..TRIES {
        let less = any(&mut random);
        let factor = random.random_range(1.0..10.0);
        for more in [
            Demand { peak_rps: less.peak_rps * factor, ..less },
            Demand { doctors: less.doctors * factor, ..less },
            Demand { retention_days: less.retention_days * factor, ..less },
            Demand { p99_ms: less.p99_ms / factor, ..less },
        ] {
            let (small, large) = (plan(&less, &costs), plan(&more, &costs));
            for what in NEEDS {
                let (small, large) = (result(&small, what), result(&large, what));
                assert!(large >= small * (1.0 - 1e-9), "{what}: {small} for {less:?}, {large} for {more:?}");
            }
        }
    }
}

#[test]
fn a_plan_meets_what_it_was_made_for_or_says_why_not() {
    let (costs, mut random) = (costs(), StdRng::seed_from_u64(2));
    for _ in 0..TRIES {
        let demand = any(&mut random);
        let plan = plan(&demand, &costs);
        let possible = demand.p99_ms > costs.light.outcome_p99_ms + 2.0;
        assert!(plan.met || !possible, "{demand:?}: {:?}", plan.simulated);
        let explained = plan.advice.iter().any(|advice| advice.contains("cannot be met") || advice.contains("not met"));
        assert!(plan.met || explained, "{:?}", plan.advice);
    }
}

#[test]
fn every_number_is_one() {
    let (costs, mut random) = (costs(), StdRng::seed_from_u64(3));
    for _ in 0..TRIES {
        let demand = any(&mut random);
        for plan in [plan(&demand, &costs), one_machine(&Demand { peak_rps: 1_000.0, ..demand }, &costs, 2)] {
            assert!(plan.lines.iter().all(|line| line.result.is_finite() && line.result >= 0.0), "{:?}", plan.lines);
        }
    }
}

#[test]
fn numbers_read_well() {
    for (value, text) in
        [(0.0, "0"), (0.25, "0.25"), (7.0, "7"), (999.0, "999"), (1_000.0, "1,000"), (18e6, "18,000,000")]
    {
        assert_eq!(number(value), text);
    }
}
