//! What a server holds, as the system and its own metrics tell it.

use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use tokio::time::Instant;

use super::load::ANSWER_MAX;
use crate::api::Api;
use crate::client::Client;
use crate::limits::process::Server;

/// How often it is looked whether a server has come to rest, and for how long.
const REST_LOOK: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(90);
/// How many looks in a row must be alike.
const REST_LOOKS: usize = 3;

/// What a server holds at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Seconds from the start.
    pub at_s: f64,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// The part of it that is no file's, in bytes.
    pub anonymous_bytes: u64,
    /// Open files and sockets.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
    /// Tasks of its runtime.
    pub tasks: u64,
    /// Event streams that it has open.
    pub streams: u64,
}

/// Looks at one server.
pub(super) struct Watch<'a> {
    server: &'a Server,
    api: Api,
    start: Instant,
}

impl<'a> Watch<'a> {
    pub(super) fn new(server: &'a Server) -> anyhow::Result<Self> {
        let api = Api::new(Client::new(&server.url, 1, ANSWER_MAX)?);
        Ok(Self { server, api, start: Instant::now() })
    }

    pub(super) async fn sample(&self) -> anyhow::Result<Sample> {
        let process = self.server.id()?;
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let descriptors = std::fs::read_dir(format!("/proc/{process}/fd"))?.count();
        let field = |name| field(&status, name).with_context(|| format!("the server's status has no {name}"));
        let (tasks, streams) =
            (self.metric("orderly_runtime_tasks").await?, self.metric("orderly_ingress_streams").await?);
        Ok(Sample {
            at_s: self.start.elapsed().as_secs_f64(),
            resident_bytes: field("VmRSS")? * 1_024,
            anonymous_bytes: field("RssAnon")? * 1_024,
            descriptors: descriptors as u64,
            threads: field("Threads")?,
            tasks,
            streams,
        })
    }

    /// Waits until nothing goes on any more: no stream is open, and neither descriptors nor tasks change.
    pub(super) async fn at_rest(&self) -> anyhow::Result<Sample> {
        let deadline = Instant::now() + REST_MAX;
        let mut alike = 0;
        let mut last = self.sample().await?;
        while alike < REST_LOOKS && Instant::now() < deadline {
            tokio::time::sleep(REST_LOOK).await;
            let next = self.sample().await?;
            let held = |sample: &Sample| (sample.descriptors, sample.tasks, sample.threads);
            alike = if next.streams == 0 && held(&next) == held(&last) { alike + 1 } else { 0 };
            last = next;
        }
        Ok(last)
    }

    async fn metric(&self, name: &str) -> anyhow::Result<u64> {
        let value =
            self.api.metric(name).await.with_context(|| format!("the server does not tell {name}; build it anew"))?;
        Ok(format!("{value:.0}").parse()?)
    }
}

/// A number of a process's status.
fn field(status: &str, name: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_status() {
        let status = "Name:\torderly\nVmRSS:\t   20480 kB\nRssAnon:\t   10240 kB\nThreads:\t7\n";
        assert_eq!(
            (field(status, "VmRSS"), field(status, "Threads"), field(status, "Vm")),
            (Some(20_480), Some(7), None)
        );
    }
}
