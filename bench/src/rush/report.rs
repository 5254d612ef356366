//! What a rush came to.

use std::collections::BTreeMap;
use std::time::Duration;

use comfy_table::Table;
use serde::Serialize;

use super::life::{Cancellation, Hospital, Life, Repeat};
use super::{Options, violation};
use crate::api::Status;
use crate::demand::Intent;
use crate::latency::{Latencies, Summary};
use crate::table::{latencies, table};
use crate::timeline::{Event, Step, steps};

/// How many violations are kept in words; all are counted.
const VIOLATIONS_KEPT: usize = 50;
/// Over how long a rate is taken.
const STEP: Duration = Duration::from_millis(200);

/// How many of what.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// Intents, each once.
    pub offered: u64,
    /// Intents that the server took, at the first or a later attempt.
    pub accepted: u64,
    /// Intents that were not taken in the end.
    pub given_up: u64,
    /// Answers 429.
    pub throttled: u64,
    /// Answers 503.
    pub shed: u64,
    /// Answers 428 whose challenge was solved.
    pub challenges_solved: u64,
    /// Broken connections, timeouts and other answers.
    pub errors: u64,
    /// Accepted intents whose outcome was learnt.
    pub decided: u64,
    /// Those that got a number.
    pub booked: u64,
    /// Those that were refused, by cause.
    pub rejected: BTreeMap<String, u64>,
    /// Booked and given back.
    pub cancelled: u64,
    /// Retries with the same key whose answer was compared with the first.
    pub retries_compared: u64,
    /// Outcomes that came over an event stream.
    pub pushed: u64,
}

/// What a rush came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it was measured.
    pub machine: String,
    /// The command.
    pub command: String,
    /// The seed.
    pub seed: u64,
    /// From the start to the last outcome, in seconds.
    pub seconds: f64,
    /// How many of what.
    pub counts: Counts,
    /// From the intended start to the acceptance as read by the client.
    pub accept_latency: Summary,
    /// From the intended start to the decision, by the server's clock.
    pub decision_latency: Summary,
    /// From the acceptance to the outcome, both as read by the client, where the outcome was pushed.
    pub push_latency: Summary,
    /// The busiest step's arrivals per second.
    pub peak_offered_per_s: f64,
    /// The busiest step's acceptances per second.
    pub peak_accepted_per_s: f64,
    /// The busiest step's decisions per second.
    pub peak_decided_per_s: f64,
    /// The largest backlog at the end of a step.
    pub peak_backlog: u64,
    /// The server's resident memory at the end, in bytes.
    pub resident_bytes: Option<u64>,
    /// How many promises were seen broken.
    pub violation_count: usize,
    /// The first of them, in words.
    pub violations: Vec<String>,
    /// The rush over time.
    pub timeline: Vec<Step>,
}

impl Report {
    pub(super) fn new(
        options: &Options,
        hospital: &Hospital,
        intents: &[Intent],
        lives: &[Life],
        resident_bytes: Option<u64>,
    ) -> Self {
        let events: Vec<_> = lives.iter().map(|life| event(hospital, &intents[life.index], life)).collect();
        let timeline = steps(&events, STEP);
        let peak = |of: fn(&Step) -> f64| timeline.iter().map(of).fold(0.0, f64::max);
        let since_intended = |of: fn(&Event) -> Option<Duration>| {
            let latency = |event: &Event| Some(of(event)?.saturating_sub(event.intended));
            events.iter().filter_map(latency).collect::<Latencies>().summary()
        };
        let mut violations = violation::find(intents, &hospital.sessions, lives);
        let violation_count = violations.len();
        violations.truncate(VIOLATIONS_KEPT);
        Self {
            machine: crate::machine::describe(),
            command: crate::machine::command(),
            seed: options.seed,
            seconds: hospital.start.elapsed().as_secs_f64(),
            counts: Counts { challenges_solved: hospital.desk.challenges_solved(), ..count(lives) },
            accept_latency: since_intended(|event| event.accepted),
            decision_latency: since_intended(|event| event.decided),
            push_latency: lives.iter().filter_map(|life| life.pushed).collect::<Latencies>().summary(),
            peak_offered_per_s: peak(|step| step.offered_per_s),
            peak_accepted_per_s: peak(|step| step.accepted_per_s),
            peak_decided_per_s: peak(|step| step.decided_per_s),
            peak_backlog: timeline.iter().map(|step| step.backlog).max().unwrap_or(0),
            resident_bytes,
            violation_count,
            violations,
            timeline,
        }
    }

