//! Figures beside their limits.

use serde::Serialize;

use super::accept::Outcome;
use crate::machine;

/// A rate, beside the limit that was measured in the same run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Ratio {
    /// What is counted.
    pub what: &'static str,
    /// Orderly's, a second.
    pub value: f64,
    /// The limit's, a second.
    pub limit: f64,
}

impl Ratio {
    /// Orderly's part of the limit.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.value / self.limit
    }
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where.
    pub machine: String,
    /// How.
    pub command: String,
    /// Intents in the log that was decided from its start.
    pub intents: u32,
    /// Accepted bookings against a bare handler.
    pub accept: Option<Ratio>,
    /// Decisions against raw inserts.
    pub decide: Option<Ratio>,
    /// What a patient waits at that rate.
    pub outcome: Option<Outcome>,
    /// Bookings a second while that was measured: half of the highest rate.
    pub outcome_rate_per_s: f64,
    /// (tickets, resident bytes), early and late.
    pub memory: Option<((u64, u64), (u64, u64))>,
}

impl Report {
    pub(super) fn new(intents: u32) -> Self {
        Self {
            machine: machine::describe(),
            command: machine::command(),
            intents,
            accept: None,
            decide: None,
            outcome: None,
            outcome_rate_per_s: 0.0,
            memory: None,
        }
    }

    /// A table for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut rows = Vec::new();
        let mut add = |what: &str, orderly: String, limit: String, ratio: String, goal: &str, met: bool| {
            let verdict = if met { "met" } else { "missed" };
            rows.push([what.to_owned(), orderly, limit, ratio, goal.to_owned(), verdict.to_owned()]);
        };
        for (ratio, limit) in [(self.accept, "bare axum handler"), (self.decide, "raw inserts, 1,000 a transaction")] {
            let Some(ratio) = ratio else { continue };
            let beside = format!("{limit}: {:.0}/s", ratio.limit);
            let value = ratio.ratio();
            add(ratio.what, format!("{:.0}/s", ratio.value), beside, format!("{value:.2}"), "≥ 0.5", value >= 0.5);
        }
        if let Some(outcome) = self.outcome {
            let (p50, p99) = (outcome.latency.p50_ms, outcome.latency.p99_ms);
            let beside = format!("at {:.0} bookings/s, {} followed", self.outcome_rate_per_s, outcome.latency.count);
            let shown = format!("p50 {p50:.1} ms, p99 {p99:.1} ms");
            add("202 to pushed outcome", shown, beside, String::new(), "p99 ≤ 50 ms", p99 <= 50.0);
        }
        if let Some(((early, early_bytes), (late, late_bytes))) = self.memory {
            let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
            let ratio = late_bytes as f64 / early_bytes as f64;
            let beside = format!("{:.0} MiB after {early}", mib(early_bytes));
            let shown = format!("{:.0} MiB after {late} tickets", mib(late_bytes));
            add("resident memory", shown, beside, format!("{ratio:.2}"), "≤ 1.2", ratio <= 1.2);
        }
        let mut table = comfy_table::Table::new();
        table.set_header(["what", "orderly", "beside", "ratio", "goal", ""]).add_rows(rows);
        format!("{table}\n{}\n{}\n", self.machine, self.command)
    }
}
