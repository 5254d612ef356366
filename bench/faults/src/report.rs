//! What a campaign came to.

use std::collections::BTreeMap;
use std::time::Duration;

use orderly_bench::latency::Latencies;
use orderly_bench::{machine, table};
use serde::Serialize;

use crate::fault::Fault;

/// How much of a failure goes into a ledger's line.
const FAILED_CHARS_MAX: usize = 300;
/// What recovery may take after any kind of fault, at the 99th percentile.
const RECOVERY_GOAL_S: f64 = 10.0;

/// How long recovery took after one kind of fault, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recovery {
    /// Which; `None` for all together.
    pub fault: Option<Fault>,
    /// How often it happened.
    pub count: u64,
    /// Half of the times were at most this long.
    pub p50_s: f64,
    /// 99 % of them were.
    pub p99_s: f64,
    /// The longest.
    pub max_s: f64,
}

/// What a campaign came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it ran.
    pub machine: String,
    /// The command.
    pub command: String,
    /// The seed.
    pub seed: u64,
    /// Intents per second.
    pub rate: f64,
    /// From the first rush to the last verdict, in seconds.
    pub seconds: f64,
    /// Rushes, each with faults in its middle.
    pub rushes: u64,
    /// Intents that were accepted; each has its outcome.
    pub accepted: u64,
    /// Those of them that got a number.
    pub booked: u64,
    /// How often the checker looked and was content.
    pub checks: u64,
    /// By kind, and all together at the end.
    pub recoveries: Vec<Recovery>,
    /// How long all pipelines took to stop with an alarm once Kafka's log directory was gone, in seconds; `None` when it stayed.
    pub alarm_s: Option<f64>,
    /// What this machine does not allow.
    pub left_out: Vec<Fault>,
    /// Why it ended early: what did not recover, or which promise was broken.
    pub failed: Option<String>,
}

/// Recovery times, as they come in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times(BTreeMap<Fault, Vec<Duration>>);

impl Times {
    pub(crate) fn record(&mut self, fault: Fault, took: Duration) {
        self.0.entry(fault).or_default().push(took);
    }

    /// Sums them up, by kind and all together.
    pub(crate) fn recoveries(&self) -> Vec<Recovery> {
        let by_kind = self.0.iter().map(|(fault, times)| recovery(Some(*fault), times.iter()));
        by_kind.chain([recovery(None, self.0.values().flatten())]).collect()
    }
}

fn recovery<'a>(fault: Option<Fault>, times: impl Iterator<Item = &'a Duration>) -> Recovery {
    let summary = times.copied().collect::<Latencies>().summary();
    let seconds = |ms: f64| (ms / 10.0).round() / 100.0;
    Recovery {
        fault,
        count: summary.count,
        p50_s: seconds(summary.p50_ms),
        p99_s: seconds(summary.p99_ms),
        max_s: seconds(summary.max_ms),
    }
}

impl Report {
    pub(crate) fn new(seed: u64, rate: f64) -> Self {
        Self {
            machine: machine::describe(),
            command: machine::command(),
            seed,
            rate,
            seconds: 0.0,
            rushes: 0,
            accepted: 0,
            booked: 0,
            checks: 0,
            recoveries: Vec::new(),
            alarm_s: None,
            left_out: Vec::new(),
            failed: None,
        }
    }

