//! What a crash takes: in the middle of a load PostgreSQL hangs, where a system has it, and a moment later the system and its
//! servers are killed. What people had been told is looked for in what is found afterwards.

use std::time::Duration;

use orderly_baselines::{Booked, Kind};
use orderly_stack::redis::{self, Redis};

use super::drive::{Tally, Told, closed};
use super::measure::{Caller, wishes};
use super::record::{baseline_record, distributed_record, embedded_record, written};
use super::report::Crash;
use super::system::{Lab, open_baseline};
use super::target::Words;
use super::truth::Truth;
use super::workload::{Plan, Wish};
use crate::api::Api;
use crate::client::Client;
use crate::limits::process::Server;
use crate::replay::{self, Session};

/// When PostgreSQL hangs.
const AFTER: Duration = Duration::from_millis(1_000);
/// How long it does before everything is killed. Whoever answers before PostgreSQL has a booking goes on answering.
const HANGS: Duration = Duration::from_millis(500);
/// When nobody asks any more.
const CUT: Duration = Duration::from_millis(1_600);
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// More than anybody decides until then.
const WISHES: u64 = 300_000;
/// When Redis takes a picture of itself, as it does without any configuration.
const SNAPSHOTS: &str = "3600 1 300 100 60 10000";

/// The load, in which there is a place for everybody.
struct Crowd<'a> {
    caller: &'a Caller<'a>,
    plan: &'a Plan,
    wishes: Vec<Wish>,
}

/// Kills Orderly and some baselines. Tells what came of those that could be tried, and why others could not.
pub(super) async fn crashes(
    lab: &mut Lab,
    caller: &Caller<'_>,
    plan: &Plan,
) -> anyhow::Result<(Vec<Crash>, Vec<String>)> {
    let crowd = Crowd { caller, plan, wishes: wishes(plan, 0, WISHES)? };
    let (mut crashes, mut failed) = (Vec::new(), Vec::new());
    let mut note = |what, outcome: anyhow::Result<Crash>| match outcome {
        Ok(crash) => crashes.push(crash),
        Err(error) => failed.push(format!("a crash of {what}: {error:#}")),
    };
    note("Orderly, embedded", embedded(lab, &crowd).await);
    note("Orderly, distributed", distributed(lab, &crowd).await);
    for (kind, what, append_only) in [
        (Kind::Conditional, "conditional update", true),
        (Kind::RedisQueue, "Redis first, queue; Redis with an append-only file", true),
        (Kind::RedisQueue, "Redis first, queue; Redis as it comes (snapshots)", false),
        (Kind::Memory, "memory only", true),
    ] {
        note(what, baseline(lab, &crowd, kind, what, append_only).await);
    }
    Ok((crashes, failed))
}

impl Crowd<'_> {
    /// Asks until all is over, while `kill` happens.
    async fn ask<T>(
        &self,
        url: &str,
        words: Words,
        kill: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<(Tally, T)> {
        let target = self.caller.target(url, words, self.plan, self.caller.connections, ANSWER_MAX)?;
        let load = closed(&target, self.caller.connections, 0, &self.wishes, CUT, self.caller.bar);
        let (tally, killed) = tokio::join!(load, kill);
        Ok((tally, killed?))
    }

    async fn open(&self, url: &str) -> anyhow::Result<()> {
        replay::open(&[Api::new(Client::new(url, 1, Duration::from_secs(30))?)], &self.plan.sessions).await
    }
}

async fn embedded(lab: &Lab, crowd: &Crowd<'_>) -> anyhow::Result<Crash> {
    let server = lab.embedded().await?;
    crowd.open(&server.url).await?;
    let url = server.url.clone();
    let kill = async {
        tokio::time::sleep(AFTER + HANGS).await;
        server.crash().await
    };
    let (tally, folder) = crowd.ask(&url, Words::Wait, kill).await?;
    let record = embedded_record(&folder.path().join("data"))?;
    let crash =
        Crash { is_orderly: true, ..judge("Orderly, embedded", &crowd.plan.sessions, &tally.booked, &record, &record) };
    Ok(crash)
}

