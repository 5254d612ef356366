//! Figures beside their limits.

use serde::Serialize;

use super::throttle::Checks;
use crate::latency::Summary;
use crate::machine;

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
    /// Where.
    pub machine: String,
    /// How.
    pub command: String,
    /// Rates beside their limits.
    pub rates: Vec<Ratio>,
    /// What patients wait at half of the highest rate.
    pub waits: Vec<Wait>,
    /// What nodes let in that share limits.
    pub shared: Vec<Shared>,
    /// What a check of the throttle costs.
    pub checks: Option<Checks>,
    /// How long a small write takes until it is on the disk.
    pub sync: Option<Summary>,
    /// The embedded server's memory, early and late.
    pub memory: Option<(Memory, Memory)>,
}

impl Report {
    pub(super) fn new() -> Self {
        Self {
            machine: machine::describe(),
            command: machine::command(),
            rates: Vec::new(),
            waits: Vec::new(),
            shared: Vec::new(),
            checks: None,
            sync: None,
            memory: None,
        }
    }

    /// A table for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.set_header(["what", "orderly", "beside", "ratio", "goal", ""]);
        for rate in &self.rates {
            let beside = format!("{}: {:.0}/s", rate.beside, rate.limit);
            let ratio = rate.ratio();
            let (goal, verdict) = match rate.goal {
                Some(goal) => (format!("≥ {goal}"), verdict(ratio >= goal)),
                None => (String::new(), ""),
            };
            let value = format!("{:.0}/s", rate.value);
            table.add_row([rate.what, &value, &beside, &format!("{ratio:.2}"), &goal, verdict]);
        }
        for Wait { what, rate_per_s, latency, goal_p99_ms } in &self.waits {
            let shown = format!("p50 {:.1} ms, p99 {:.1} ms", latency.p50_ms, latency.p99_ms);
            let beside = format!("at {rate_per_s:.0} bookings/s, {} measured", latency.count);
            let goal = format!("p99 ≤ {goal_p99_ms:.1} ms");
            table.add_row([
                *what,
                &shown,
                &beside,
                "",
                &goal,
                verdict(latency.count > 0 && latency.p99_ms <= *goal_p99_ms),
            ]);
        }
        for shared in &self.shared {
            let (value, beside) =
                (format!("{:.0}/s", shared.accepted_per_s), format!("the limit: {:.0}/s", shared.limit_per_s));
            let (off, met) = (format!("{:+.1} %", shared.off() * 100.0), shared.off().abs() <= Shared::OFF_MAX);
            table.add_row([shared.what, &value, &beside, &off, "± 5 %", verdict(met)]);
        }
        if let Some(Checks { keys, resident_bytes, p50_ns, p99_ns }) = self.checks {
            let shown = format!("p50 {p50_ns} ns, p99 {p99_ns} ns");
            let beside = format!("{keys} keys in {:.0} MiB", resident_bytes as f64 / 1_048_576.0);
            table.add_row(["a check of every limit", &shown, &beside, "", "p99 < 2000 ns", verdict(p99_ns < 2_000)]);
        }
        if let Some(Summary { p50_ms, p99_ms, max_ms, .. }) = self.sync {
            let shown = format!("p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, max {max_ms:.1} ms");
            table.add_row(["the disk: 16 KiB and fdatasync", "", &shown, "", "", ""]);
        }
        if let Some((early, late)) = self.memory {
            let mib = |memory: Memory| memory.resident_bytes as f64 / 1_048_576.0;
            let ratio = mib(late) / mib(early);
            let beside = format!("{:.0} MiB after {}", mib(early), early.tickets);
            let shown = format!("{:.0} MiB after {} tickets", mib(late), late.tickets);
            table.add_row(["resident memory", &shown, &beside, &format!("{ratio:.2}"), "≤ 1.2", verdict(ratio <= 1.2)]);
        }
        format!("{table}\n{}\n{}\n", self.machine, self.command)
    }
}

const fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}