    /// The table for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut table = table::table(&["recovery, s", "count", "p50", "p99", "max"]);
        for recovery in &self.recoveries {
            let Recovery { fault, count, p50_s, p99_s, max_s } = recovery;
            let name = fault.map_or_else(|| "all".to_owned(), Fault::name);
            let figures = [p50_s, p99_s, max_s].map(|value| format!("{value:.2}"));
            table.add_row([name, count.to_string()].into_iter().chain(figures).collect::<Vec<_>>());
        }
        let Self { machine, seed, rate, seconds, rushes, accepted, booked, checks, alarm_s, left_out, failed, .. } =
            self;
        let ended = match failed {
            None => "found no violation.".to_owned(),
            Some(why) => format!("was content, until it failed: {why}"),
        };
        let alarm = alarm_s.map_or_else(String::new, |seconds| {
            format!(
                "last, Kafka's log directory was gone: every pipeline had stopped with an alarm after {seconds:.2} s\n"
            )
        });
        let slow = self.recoveries.iter().filter(|recovery| recovery.p99_s > RECOVERY_GOAL_S);
        let slow = slow.filter_map(|recovery| Some(recovery.fault?.name())).collect::<Vec<_>>().join(", ");
        let slow = match slow.as_str() {
            "" => format!("the p99 of every kind is within {RECOVERY_GOAL_S} s\n"),
            slow => format!("above the goal of {RECOVERY_GOAL_S} s for the p99: {slow}\n"),
        };
        let names = left_out.iter().map(|fault| fault.name()).collect::<Vec<_>>().join(", ");
        let left_out =
            if names.is_empty() { names } else { format!("left out, since this machine does not allow it: {names}\n") };
        format!(
            "{table}\n{machine}; seed {seed}; {seconds:.0} s at {rate} intents a second; {accepted} intents accepted in {rushes} rushes, every outcome \
             learnt, {booked} booked; the checker looked {checks} times and {ended}\n{slow}{alarm}{left_out}"
        )
    }

    /// Its line in a ledger of campaigns.
    #[must_use]
    pub fn to_line(&self, date: jiff::civil::Date) -> String {
        let Self { seed, rate, seconds, rushes, accepted, booked, checks, .. } = self;
        let faults = self.recoveries.iter().find(|recovery| recovery.fault.is_none()).map_or(0, |all| all.count);
        let kinds = self.recoveries.iter().filter_map(|recovery| {
            let Recovery { fault, count, p50_s, p99_s, .. } = recovery;
            Some(format!("{} {count}: {p50_s:.1}, {p99_s:.1}", fault.as_ref()?.name()))
        });
        let alarm = self
            .alarm_s
            .map(|seconds| format!("{}: stopped with an alarm after {seconds:.1}", Fault::KafkaLost.name()));
        let kinds = kinds.chain(alarm).collect::<Vec<_>>().join("; ");
        let failed = self.failed.as_deref().map_or("0".to_owned(), |why| {
            let why = why.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "/");
            format!("1: {}", why.chars().take(FAILED_CHARS_MAX).collect::<String>())
        });
        let (minutes, commit) = (seconds / 60.0, machine::commit());
        format!(
            "| {date} | {seed} | {minutes:.0} at {rate} | {rushes} | {faults} | {accepted}, {booked} booked | {checks} | {failed} | `{commit}` | \
             {kinds} |\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_up_by_kind_and_all_together() {
        let mut times = Times::default();
        for seconds in 1..=3 {
            times.record(Fault::RedisFlushed, Duration::from_secs(seconds));
        }
        times.record(Fault::KafkaKilled, Duration::from_secs(9));
        let report = Report { recoveries: times.recoveries(), accepted: 9, booked: 5, ..Report::new(7, 300.0) };
        let figures: Vec<_> =
            report.recoveries.iter().map(|r| (r.fault, r.count, r.p50_s.round(), r.max_s.round())).collect();
        let expected =
            [(Some(Fault::KafkaKilled), 1, 9.0, 9.0), (Some(Fault::RedisFlushed), 3, 2.0, 3.0), (None, 4, 2.0, 9.0)];
        assert_eq!(figures, expected);
        assert!(report.to_text().contains("redis-flushed") && report.to_text().contains("seed 7"));
        assert!(report.to_text().contains("every kind is within 10 s"));
        times.record(Fault::KafkaKilled, Duration::from_secs(12));
        let slow = Report { recoveries: times.recoveries(), ..report.clone() }.to_text();
        assert!(slow.ends_with("for the p99: kafka-killed\n"), "{slow}");
        let told = Report { alarm_s: Some(1.5), left_out: vec![Fault::ClockShifted], ..report.clone() }.to_text();
        assert!(told.contains("after 1.50 s\nleft out") && told.ends_with("clock-shifted\n"), "{told}");
        let line = report.to_line(jiff::civil::date(2026, 1, 2));
        assert!(line.starts_with("| 2026-01-02 | 7 | 0 at 300 | 0 | 4 | 9, 5 booked | 0 | 0 | `"), "{line}");
        assert!(line.ends_with("| kafka-killed 1: 9.0, 9.0; redis-flushed 3: 2.0, 3.0 |\n"), "{line}");
        let failed = Report { failed: Some("waited\nin | vain".into()), ..report };
        assert!(failed.to_line(jiff::civil::date(2026, 1, 2)).contains("| 1: waited in / vain |"));
    }
}
