//! What was measured.

use std::time::Duration;

use serde::Serialize;

use super::drive::{Moment, Tally};
use super::scale::{Axis, Point};
use super::system::System;
use super::truth::Truth;
use super::workload::Workload;
use crate::latency::Summary;

/// A steady rate.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Step {
    /// Of what the system decides at most.
    pub share: f64,
    /// Wishes a second.
    pub offered_per_s: f64,
    /// Outcomes a second, of those that came while wishes came.
    pub decided_per_s: f64,
    /// From when a request was due to its outcome.
    pub outcome: Summary,
    /// Without an outcome at the end.
    pub undecided: u64,
}

impl Step {
    pub(super) fn of(share: f64, offered_per_s: f64, length: Duration, tally: &Tally) -> Self {
        let decided_per_s = tally.in_time as f64 / length.as_secs_f64();
        let (outcome, undecided) = (tally.latencies.summary(), tally.undecided);
        Self { share, offered_per_s, decided_per_s, outcome, undecided }
    }
}

/// One system under one load.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which.
    pub system: System,
    /// Under what.
    pub workload: Workload,
    /// Attempts with a final outcome.
    pub decided: u64,
    /// Of them, with a number.
    pub booked: u64,
    /// Without an outcome at the end.
    pub undecided: u64,
    /// Answers that asked to come back.
    pub turned_away: u64,
    /// Attempts without an answer that makes sense.
    pub broken: u64,
    /// The first of those.
    pub first_break: Option<String>,
    /// From the first request to the last outcome.
    pub seconds: f64,
    /// The loop was ended before all wishes were sent.
    pub cut: bool,
    /// Final outcomes a second.
    pub goodput_per_s: f64,
    /// From when a request was due (closed loop: sent) to its outcome.
    pub outcome: Summary,
    /// From when a request was due to its 202, at 70 % of what the system decides at most.
    pub accept: Option<Summary>,
    /// Patients who got a place though they asked after somebody had been told that none is left.
    pub out_of_order: u64,
    /// From the last answer until the system of record had everything.
    pub record_complete_s: f64,
    /// Of the processor, of all its processes, for one outcome, in milliseconds.
    pub cpu_ms_per_intent: f64,
    /// Waits for the disk for one outcome, where they can be counted.
    pub fsyncs_per_intent: Option<f64>,
    /// The most memory of all its processes.
    pub peak_resident_bytes: u64,
    /// What must not be.
    pub truth: Truth,
    /// Steady rates.
    pub steps: Vec<Step>,
    /// What was due and what was decided, in tenths of a second, of loads whose arrivals have a plan of their own.
    pub timeline: Vec<Moment>,
}

impl Row {
    pub(super) fn new(system: System, workload: Workload) -> Self {
        Self {
            system,
            workload,
            decided: 0,
            booked: 0,
            undecided: 0,
            turned_away: 0,
            broken: 0,
            first_break: None,
            seconds: 0.0,
            cut: false,
            goodput_per_s: 0.0,
            outcome: Summary::default(),
            accept: None,
            out_of_order: 0,
            record_complete_s: 0.0,
            cpu_ms_per_intent: 0.0,
            fsyncs_per_intent: None,
            peak_resident_bytes: 0,
            truth: Truth::default(),
            steps: Vec::new(),
            timeline: Vec::new(),
        }
    }

    pub(super) fn fill(&mut self, tally: &Tally, cpu_s: f64, syncs: Option<f64>) {
        let decided = tally.decided() as f64;
        self.decided = tally.decided();
        self.booked = tally.booked.len() as u64;
        self.undecided = tally.undecided;
        self.turned_away = tally.turned_away;
        self.broken = tally.broken;
        self.first_break.clone_from(&tally.first_break);
        self.seconds = tally.took.as_secs_f64();
        self.cut = tally.cut;
        self.out_of_order = tally.out_of_order();
        self.goodput_per_s = decided / self.seconds;
        self.outcome = tally.latencies.summary();
        self.cpu_ms_per_intent = cpu_s * 1_000.0 / decided.max(1.0);
        self.fsyncs_per_intent = syncs.map(|syncs| syncs / decided.max(1.0));
    }
}

/// What a crash took.
#[derive(Clone, Debug, Serialize)]
pub struct Crash {
    /// Which system, with what of its servers.
    pub what: &'static str,
    /// Patients who had been told a number.
    pub told: u64,
    /// Of them, those whom the restarted system does not know.
    pub lost: u64,
    /// Numbers that two patients hold after it.
    pub oversold: u64,
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where.
    pub machine: String,
    /// Of what source.
    pub commit: String,
    /// How.
    pub command: String,
    /// Of the servers, and PostgreSQL's settings.
    pub versions: Vec<String>,
    /// Connections of the client.
    pub connections: usize,
    /// Connections of each baseline to PostgreSQL.
    pub pool: usize,
    /// What the client drives a handler to that does nothing, in requests a second.
    pub bare_per_s: f64,
    /// The loads, in words.
    pub loads: Vec<(Workload, String)>,
    /// What was measured.
    pub rows: Vec<Row>,
    /// What crashes took.
    pub crashes: Vec<Crash>,
    /// What an intent costs as sessions and tickets grow.
    pub scale: Vec<Point>,
}

impl Report {
    /// A system under a load.
    #[must_use]
    pub fn row(&self, system: System, workload: Workload) -> Option<&Row> {
        self.rows.iter().find(|row| row.system == system && row.workload == workload)
    }

    /// The baseline that decides most of those that answer from the disk, under a load.
    #[must_use]
    pub fn best_baseline(&self, workload: Workload) -> Option<&Row> {
        let baselines = self.rows.iter().filter(|row| row.workload == workload && row.system.answers_from_disk());
        baselines.max_by(|one, other| one.goodput_per_s.total_cmp(&other.goodput_per_s))
    }

    /// What an intent costs where there is most ÷ where there is least of what grows, from `least` on.
    #[must_use]
    pub fn growth(&self, axis: Axis, least: u64) -> Option<(Point, Point)> {
        let mut points = self.scale.iter().filter(|point| point.axis == axis && point.size >= least);
        Some((*points.next()?, *points.next_back()?))
    }

    /// Whether no system broke a rule while it ran.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.rows.iter().all(|row| row.truth.holds())
    }
}