async fn distributed(lab: &Lab, crowd: &Crowd<'_>) -> anyhow::Result<Crash> {
    let (mut servers, nodes) = lab.distributed().await?;
    let url = nodes[0].url.clone();
    crowd.open(&url).await?;
    let kill = async {
        tokio::time::sleep(AFTER).await;
        servers.postgres.pause();
        tokio::time::sleep(HANGS).await;
        servers.redis.process().kill()?;
        servers.kafka.process(0).kill()?;
        servers.postgres.kill()?;
        for node in nodes {
            node.kill().await?;
        }
        Ok(())
    };
    let (tally, ()) = crowd.ask(&url, Words::Wait, kill).await?;
    servers.postgres.restart()?;
    let record = distributed_record(&servers).await?;
    let crash = Crash {
        is_orderly: true,
        ..judge("Orderly, distributed", &crowd.plan.sessions, &tally.booked, &record, &record)
    };
    Ok(crash)
}

async fn baseline(
    lab: &mut Lab,
    crowd: &Crowd<'_>,
    kind: Kind,
    what: &'static str,
    append_only: bool,
) -> anyhow::Result<Crash> {
    let folder = tempfile::tempdir_in(lab.folder())?;
    let config = if append_only { Vec::new() } else { vec![("save".to_owned(), SNAPSHOTS.to_owned())] };
    let options = redis::Options { append_only, config, ..redis::Options::default() };
    let mut redis = Redis::start(folder.path(), options)?;
    let database = lab.database()?;
    let server = lab.baseline(kind, &database, &redis).await?;
    open_baseline(&server.url, &crowd.plan.sessions).await?;
    let url = server.url.clone();
    let kill = async {
        tokio::time::sleep(AFTER).await;
        lab.postgres.pause();
        tokio::time::sleep(HANGS).await;
        redis.process().kill()?;
        lab.postgres.kill()?;
        server.kill().await
    };
    let killed = crowd.ask(&url, Words::Plain, kill).await;
    // Whatever became of it, the next one needs it.
    lab.postgres.restart()?;
    let (tally, ()) = killed?;
    let found = if kind == Kind::Memory { Vec::new() } else { written(&lab.postgres.url(&database)).await? };
    redis.restart()?;
    let again: Server = lab.baseline(kind, &database, &redis).await?;
    let record = baseline_record(&again.url).await?;
    again.kill().await?;
    Ok(judge(what, &crowd.plan.sessions, &tally.booked, &found, &record))
}

/// `found` is what the system of record had when it was up again, `record` what it had when all was.
fn judge(what: &'static str, sessions: &[Session], told: &[Told], found: &[Booked], record: &[Booked]) -> Crash {
    let unrecorded = Truth::of(sessions, told, found).lost;
    let Truth { oversold, lost, .. } = Truth::of(sessions, told, record);
    Crash { what, is_orderly: false, told: told.len() as u64, unrecorded, lost, oversold }
}

#[cfg(test)]
mod tests {
    use super::super::workload::{Size, Workload};
    use super::*;

    #[test]
    fn what_comes_late_is_told_apart_from_what_is_lost() {
        let plan = Workload::Hot.plan(Size { full: false }, &replay::Options::default()).expect("it needs no data");
        let told = |number: u32| Told { wish: Wish { patient: 7 + number as usize, session: 0 }, number };
        let told: Vec<_> = (1..=4).map(told).collect();
        let booked = |number: i32| Booked {
            session_id: plan.sessions[0].session_id.clone(),
            number,
            patient_id: format!("patient-{}", 7 + number),
        };
        let found = [booked(1)];
        let record = [booked(1), booked(2), booked(3)];
        let crash = judge("it", &plan.sessions, &told, &found, &record);
        assert_eq!((crash.told, crash.unrecorded, crash.lost, crash.oversold), (4, 3, 1, 0));
    }
}
