//! Figures beside their limits.

use serde::Serialize;

use super::throttle::Checks;
use crate::goal::{self, Goal, Wanted};
use crate::latency::Summary;
use crate::machine::Origin;

/// A rate, beside the limit that was measured in the same run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Ratio {
    /// What is counted.
    pub what: &'static str,
    /// Orderly's, a second.
    pub value: f64,
    /// What it is compared with.
    pub beside: &'static str,
    /// That one's, a second.
    pub limit: f64,
    /// The least part of the limit that is wanted, if there is a goal.
    pub goal: Option<f64>,
}

impl Ratio {
    /// Orderly's part of the limit.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.value / self.limit
    }
}

/// What nodes let in together, beside the limit that they share.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Shared {
    /// When.
    pub what: &'static str,
    /// 202s a second of all nodes.
    pub accepted_per_s: f64,
    /// The limit, a second.
    pub limit_per_s: f64,
}

impl Shared {
    /// How far they may be off, as a part of the limit.
    const OFF_MAX: f64 = 0.05;

    /// How far they are off, as a part of the limit.
    #[must_use]
    pub fn off(&self) -> f64 {
        self.accepted_per_s / self.limit_per_s - 1.0
    }
}

/// What patients wait.
#[derive(Clone, Debug, Serialize)]
pub struct Wait {
    /// For what.
    pub what: &'static str,
    /// Bookings a second meanwhile.
    pub rate_per_s: f64,
    /// How long.
    pub latency: Summary,
    /// The longest that 99 % of them are to wait, in milliseconds.
    pub goal_p99_ms: f64,
}

/// Requests of which none may be counted.
#[derive(Clone, Debug, Serialize)]
pub struct Count {
    /// Which.
    pub what: &'static str,
    /// How many there were.
    pub count: u64,
    /// Of how many requests.
    pub of: u64,
    /// What the first of them was answered.
    pub first: Option<String>,
}

/// Resident memory at a moment.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    /// Tickets sent by then.
    pub tickets: u64,
    /// How much, in bytes.
    pub resident_bytes: u64,
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// Rates beside their limits.
    pub rates: Vec<Ratio>,
    /// What patients wait at half of the highest rate.
    pub waits: Vec<Wait>,
    /// What nodes let in that share limits.
    pub shared: Vec<Shared>,
    /// What must not be.
    pub counts: Vec<Count>,
    /// What a check of the throttle costs.
    pub checks: Option<Checks>,
    /// How long a small write takes until it is on the disk.
    pub sync: Option<Summary>,
    /// The embedded server's memory, early and late.
    pub memory: Option<(Memory, Memory)>,
    /// Paths that could not be measured, and why.
    pub failed: Vec<String>,
    /// Every goal, and whether it was reached; set when all is measured.
    pub goals: Vec<Goal>,
}

/// A line of the table.
struct Line {
    what: String,
    orderly: String,
    beside: String,
    ratio: String,
    goal: Option<Goal>,
}

impl Report {
    /// Nothing measured yet.
    pub(super) fn new() -> Self {
        Self {
            origin: Origin::here(),
            rates: Vec::new(),
            waits: Vec::new(),
            shared: Vec::new(),
            counts: Vec::new(),
            checks: None,
            sync: None,
            memory: None,
            failed: Vec::new(),
            goals: Vec::new(),
        }
    }

    /// Judges what was measured.
    pub(super) fn judge(&mut self) {
        self.goals = self.table().into_iter().filter_map(|line| line.goal).collect();
    }

