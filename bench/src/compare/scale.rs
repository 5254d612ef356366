//! What an intent costs as a hospital grows, and as its log does: on the embedded profile, in a closed loop.

use std::time::Duration;

use anyhow::ensure;
use serde::Serialize;

use super::cost::{Usage, usage};
use super::drive::closed;
use super::measure::{Caller, wishes};
use super::system::{Lab, Running, System};
use super::workload::{Plan, Size, at_scale};

/// Sessions of the hospitals that are compared, and those that the quick set goes without.
const SESSIONS: [usize; 4] = [10, 100, 1_000, 10_000];
const SESSIONS_BETWEEN: [usize; 2] = [100, 1_000];
/// Sessions in which tickets pile up.
const TICKETS_SESSIONS: usize = 200;
/// Tickets before anything is measured.
const WARM_UP: u64 = 10_000;
/// Tickets of one measurement.
const SLICE: u64 = 30_000;
/// How often a hospital is measured; the median counts.
const ROUNDS: usize = 3;
/// Wishes that are made at once.
const CHUNK: u64 = 100_000;
/// No loop takes longer.
const CUT: Duration = Duration::from_secs(3_600);

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// The sessions that are open.
    Sessions,
    /// The tickets that were given out before.
    Tickets,
}

/// What an intent costs at one size.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Point {
    /// What grows.
    pub axis: Axis,
    /// How large it is.
    pub size: u64,
    /// Of the processor, for one outcome, in milliseconds.
    pub cpu_ms_per_intent: f64,
    /// Final outcomes a second.
    pub decided_per_s: f64,
    /// The server's memory at the end.
    pub resident_bytes: u64,
}

/// Measures hospitals of growing size, and one whose tickets grow to `tickets_max`.
///
/// # Errors
/// When the server cannot be started or loaded, or somebody got no number though there are enough.
pub(super) async fn measure(
    lab: &mut Lab,
    caller: &Caller<'_>,
    size: Size,
    tickets_max: u64,
) -> anyhow::Result<Vec<Point>> {
    let mut points = Vec::new();
    for sessions in SESSIONS.into_iter().filter(|sessions| size.full || !SESSIONS_BETWEEN.contains(sessions)) {
        let grown = Grown::start(lab, caller, at_scale(sessions, WARM_UP + SLICE * ROUNDS as u64)?).await?;
        let mut sent = grown.send(0, WARM_UP).await?.1;
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let (point, to) = grown.send(sent, sent + SLICE).await?;
            sent = to;
            rounds.push(Point { axis: Axis::Sessions, size: sessions as u64, ..point });
        }
        grown.running.end(lab).await?;
        rounds.sort_by(|one, other| one.cpu_ms_per_intent.total_cmp(&other.cpu_ms_per_intent));
        points.push(rounds[ROUNDS / 2]);
    }
    let grown = Grown::start(lab, caller, at_scale(TICKETS_SESSIONS, tickets_max)?).await?;
    let marks = (4..).map(|power| 10_u64.pow(power)).take_while(|mark| *mark <= tickets_max);
    let mut sent = 0;
    for mark in marks {
        while sent < mark - SLICE.min(mark / 2) {
            sent = grown.send(sent, (sent + CHUNK).min(mark - SLICE.min(mark / 2))).await?.1;
        }
        let (point, to) = grown.send(sent, mark).await?;
        sent = to;
        points.push(Point { axis: Axis::Tickets, size: mark, ..point });
    }
    grown.running.end(lab).await?;
    Ok(points)
}

/// A server that is loaded step by step.
struct Grown<'a> {
    running: Running,
    caller: &'a Caller<'a>,
    plan: Plan,
}

impl<'a> Grown<'a> {
    async fn start(lab: &mut Lab, caller: &'a Caller<'a>, plan: Plan) -> anyhow::Result<Self> {
        let running = lab.system(System::Orderly).await?;
        running.open(&plan.sessions).await?;
        Ok(Self { running, caller, plan })
    }

    /// Sends the wishes from one number to another, and answers with the latter.
    async fn send(&self, from: u64, to: u64) -> anyhow::Result<(Point, u64)> {
        let target = self.caller.target(
            self.running.url(),
            System::Orderly.words(),
            &self.plan,
            self.caller.connections,
            super::measure::ANSWER_MAX,
        )?;
        let wishes = wishes(&self.plan, from, to - from)?;
        let before = usage(&self.running.roots)?;
        let tally = closed(&target, self.caller.connections, from, &wishes, CUT, self.caller.bar).await;
        let Usage { cpu_s, resident_bytes } = usage(&self.running.roots)?;
        ensure!(
            tally.booked.len() == wishes.len(),
            "{} of {} got a number, though there are enough: {}",
            tally.booked.len(),
            wishes.len(),
            tally.first_break.as_deref().unwrap_or("they were refused")
        );
        let decided = tally.decided() as f64;
        let point = Point {
            axis: Axis::Tickets,
            size: to,
            cpu_ms_per_intent: (cpu_s - before.cpu_s) * 1_000.0 / decided,
            decided_per_s: decided / tally.took.as_secs_f64(),
            resident_bytes,
        };
        Ok((point, to))
    }
}