    /// Whether the client saw every promise kept.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.violation_count == 0
    }

    /// The tables for people, then the violations.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n\n{}\n\n{}\n", self.count_table(), self.latency_table(), self.rate_table());
        if self.passed() {
            text.push_str("\nThe client saw every promise kept.\n");
        } else {
            text.push_str(&format!("\nThe client saw {} broken promises, among them:\n", self.violation_count));
            self.violations.iter().for_each(|violation| text.push_str(&format!("  {violation}\n")));
        }
        text
    }

    fn count_table(&self) -> Table {
        let counts = &self.counts;
        let mut rows = vec![
            ("offered", counts.offered),
            ("accepted (202)", counts.accepted),
            ("given up", counts.given_up),
            ("throttled answers (429)", counts.throttled),
            ("shed answers (503)", counts.shed),
            ("challenges solved (428)", counts.challenges_solved),
            ("errors", counts.errors),
            ("outcomes known", counts.decided),
            ("booked", counts.booked),
        ];
        let causes: Vec<_> = counts.rejected.iter().map(|(cause, n)| (format!("rejected: {cause}"), *n)).collect();
        rows.extend(causes.iter().map(|(cause, n)| (cause.as_str(), *n)));
        rows.extend([
            ("booked, then cancelled", counts.cancelled),
            ("retries compared with the first answer", counts.retries_compared),
            ("outcomes pushed", counts.pushed),
            ("broken promises", self.violation_count as u64),
        ]);
        let mut table = table(&["intents", "count"]);
        table.add_rows(rows.into_iter().map(|(name, n)| vec![name.to_owned(), n.to_string()]));
        table
    }

    fn latency_table(&self) -> Table {
        latencies(&[
            ("accept: intended start to 202", &self.accept_latency),
            ("decision: intended start to decided", &self.decision_latency),
            ("push: 202 to pushed outcome", &self.push_latency),
        ])
    }

    fn rate_table(&self) -> Table {
        let mut table = table(&["rates", "value"]);
        let memory =
            self.resident_bytes.map_or("unknown".to_owned(), |bytes| format!("{:.1} MiB", bytes as f64 / 1_048_576.0));
        let per_second = |rate: f64| format!("{rate:.0} /s");
        table.add_rows([
            vec!["peak offered".to_owned(), per_second(self.peak_offered_per_s)],
            vec!["peak accepted".to_owned(), per_second(self.peak_accepted_per_s)],
            vec!["peak decided".to_owned(), per_second(self.peak_decided_per_s)],
            vec!["peak backlog".to_owned(), self.peak_backlog.to_string()],
            vec!["server's memory (RSS)".to_owned(), memory],
            vec!["whole run".to_owned(), format!("{:.1} s", self.seconds)],
        ]);
        table
    }
}

fn event(hospital: &Hospital, intent: &Intent, life: &Life) -> Event {
    let decided_at = life.outcome.as_ref().and_then(|ticket| ticket.decided_at);
    Event { intended: intent.at, accepted: life.accepted, decided: decided_at.map(|at| at.since(hospital.start_wall)) }
}

fn count(lives: &[Life]) -> Counts {
    let mut counts = Counts { offered: lives.len() as u64, ..Counts::default() };
    for life in lives {
        counts.throttled += life.answers.throttled;
        counts.shed += life.answers.shed;
        counts.errors += life.answers.errors;
        counts.accepted += u64::from(life.accepted.is_some());
        counts.given_up += u64::from(life.accepted.is_none());
        counts.pushed += u64::from(life.pushed.is_some());
        counts.cancelled += u64::from(life.cancellation == Some(Cancellation::Done));
        counts.retries_compared += u64::from(matches!(life.repeat, Some(Repeat::Decided(_))));
        let Some(ticket) = &life.outcome else { continue };
        counts.decided += 1;
        if ticket.status == Status::Rejected {
            *counts.rejected.entry(ticket.reason.clone().unwrap_or_default()).or_default() += 1;
        } else {
            counts.booked += 1;
        }
    }
    counts
}