    /// Whether everything could be measured, and nothing was counted that must not be.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.failed.is_empty() && self.counts.iter().all(|count| count.count == 0)
    }

    /// Whether every goal was reached.
    #[must_use]
    pub fn reached(&self) -> bool {
        self.goals.iter().all(|goal| goal.met)
    }

    fn table(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut line = |what: &str, orderly: String, beside: String, ratio: String, goal: Option<Goal>| {
            lines.push(Line { what: what.to_owned(), orderly, beside, ratio, goal });
        };
        for rate in &self.rates {
            let name = format!("{} ÷ {}", rate.what, rate.beside);
            let goal = rate.goal.map(|least| Goal::new(name, rate.ratio(), Wanted::Least(least)));
            let (value, beside) = (format!("{:.0}/s", rate.value), format!("{}: {:.0}/s", rate.beside, rate.limit));
            line(rate.what, value, beside, format!("{:.2}", rate.ratio()), goal);
        }
        for Wait { what, rate_per_s, latency, goal_p99_ms } in &self.waits {
            let shown = format!("p50 {:.1} ms, p99 {:.1} ms", latency.p50_ms, latency.p99_ms);
            let beside = format!("at {rate_per_s:.0} bookings/s, {} measured", latency.count);
            // What was not measured is no short wait.
            let p99_ms = if latency.count > 0 { latency.p99_ms } else { f64::NAN };
            let goal = Goal::new(format!("{what}, p99 in ms"), p99_ms, Wanted::Most(round(*goal_p99_ms)));
            line(what, shown, beside, String::new(), Some(goal));
        }
        for Count { what, count, of, first } in &self.counts {
            let beside =
                first.as_ref().map_or_else(|| format!("of {of}"), |first| format!("of {of}; the first: {first}"));
            let goal = Goal::new(*what, *count as f64, Wanted::Most(0.0));
            line(what, count.to_string(), beside, String::new(), Some(goal));
        }
        for shared in &self.shared {
            let value = format!("{:.0}/s", shared.accepted_per_s);
            let beside = format!("the limit: {:.0}/s", shared.limit_per_s);
            let goal =
                Goal::new(format!("{}, off the limit", shared.what), shared.off(), Wanted::Within(Shared::OFF_MAX));
            line(shared.what, value, beside, format!("{:+.1} %", shared.off() * 100.0), Some(goal));
        }
        if let Some(Checks { keys, resident_bytes, p50_ns, p99_ns }) = self.checks {
            let shown = format!("p50 {p50_ns} ns, p99 {p99_ns} ns");
            let beside = format!("{keys} keys in {:.0} MiB", resident_bytes as f64 / 1_048_576.0);
            let goal = Goal::new("a check of every limit, p99 in ns", p99_ns as f64, Wanted::Below(2_000.0));
            line("a check of every limit", shown, beside, String::new(), Some(goal));
            let each = resident_bytes as f64 / f64::from(keys);
            let goal = Goal::new("memory of a key, in bytes", each, Wanted::Most(Checks::KEY_BYTES_MAX));
            line("memory of a key", format!("{each:.0} bytes"), String::new(), String::new(), Some(goal));
        }
        if let Some(Summary { p50_ms, p99_ms, max_ms, .. }) = self.sync {
            let shown = format!("p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, max {max_ms:.1} ms");
            line("the disk: 16 KiB and fdatasync", String::new(), shown, String::new(), None);
        }
        if let Some((early, late)) = self.memory {
            let mib = |memory: Memory| memory.resident_bytes as f64 / 1_048_576.0;
            let ratio = mib(late) / mib(early);
            let beside = format!("{:.0} MiB after {}", mib(early), early.tickets);
            let shown = format!("{:.0} MiB after {} tickets", mib(late), late.tickets);
            let goal = Goal::new("resident memory, late ÷ early", ratio, Wanted::Most(1.2));
            line("resident memory", shown, beside, format!("{ratio:.2}"), Some(goal));
        }
        lines
    }

    /// A table for people, what it comes from, and the verdict.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.set_header(["what", "orderly", "beside", "ratio", "goal", ""]);
        for Line { what, orderly, beside, ratio, goal } in self.table() {
            let wanted = goal.as_ref().map(|goal| goal.wanted.to_string()).unwrap_or_default();
            let verdict = goal.as_ref().map(Goal::verdict).unwrap_or_default();
            table.add_row([what, orderly, beside, ratio, wanted, verdict.to_owned()]);
        }
        let failed = self.failed.iter().map(|path| format!("could not be measured: {path}"));
        let lines: Vec<_> = self.origin.lines().chain(failed).chain([goal::summary(&self.goals)]).collect();
        format!("{table}\n{}\n", lines.join("\n"))
    }
}

/// To tenths: a goal that was measured is not more exact.
fn round(ms: f64) -> f64 {
    (ms * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(value: f64, count: u64) -> Report {
        let mut report = Report::new();
        report.rates.push(Ratio { what: "202s", value, beside: "bare", limit: 100.0, goal: Some(0.5) });
        report.rates.push(Ratio { what: "202s", value, beside: "the log", limit: 100.0, goal: None });
        report.counts.push(Count { what: "refused while swapped", count, of: 9, first: None });
        report.judge();
        report
    }

    #[test]
    fn a_missed_goal_is_named_and_judged() {
        let met = report(50.0, 0);
        assert!(met.reached() && met.holds());
        assert!(met.to_text().contains("all 2 goals are met"), "{}", met.to_text());
        let slow = report(49.0, 0);
        assert!(!slow.reached() && slow.holds());
        assert!(
            slow.to_text().contains("1 of 2 goals are missed: 202s ÷ bare: 0.490, goal ≥ 0.5"),
            "{}",
            slow.to_text()
        );
        assert!(!report(50.0, 1).holds(), "nobody may be refused by a swap");
    }

    #[test]
    fn a_wait_that_nobody_measured_misses_its_goal() {
        let mut report = report(50.0, 0);
        report.waits.push(Wait { what: "202", rate_per_s: 1.0, latency: Summary::default(), goal_p99_ms: 50.0 });
        report.judge();
        assert!(!report.reached());
    }

    #[test]
    fn it_says_where_it_comes_from() {
        let json = serde_json::to_value(report(50.0, 0)).expect("it is JSON");
        for name in ["machine", "commit", "date", "command", "versions", "goals"] {
            assert!(!json[name].is_null(), "{name}");
        }
    }
}
