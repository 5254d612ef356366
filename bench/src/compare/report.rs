//! What was measured.

use std::time::Duration;

use serde::Serialize;

use super::drive::{Moment, Tally};
use super::goals::goals;
use super::scale::{Axis, Point};
use super::system::System;
use super::truth::Truth;
use super::workload::{Plan, Workload};
use crate::goal::Goal;
use crate::latency::Summary;
use crate::machine::Origin;

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
    /// Final outcomes a second, while the loop went on; [`Report::whole_per_s`] is what systems are compared by.
    pub goodput_per_s: f64,
    /// From when a request was due (closed loop: sent) to its outcome.
    pub outcome: Summary,
    /// From when a request was due to its 202, where the system has one and somebody asks for it. Under steady rates at 70 % of
    /// what the system decides at most, else under the same load once more.
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
    /// The part of the time in which the client's thread had a processor.
    pub client_busy: f64,
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
            client_busy: 0.0,
            truth: Truth::default(),
            steps: Vec::new(),
            timeline: Vec::new(),
        }
    }

    /// Whether its rate is one of refusals.
    const fn refused_most(&self) -> bool {
        self.decided > 10 * self.booked
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
    /// Whether it is Orderly.
    pub is_orderly: bool,
    /// Patients who had been told a number.
    pub told: u64,
    /// Of them, those whom the system of record did not have when it was up again.
    pub unrecorded: u64,
    /// Of them, those whom it still did not have when everything was up again and nothing was on its way.
    pub lost: u64,
    /// Numbers that two patients hold after it.
    pub oversold: u64,
}

/// A load that was played.
#[derive(Clone, Debug, Serialize)]
pub struct Load {
    /// Which.
    pub workload: Workload,
    /// In words.
    pub note: String,
    /// Who want a place, where their number does not depend on the system.
    pub wishes: u64,
    /// Places that there are for them.
    pub places: u64,
    /// What the client drives a handler to that does nothing, just before, where systems are driven to their most.
    pub bare: Option<Bare>,
}

impl Load {
    pub(super) fn of(workload: Workload, plan: &Plan, bare: Option<Bare>) -> Self {
        let places = plan.sessions.iter().map(|session| u64::from(session.capacity)).sum();
        Self { workload, note: plan.note.clone(), wishes: plan.wishes.len() as u64, places, bare }
    }

    /// Whether each system gets the same wishes, so that there is a last one to be told.
    fn has_an_end(&self) -> bool {
        self.wishes > 0
    }
}

/// The client and a handler that does nothing.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bare {
    /// Requests a second.
    pub per_s: f64,
    /// The part of the time in which the client's thread had a processor.
    pub client_busy: f64,
}

/// When the last patient has an outcome, in seconds from the first request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AllKnow {
    /// Measured.
    After(f64),
    /// The loop was ended before; computed from the rates until then.
    Computed(f64),
    /// The loop was ended before, and there is nothing to compute it from.
    Later(f64),
}

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Connections of the client.
    pub connections: usize,
    /// Connections of each baseline to PostgreSQL.
    pub pool: usize,
    /// The loads.
    pub loads: Vec<Load>,
    /// What was measured.
    pub rows: Vec<Row>,
    /// What crashes took.
    pub crashes: Vec<Crash>,
    /// What an intent costs as sessions and tickets grow.
    pub scale: Vec<Point>,
    /// Loads that were asked for and could not be played, and why.
    pub left_out: Vec<String>,
    /// What could not be measured, and why.
    pub failed: Vec<String>,
    /// The goals, and whether they were reached.
    pub goals: Vec<Goal>,
}

impl Report {
    /// A system under a load.
    #[must_use]
    pub fn row(&self, system: System, workload: Workload) -> Option<&Row> {
        self.rows.iter().find(|row| row.system == system && row.workload == workload)
    }

    /// What the client drives a handler to that does nothing, beside a load.
    #[must_use]
    pub fn bare(&self, workload: Workload) -> Option<Bare> {
        self.loads.iter().find(|load| load.workload == workload)?.bare
    }

    /// The baseline that decides most of those that answer from the disk, under a load.
    #[must_use]
    pub fn best_baseline(&self, workload: Workload) -> Option<&Row> {
        self.best(workload, System::answers_from_disk)
    }

    /// The baseline that decides most of the five that keep bookings at all, when they are asked or later.
    #[must_use]
    pub fn best_of_five(&self, workload: Workload) -> Option<&Row> {
        self.best(workload, System::is_of_the_five)
    }

