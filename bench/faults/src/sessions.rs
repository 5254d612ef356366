//! Sessions of this program's own, opened through the log like all others.

use anyhow::Context as _;
use hyper::header::HeaderValue;
use jiff::ToSpan as _;
use orderly_domain::{Clock as _, DoctorId, partition_of};
use serde_json::{Value, json};

use crate::cluster::{Cluster, PARTITIONS};
use crate::recovery::{PATIENCE, POLL};

/// How far ahead the first day lies: never past, whatever zone and midnight.
const DAYS_AHEAD: i64 = 2;

/// A session of a doctor on the `day`-th day, released long ago.
///
/// # Errors
/// When the day lies outside the calendar.
pub(crate) fn session(id: &str, doctor: &str, department: &str, day: i64, capacity: u32) -> anyhow::Result<Value> {
    let today = orderly_domain::clock::System.now().to_jiff().to_zoned(jiff::tz::TimeZone::UTC).date();
    let day = today.checked_add((DAYS_AHEAD + day).days()).context("the day lies outside the calendar")?;
    Ok(json!({
        "session_id": id, "doctor_id": doctor, "doctor_name": format!("Doctor {doctor}"), "department": department,
        "campus": "east", "day": day, "start": "08:00", "end": "12:00", "timezone": "Asia/Shanghai",
        "capacity": capacity, "release_at": "2020-01-01T00:00:00Z",
    }))
}

/// Opens these and waits until every ingress lists them. Their ids, and no others', begin with `prefix`.
///
/// # Errors
/// When they are refused, or are not listed in time.
pub(crate) async fn open(cluster: &Cluster, ops: &HeaderValue, prefix: &str, sessions: &[Value]) -> anyhow::Result<()> {
    let lines: String = sessions.iter().map(|session| format!("{session}\n")).collect();
    cluster.desk().open_sessions(ops, lines).await?;
    for ingress in &cluster.ingresses {
        let listed = async {
            loop {
                let all = ingress.api().sessions().await.unwrap_or_default();
                let open = all.iter().filter(|known| known.session_id.starts_with(prefix) && known.state == "open");
                if open.count() == sessions.len() {
                    return;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let listed = tokio::time::timeout(PATIENCE, listed).await;
        listed.with_context(|| format!("{} does not list the sessions {prefix}…", ingress.name))?;
    }
    Ok(())
}

/// The `nth` doctor whose records lie in that partition.
///
/// # Errors
/// Never: names do not run out.
pub(crate) fn doctor(partition: u16, nth: usize) -> anyhow::Result<String> {
    let names = (0_u64..).map(|number| format!("doctor-{number}"));
    let lies_there =
        |name: &String| name.parse::<DoctorId>().is_ok_and(|doctor| partition_of(&doctor, PARTITIONS) == partition);
    names.filter(lies_there).nth(nth).context("names ran out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_doctors() {
        for partition in 0..PARTITIONS {
            let two = [doctor(partition, 0).unwrap(), doctor(partition, 1).unwrap()];
            assert_ne!(two[0], two[1]);
            for name in two {
                assert_eq!(partition_of(&name.parse().unwrap(), PARTITIONS), partition);
            }
        }
    }
}
