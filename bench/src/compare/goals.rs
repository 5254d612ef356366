//! What is wanted of Orderly beside others, and of how it grows.

use super::report::Report;
use super::scale::Axis;
use super::system::System;
use super::workload::Workload;
use crate::goal::{Goal, Wanted};

/// Decided a second ÷ a baseline's.
const RATIOS: [(Workload, System, f64); 5] = [
    (Workload::Hot, System::Orderly, 1.5),
    (Workload::Mass, System::Orderly, 10.0),
    (Workload::Spread, System::Orderly, 3.0),
    (Workload::Mass, System::Distributed, 5.0),
    (Workload::Spread, System::Distributed, 1.0),
];
/// What is left of the most when more than that is asked for by clients who ask again.
const STORM: f64 = 0.9;
/// Fewer tickets than this also pay for the start.
pub(super) const TICKETS_LEAST: u64 = 100_000;

/// The goals of what was measured.
pub(super) fn goals(report: &Report) -> Vec<Goal> {
    let mut goals = Vec::new();
    for (workload, system, least) in RATIOS {
        let Some(row) = report.row(system, workload) else { continue };
        let best = [
            (report.best_baseline(workload), "the best that answers from the disk"),
            (report.best_of_five(workload), "the best of the five, by the letter"),
        ];
        for (best, name) in best {
            let Some(ratio) = best.and_then(|best| report.ratio(row, best)) else { continue };
            let what = format!("{}: {} ÷ {name}", workload.title(), system.title());
            goals.push(Goal::new(what, ratio, Wanted::Least(least)));
        }
    }
    let hot = report.row(System::Orderly, Workload::Hot).and_then(|row| report.whole_per_s(row));
    if let Some((rate, bare)) = hot.zip(report.bare(Workload::Hot)) {
        let what = format!("{}: {} ÷ the bare handler", Workload::Hot.title(), System::Orderly.title());
        goals.push(Goal::new(what, rate / bare.per_s, Wanted::Least(0.45)));
    }
    if let Some(left) = report.row(System::Orderly, Workload::Storm).and_then(left_in_storm) {
        let what = format!("retry storm: {}, outcomes a second past its most ÷ its most", System::Orderly.title());
        goals.push(Goal::new(what, left, Wanted::Least(STORM)));
    }
    if let Some(accept) = report.row(System::Orderly, Workload::Ladder).and_then(|row| row.accept) {
        let what = format!("{}: 202 at 70 % of its most, p99 in ms", System::Orderly.title());
        goals.push(Goal::new(what, accept.p99_ms, Wanted::Most(10.0)));
    }
    for (axis, least, what, most) in
        [(Axis::Sessions, 0, "sessions", 1.3), (Axis::Tickets, TICKETS_LEAST, "tickets", 1.2)]
    {
        if let Some((small, large)) = report.growth(axis, least) {
            let what = format!("cost of an intent at {} {what} ÷ at {}", large.size, small.size);
            goals.push(Goal::new(what, large.cpu_ms_per_intent / small.cpu_ms_per_intent, Wanted::Most(most)));
        }
    }
    let is_orderly = |system: System| matches!(system, System::Orderly | System::Distributed);
    let wrong = report.rows.iter().filter(|row| is_orderly(row.system));
    let wrong: u64 = wrong.map(|row| row.truth.oversold + row.truth.lost + row.truth.doubled).sum();
    goals.push(Goal::new("Orderly, under all loads: oversold, lost or doubled", wrong as f64, Wanted::Most(0.0)));
    if report.crashes.iter().any(|crash| crash.is_orderly) {
        let lost = report.crashes.iter().filter(|crash| crash.is_orderly);
        let lost: u64 = lost.map(|crash| crash.unrecorded + crash.lost + crash.oversold).sum();
        goals.push(Goal::new("Orderly, killed: told a number and not in the store", lost as f64, Wanted::Most(0.0)));
    }
    goals
}

/// The least that is decided where more than its most is offered ÷ its most.
fn left_in_storm(row: &super::report::Row) -> Option<f64> {
    let past = row.steps.iter().filter(|step| step.share > 1.0);
    past.map(|step| step.decided_per_s / (step.offered_per_s / step.share)).reduce(f64::min)
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{report, row};
    use super::super::report::{Bare, Crash, Row, Step};
    use super::*;
    use crate::latency::Summary;

    fn value(goals: &[Goal], part: &str) -> f64 {
        goals.iter().find(|goal| goal.what.contains(part)).map(|goal| goal.value).expect("there is such a goal")
    }

    #[test]
    fn each_goal_is_taken_from_what_it_names() {
        let hot = |system, rate| row(system, Workload::Hot, rate);
        let step = |share: f64, offered_per_s, decided_per_s| Step {
            share,
            offered_per_s,
            decided_per_s,
            outcome: Summary::default(),
            undecided: 0,
        };
        let steps = vec![step(0.7, 70.0, 70.0), step(2.0, 200.0, 80.0), step(3.0, 300.0, 60.0)];
        let storm = Row { steps, ..row(System::Orderly, Workload::Storm, 1.0) };
        let rows = vec![hot(System::Orderly, 6.0), hot(System::RowLock, 3.0), hot(System::RedisQueue, 12.0), storm];
        let mut report = report(rows);
        report.loads[0].bare = Some(Bare { per_s: 24.0, client_busy: 1.0 });
        let crash = Crash { what: "it", is_orderly: true, told: 9, unrecorded: 0, lost: 0, oversold: 0 };
        report.crashes = vec![crash.clone(), Crash { is_orderly: false, lost: 5, ..crash }];
        let goals = goals(&report);
        for (part, expected) in [
            ("the best that answers from the disk", 2.0),
            ("the best of the five", 0.5),
            ("bare handler", 0.25),
            ("retry storm", 0.6),
            ("under all loads", 0.0),
            ("killed", 0.0),
        ] {
            assert!((value(&goals, part) - expected).abs() < 1e-9, "{part}: {}", value(&goals, part));
        }
        assert_eq!(goals.len(), 6, "what was not measured has no goal: {goals:?}");
    }
}
