//! How soon `orderly audit-run` judges what is decided, beside a system that takes bookings in.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use super::accept::{self, Crowd};
use super::offer::{Nodes, offer};
use super::process::{self, Server};
use super::servers::Servers;
use super::{Run, Wait, throttle};
use crate::latency::Summary;

/// What the goal names.
const RATE_PER_S: f64 = 5_000.0;
const GOAL_P99_MS: f64 = 2_000.0;
/// In this time every table is compared twice. The ledger is looked at once a minute, the first time before; analytics too, where there are any.
const LENGTH: Duration = Duration::from_secs(25);
/// How long the auditor may be behind the last decision before that counts as an error.
const BEHIND_MAX: Duration = Duration::from_secs(60);

impl Run<'_> {
    /// Beside one process on files.
    pub(super) async fn audit_embedded(&mut self) -> anyhow::Result<()> {
        let server = process::orderly(&self.program).await?;
        let data = server.data();
        self.audit("decision to judged by the auditor", &server, "--data", data).await
    }

    /// Beside an ingress and a pipeline on servers.
    pub(super) async fn audit_distributed(&mut self, servers: &Servers) -> anyhow::Result<()> {
        let config = servers.config()?;
        let _pipeline = process::node(&self.program, &config, "pipeline").await?;
        let ingress = process::node(&self.program, &config, "ingress").await?;
        self.audit("decision to judged by the auditor, distributed", &ingress, "--config", config).await
    }

    async fn audit(&mut self, what: &'static str, server: &Server, of: &str, path: PathBuf) -> anyhow::Result<()> {
        self.say(format!("{what}, at {RATE_PER_S} bookings a second"));
        let crowd = Crowd::gather(&server.url).await?;
        // What was measured before may have left limits.
        throttle::set(server, &throttle::open()).await?;
        // Openings are decided before the auditor looks for the first time.
        accept::settle(&server.url, &crowd).await?;
        let mut command = Command::new(&self.program);
        command.arg("audit-run").arg(of).arg(path);
        let auditor = process::start(command, tempfile::tempdir()?, "/readyz").await?;
        let before = Delays::of(&auditor).await?;
        let nodes = Nodes::new([(server.url.as_str(), 1.0)])?;
        let offered = offer(&nodes, &crowd, RATE_PER_S, LENGTH).await?;
        let rate_per_s = offered.accepted_per_s;
        ensure!(rate_per_s > RATE_PER_S * 0.95, "only {rate_per_s:.0} of {RATE_PER_S} bookings a second were taken in");
        accept::settle(&server.url, &crowd).await?;
        let latency = tokio::time::timeout(BEHIND_MAX, async {
            loop {
                let delays = Delays::of(&auditor).await?.since(&before);
                if delays.count() >= offered.latency.count {
                    return anyhow::Ok(delays.summary());
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        let latency = latency.await.context("the auditor did not catch up")??;
        self.report.waits.push(Wait { what, rate_per_s, latency, goal_p99_ms: GOAL_P99_MS });
        Ok(())
    }
}

/// The auditor's histogram of delays: an upper bound in seconds, and how many are not above it, each.
struct Delays(Vec<(f64, u64)>);

impl Delays {
    /// # Errors
    /// Also when the auditor found something wrong.
    async fn of(auditor: &Server) -> anyhow::Result<Self> {
        let text = reqwest::get(format!("{}/metrics", auditor.url)).await?.error_for_status()?.text().await?;
        Self::read(&text)
    }

    fn read(text: &str) -> anyhow::Result<Self> {
        let wrong = text.lines().find(|line| {
            line.starts_with("orderly_audit_run_violations{") && line.split_whitespace().last() != Some("0")
        });
        ensure!(wrong.is_none(), "the auditor found a violation: {}", wrong.unwrap_or_default());
        let bucket = |line: &str| {
            let (bound, count) =
                line.strip_prefix("orderly_audit_run_delay_seconds_bucket{le=\"")?.split_once("\"} ")?;
            Some((bound.parse::<f64>().ok()?, count.parse().ok()?))
        };
        let buckets: Vec<_> = text.lines().filter_map(bucket).collect();
        ensure!(!buckets.is_empty(), "the auditor tells no delays");
        Ok(Self(buckets))
    }

    /// What was added since an earlier look.
    fn since(mut self, earlier: &Self) -> Self {
        for ((_, count), (_, before)) in self.0.iter_mut().zip(&earlier.0) {
            *count -= before;
        }
        self
    }

    fn count(&self) -> u64 {
        self.0.last().map_or(0, |(_, count)| *count)
    }

    /// Each counts as the upper bound of its bucket: nobody waited longer.
    fn summary(&self) -> Summary {
        let total = self.count();
        let bound_ms = |part: f64| {
            let rank = part * total as f64;
            self.0.iter().find(|(_, count)| *count as f64 >= rank).map_or(0.0, |(bound, _)| bound * 1_000.0)
        };
        Summary {
            count: total,
            p50_ms: bound_ms(0.5),
            p95_ms: bound_ms(0.95),
            p99_ms: bound_ms(0.99),
            p999_ms: bound_ms(0.999),
            max_ms: bound_ms(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEALTHY: &str = "orderly_audit_run_violations{invariant=\"capacity\"} 0\n\
                           orderly_audit_run_delay_seconds_bucket{le=\"0.2\"} 10\n\
                           orderly_audit_run_delay_seconds_bucket{le=\"2\"} 11\n\
                           orderly_audit_run_delay_seconds_bucket{le=\"+Inf\"} 12\n";

    #[test]
    fn a_delay_counts_as_its_buckets_upper_bound() {
        let before = Delays(vec![(0.2, 1), (2.0, 1), (f64::INFINITY, 1)]);
        let summary = Delays::read(HEALTHY).expect("it is healthy").since(&before).summary();
        assert_eq!((summary.count, summary.p50_ms, summary.max_ms), (11, 200.0, f64::INFINITY));
    }

    #[test]
    fn what_the_auditor_found_is_no_figure() {
        let wrong = HEALTHY.replace("\"capacity\"} 0", "\"capacity\"} 1");
        assert!(Delays::read(&wrong).is_err_and(|error| error.to_string().contains("violation")));
        assert!(Delays::read("").is_err());
    }
}