    fn best(&self, workload: Workload, is_compared: fn(System) -> bool) -> Option<&Row> {
        let baselines = self.rows.iter().filter(|row| row.workload == workload && is_compared(row.system));
        let rates = baselines.filter_map(|row| Some((row, self.whole_per_s(row)?)));
        rates.max_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(row, _)| row)
    }

    /// Final outcomes a second over the whole load. A system that was cut off while places were left has refused nobody yet, which
    /// is the quicker part; the rate until then is no rate to compare others with that came to the end. `None` where the rest
    /// cannot be computed.
    #[must_use]
    pub fn whole_per_s(&self, row: &Row) -> Option<f64> {
        let load = self.loads.iter().find(|load| load.workload == row.workload);
        match (load, self.all_know(row)) {
            (Some(load), Some(AllKnow::Computed(seconds))) => Some(load.wishes as f64 / seconds),
            (_, Some(AllKnow::Later(_))) => None,
            _ => Some(row.goodput_per_s),
        }
    }

    /// A system's rate under a load ÷ another's; `None` where one of them is not known.
    #[must_use]
    pub fn ratio(&self, row: &Row, other: &Row) -> Option<f64> {
        Some(self.whole_per_s(row)? / self.whole_per_s(other)?)
    }

    /// When the last patient knows; nothing where patients come without end. Where the loop was ended before: places that were
    /// left go on at the rate at which they went, and the rest is refused at the rate of the hot doctor's load, where nearly
    /// everybody is.
    #[must_use]
    pub fn all_know(&self, row: &Row) -> Option<AllKnow> {
        let load = self.loads.iter().find(|load| load.workload == row.workload && load.has_an_end())?;
        if !row.cut {
            return Some(AllKnow::After(row.seconds));
        }
        let refusing = self.row(row.system, Workload::Hot).filter(|hot| hot.refused_most() && row.booked > 0);
        let Some(refusing) = refusing else { return Some(AllKnow::Later(row.seconds)) };
        let places_left = load.places.saturating_sub(row.booked) as f64;
        let wishes_left = load.wishes.saturating_sub(row.decided) as f64;
        let booking_s = places_left.min(wishes_left) * row.seconds / row.booked as f64;
        let refusing_s = (wishes_left - places_left).max(0.0) / refusing.goodput_per_s;
        Some(AllKnow::Computed(row.seconds + booking_s + refusing_s))
    }

    /// What an intent costs where there is most ÷ where there is least of what grows, from `least` on.
    #[must_use]
    pub fn growth(&self, axis: Axis, least: u64) -> Option<(Point, Point)> {
        let mut points = self.scale.iter().filter(|point| point.axis == axis && point.size >= least);
        Some((*points.next()?, *points.next_back()?))
    }

    /// Notes how long it has taken by now, and judges what was measured.
    pub(super) fn finish(&mut self, took: Duration) {
        self.seconds = took.as_secs_f64();
        self.goals = goals(self);
    }

    /// Whether everything could be measured, and no system broke a rule while it ran.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.failed.is_empty() && self.rows.iter().all(|row| row.truth.holds())
    }

    /// Whether every goal was reached.
    #[must_use]
    pub fn reached(&self) -> bool {
        self.goals.iter().all(|goal| goal.met)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A row of which only the rate counts.
    pub(in crate::compare) fn row(system: System, workload: Workload, goodput_per_s: f64) -> Row {
        Row { goodput_per_s, ..Row::new(system, workload) }
    }

    /// A report with rows and no measurement behind them.
    pub(in crate::compare) fn report(rows: Vec<Row>) -> Report {
        let load = |workload, wishes, places| Load { workload, note: String::new(), wishes, places, bare: None };
        Report {
            origin: Origin::here(),
            seconds: 1.0,
            connections: 256,
            pool: 32,
            loads: vec![
                load(Workload::Hot, 50_000, 100),
                load(Workload::Mass, 50_000, 20_000),
                load(Workload::Storm, 0, 0),
            ],
            rows,
            crashes: Vec::new(),
            scale: Vec::new(),
            left_out: Vec::new(),
            failed: Vec::new(),
            goals: Vec::new(),
        }
    }

    #[test]
    fn whoever_answers_before_the_disk_has_it_is_best_by_the_letter_only() {
        let hot = |system, rate| row(system, Workload::Hot, rate);
        let rows = vec![hot(System::RowLock, 2.0), hot(System::RedisQueue, 5.0), hot(System::Memory, 9.0)];
        let report = report(rows);
        assert_eq!(report.best_baseline(Workload::Hot).map(|row| row.system), Some(System::RowLock));
        assert_eq!(report.best_of_five(Workload::Hot).map(|row| row.system), Some(System::RedisQueue));
    }

    #[test]
    fn the_end_of_a_loop_that_was_cut_is_computed() {
        let hot = Row { decided: 50_000, booked: 100, ..row(System::RowLock, Workload::Hot, 10_000.0) };
        // 1,000 places a second: 14 s for those that are left, then 3 s for 30,000 who are refused.
        let cut = Row {
            seconds: 6.0,
            cut: true,
            booked: 6_000,
            decided: 6_000,
            ..row(System::RowLock, Workload::Mass, 1_000.0)
        };
        let whole = Row { seconds: 4.0, ..row(System::Memory, Workload::Mass, 9.0) };
        let storm = row(System::RowLock, Workload::Storm, 9.0);
        let report = report(vec![hot, cut.clone()]);
        assert_eq!(report.all_know(&cut), Some(AllKnow::Computed(23.0)));
        assert_eq!(report.whole_per_s(&cut), Some(50_000.0 / 23.0), "not the 1,000 a second until then");
        assert_eq!(report.whole_per_s(&whole), Some(9.0));
        let unknown = Row { system: System::Optimistic, ..cut };
        assert_eq!((report.all_know(&unknown), report.whole_per_s(&unknown)), (Some(AllKnow::Later(6.0)), None));
        assert_eq!(report.all_know(&whole), Some(AllKnow::After(4.0)));
        assert_eq!(report.all_know(&storm), None, "patients come without end");
    }
}
