//! What a crash takes: a system and its servers are killed in the middle of a load, and what people had been told is looked
//! for in what is found afterwards.

use std::time::Duration;

use orderly_baselines::{Booked, Kind};
use orderly_stack::redis::{self, Redis};

use super::drive::{Tally, closed};
use super::measure::Caller;
use super::report::Crash;
use super::system::{Lab, baseline_record, embedded_record, open_baseline};
use super::target::Words;
use super::truth::Truth;
use super::workload::Plan;
use crate::api::Api;
use crate::client::Client;
use crate::limits::process::Server;
use crate::replay;

/// When it is killed.
const AFTER: Duration = Duration::from_millis(1_500);
/// When nobody asks any more.
const CUT: Duration = Duration::from_millis(1_600);
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// When Redis takes a picture of itself, as it does without any configuration.
const SNAPSHOTS: &str = "3600 1 300 100 60 10000";

/// Kills Orderly and some baselines.
pub(super) async fn crashes(lab: &mut Lab, caller: &Caller<'_>, plan: &Plan) -> anyhow::Result<Vec<Crash>> {
    let mut crashes = vec![orderly(lab, caller, plan).await?];
    crashes.push(baseline(lab, caller, plan, Kind::Conditional, "conditional update", None).await?);
    let what = "Redis first, queue; Redis with an append-only file";
    crashes.push(baseline(lab, caller, plan, Kind::RedisQueue, what, Some(true)).await?);
    let what = "Redis first, queue; Redis as it comes (snapshots)";
    crashes.push(baseline(lab, caller, plan, Kind::RedisQueue, what, Some(false)).await?);
    crashes.push(baseline(lab, caller, plan, Kind::Memory, "memory only", None).await?);
    Ok(crashes)
}

async fn orderly(lab: &Lab, caller: &Caller<'_>, plan: &Plan) -> anyhow::Result<Crash> {
    let server = lab.embedded().await?;
    replay::open(&[Api::new(Client::new(&server.url, 1, Duration::from_secs(30))?)], &plan.sessions).await?;
    let target = caller.target(&server.url, Words::Wait, plan, caller.connections, ANSWER_MAX)?;
    let load = closed(&target, caller.connections, 0, &plan.wishes, CUT, caller.bar);
    let kill = async {
        tokio::time::sleep(AFTER).await;
        server.crash().await
    };
    let (tally, folder) = tokio::join!(load, kill);
    let record = embedded_record(&folder?.path().join("data"))?;
    Ok(judge("Orderly, embedded", plan, &tally, &record))
}

async fn baseline(
    lab: &mut Lab,
    caller: &Caller<'_>,
    plan: &Plan,
    kind: Kind,
    what: &'static str,
    append_only: Option<bool>,
) -> anyhow::Result<Crash> {
    let folder = tempfile::tempdir_in(lab.folder())?;
    let append_only = append_only.unwrap_or(true);
    let config = if append_only { Vec::new() } else { vec![("save".to_owned(), SNAPSHOTS.to_owned())] };
    let options = redis::Options { append_only, config, ..redis::Options::default() };
    let mut redis = Redis::start(folder.path(), options)?;
    let database = lab.database()?;
    let server = lab.baseline(kind, &database, &redis).await?;
    open_baseline(&server.url, &plan.sessions).await?;
    let target = caller.target(&server.url, Words::Plain, plan, caller.connections, ANSWER_MAX)?;
    let load = closed(&target, caller.connections, 0, &plan.wishes, CUT, caller.bar);
    let kill = async {
        tokio::time::sleep(AFTER).await;
        redis.process().kill()?;
        lab.postgres.kill()?;
        server.kill().await
    };
    let (tally, killed) = tokio::join!(load, kill);
    killed?;
    lab.postgres.restart()?;
    redis.restart()?;
    let again: Server = lab.baseline(kind, &database, &redis).await?;
    let record = baseline_record(&again.url).await?;
    again.kill().await?;
    Ok(judge(what, plan, &tally, &record))
}

fn judge(what: &'static str, plan: &Plan, tally: &Tally, record: &[Booked]) -> Crash {
    let Truth { oversold, lost, .. } = Truth::of(&plan.sessions, &tally.booked, record);
    Crash { what, told: tally.booked.len() as u64, lost, oversold }
}
