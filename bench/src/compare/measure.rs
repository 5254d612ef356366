//! One load on one system.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use indicatif::ProgressBar;
use tokio::time::Instant;

use super::cost::{Watch, own_cpu_s, usage};
use super::drive::{Tally, at_rate, closed, open};
use super::report::{Bare, Row, Step};
use super::system::{Lab, Running, System};
use super::target::{Target, Words};
use super::truth::Truth;
use super::workload::{Plan, Play, Size, Wish, Workload, endless};
use crate::client::Client;
use crate::latency::Summary;

/// The longest wait for one answer.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Connections of the impatient: as many as may try at the same time. Each try has one for 200 ms at most, so that this is 60,000 tries
/// a second, more than any system here can answer.
const STORM_CONNECTIONS: usize = 12_000;
/// The share of its own most at which a system's acceptance is measured.
const ACCEPT_SHARE: f64 = 0.7;

/// How a system is called.
pub(super) struct Caller<'a> {
    pub(super) connections: usize,
    pub(super) bearers: &'a [HeaderValue],
    pub(super) bar: &'a ProgressBar,
}

impl Caller<'_> {
    pub(super) fn target(
        &self,
        url: &str,
        words: Words,
        plan: &Plan,
        connections: usize,
        patience: Duration,
    ) -> anyhow::Result<Arc<Target>> {
        let session_ids = plan.sessions.iter().map(|session| session.session_id.clone()).collect();
        let client = Client::new(url, connections, patience)?;
        Ok(Arc::new(Target { client, words, bearers: self.bearers.to_vec(), session_ids }))
    }

    /// What the bare handler answers at most to the requests that Orderly gets.
    pub(super) async fn bare(&self, plan: &Plan, length: Duration) -> anyhow::Result<Bare> {
        let server = crate::limits::process::bare().await?;
        let target = self.target(&server.url, Words::Accept, plan, self.connections, ANSWER_MAX)?;
        let wishes = wishes(plan, 0, 2_000_000)?;
        let before = own_cpu_s()?;
        let tally = closed(&target, self.connections, 0, &wishes, length, self.bar).await;
        let (seconds, cpu_s) = (tally.took.as_secs_f64(), own_cpu_s()? - before);
        server.kill().await?;
        Ok(Bare { per_s: tally.decided() as f64 / seconds, client_busy: cpu_s / seconds })
    }

    /// Puts the load on the system, and looks at what came of it.
    pub(super) async fn measure(
        &self,
        lab: &mut Lab,
        system: System,
        workload: Workload,
        plan: &Plan,
        size: Size,
    ) -> anyhow::Result<Row> {
        let mut running = lab.system(system).await?;
        running.open(&plan.sessions).await?;
        let target = self.target(running.url(), system.words(), plan, self.connections, ANSWER_MAX)?;
        let before = usage(&running.roots)?;
        let watch = Watch::begin(running.roots.clone());
        let mut row = Row::new(system, workload);
        let (began, client_before) = (Instant::now(), own_cpu_s()?);
        let tally = match &plan.play {
            Play::Closed => closed(&target, self.connections, 0, &plan.wishes, size.cut(), self.bar).await,
            Play::Open(arrivals) => open(&target, 0, &plan.wishes, arrivals, self.bar).await?,
            Play::Ladder => self.ladder(&running, system, &target, plan, size, &mut row).await?,
            Play::Storm => self.storm(&running, system, &target, plan, size, &mut row).await?,
        };
        let answered = Instant::now();
        row.client_busy = (own_cpu_s()? - client_before) / (answered - began).as_secs_f64();
        running.settle().await?;
        row.record_complete_s = answered.elapsed().as_secs_f64();
        let after = usage(&running.roots)?;
        row.peak_resident_bytes = watch.end().await?;
        // Its connections must not outlive the server's wish to end.
        drop(target);
        if system.words() == Words::Wait {
            running.count_syncs().await?;
            row.accept =
                if let Some(accept) = row.accept { Some(accept) } else { self.accepted(&running, plan, size).await? };
        }
        let ended = running.end(lab).await?;
        row.fill(&tally, after.cpu_s - before.cpu_s, ended.syncs);
        if matches!(plan.play, Play::Open(_)) {
            row.timeline.clone_from(&tally.timeline);
        }
        row.truth = Truth::of(&plan.sessions, &tally.booked, &ended.record);
        row.truth.checker_holds = ended.checker_holds;
        Ok(row)
    }

    /// How long the 202 takes under the same load, on the same sessions once more: whoever waits for the outcome sees none.
    async fn accepted(&self, running: &Running, plan: &Plan, size: Size) -> anyhow::Result<Option<Summary>> {
        if plan.wishes.is_empty() {
            return Ok(None);
        }
        let plan = plan.again();
        running.open(&plan.sessions).await?;
        let target = self.target(running.url(), Words::Accept, &plan, self.connections, ANSWER_MAX)?;
        // Nobody is taken for one of the first, whose keys are numbered from 0.
        let from = plan.wishes.len() as u64;
        let tally = match &plan.play {
            Play::Open(arrivals) => open(&target, from, &plan.wishes, arrivals, self.bar).await?,
            _ => closed(&target, self.connections, from, &plan.wishes, size.step(), self.bar).await,
        };
        running.decide_all().await?;
        Ok(Some(tally.latencies.summary()))
    }

    /// First what it decides at most, then steady shares of that.
    async fn ladder(
        &self,
        running: &Running,
        system: System,
        target: &Arc<Target>,
        plan: &Plan,
        size: Size,
        row: &mut Row,
    ) -> anyhow::Result<Tally> {
        let (mut all, most) = self.most(target, plan, size).await?;
        let mut next = sent(&all);
        if system.words() == Words::Wait {
            let accept = self.target(running.url(), Words::Accept, plan, self.connections, ANSWER_MAX)?;
            let tally = at_rate(&accept, most * ACCEPT_SHARE, size.step(), next, false, self.bar).await?;
            next += sent(&tally);
            row.accept = Some(tally.latencies.summary());
        }
        for share in size.ladder() {
            let rate = most * share;
            let tally = at_rate(target, rate, size.step(), next, false, self.bar).await?;
            next += sent(&tally);
            row.steps.push(Step::of(*share, rate, size.step(), &tally));
            all.add(tally);
        }
        Ok(all)
    }

    async fn storm(
        &self,
        running: &Running,
        system: System,
        target: &Arc<Target>,
        plan: &Plan,
        size: Size,
        row: &mut Row,
    ) -> anyhow::Result<Tally> {
        let (mut all, most) = self.most(target, plan, size).await?;
        let mut next = sent(&all);
        for share in size.storm() {
            let rate = most * share;
            let impatient =
                self.target(running.url(), system.words(), plan, STORM_CONNECTIONS, super::drive::IMPATIENCE)?;
            let tally = at_rate(&impatient, rate, size.step(), next, true, self.bar).await?;
            next += sent(&tally);
            row.steps.push(Step::of(*share, rate, size.step(), &tally));
            all.add(tally);
        }
        Ok(all)
    }

    /// What a system decides at most, a second.
    async fn most(&self, target: &Arc<Target>, plan: &Plan, size: Size) -> anyhow::Result<(Tally, f64)> {
        let tally = closed(target, self.connections, 0, &wishes(plan, 0, 1_000_000)?, size.step(), self.bar).await;
        let most = tally.decided() as f64 / tally.took.as_secs_f64();
        anyhow::ensure!(most > 0.0, "nothing was decided: {}", tally.first_break.as_deref().unwrap_or("no answer"));
        Ok((tally, most))
    }
}

pub(super) fn wishes(plan: &Plan, from: u64, count: u64) -> anyhow::Result<Vec<Wish>> {
    (from..from + count).map(|number| endless(number, plan.sessions.len())).collect()
}

/// How many wishes a tally is of: the next one's number.
fn sent(tally: &Tally) -> u64 {
    tally.decided() + tally.undecided
}
