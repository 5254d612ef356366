//! The last thing that can happen to a cluster: the only broker's log directory is gone, and with it records that were taken
//! and not decided. Nothing may be reset by itself: a person has to compare and decide.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::task::block_in_place;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::node::Node;
use crate::probe::Probe;
use crate::recovery::until;
use crate::servers::DATABASE;

/// What the cause of every end, and of every start that is refused, names: what is missing and what to do about it.
const CAUSE: [&str; 2] = ["topic orderly.intents", "A lost log"];
/// What is decided, in one number a table.
const DECIDED: [&str; 2] = ["decisions", "appointments"];

impl Cluster {
    /// Takes requests that nobody decides, and takes the log away: every pipeline must end with the cause, with nothing
    /// changed of what was decided; and so must one that is started then. How long the pipelines took, from Kafka's return.
    ///
    /// # Errors
    /// When one of these is not so.
    pub(crate) async fn lose_log(mut self, probe: &Probe) -> anyhow::Result<Duration> {
        self.until_idle().await?;
        for node in &self.pipelines {
            node.process().signal(Signal::SIGSTOP)?;
        }
        probe.all_accepted().await?;
        let rows = self.decided_until()?;
        let before = self.decided(&rows)?;
        block_in_place(|| self.servers.kafka.restart_empty(0))?;
        let since = Instant::now();
        for node in &self.pipelines {
            node.process().signal(Signal::SIGCONT)?;
        }
        until("every pipeline has ended", async || {
            let running = self.pipelines.iter().filter(|node| node.is_running()).map(|node| node.name.as_str());
            let running = running.collect::<Vec<_>>();
            anyhow::ensure!(running.is_empty(), "these run: {}", running.join(", "));
            Ok(())
        })
        .await?;
        let took = since.elapsed();
        for node in std::mem::take(&mut self.pipelines) {
            let name = node.name.clone();
            let status = block_in_place(|| node.ended())?;
            anyhow::ensure!(status == 1, "{name} ended with status {status}, without its log");
            self.names_the_topic(&name)?;
        }
        self.refuses_to_start()?;
        let after = self.decided(&rows)?;
        anyhow::ensure!(before == after, "what was decided has changed with the log gone: {before:?}, now {after:?}");
        block_in_place(|| self.stop())?;
        Ok(took)
    }

    /// Nobody goes on from the beginning of a log that another one was put in the place of.
    fn refuses_to_start(&mut self) -> anyhow::Result<()> {
        let (plan, name) = self.next_pipeline();
        if let Ok(node) = block_in_place(|| Node::start(plan, name.clone())) {
            // It listened before it was refused.
            let status = block_in_place(|| node.ended())?;
            anyhow::ensure!(status == 1, "{name} ended with status {status}, on a log that was replaced");
        }
        self.names_the_topic(&name)
    }

    fn names_the_topic(&self, name: &str) -> anyhow::Result<()> {
        let log = std::fs::read_to_string(self.log_of(name))?;
        let last = log.lines().last().unwrap_or_default();
        let named = CAUSE.iter().all(|words| last.contains(words));
        anyhow::ensure!(named, "{name} ended without naming the topic as the cause: {last}");
        Ok(())
    }

    /// Which rows are decided by now. More may come: an answer that a broker sent before it died waits for a pipeline that is
    /// stopped, and is decided when that goes on.
    fn decided_until(&self) -> anyhow::Result<String> {
        let query = "SELECT string_agg(format('(t.partition = %s AND t.log_offset < %s)', partition, next_offset), ' OR ') \
                     FROM partitions";
        block_in_place(|| self.servers.postgres.ask(DATABASE, query))
    }

    /// What the store holds of these decisions, as sums that any change changes.
    fn decided(&self, rows: &str) -> anyhow::Result<Vec<String>> {
        let ask = |table: &str| {
            let query = format!(
                "SELECT count(*), md5(string_agg(md5(t::text), '' ORDER BY t.partition, t.log_offset, t.day)) FROM {table} t \
                 WHERE {rows}"
            );
            self.servers.postgres.ask(DATABASE, &query)
        };
        block_in_place(|| DECIDED.iter().map(|table| ask(table)).collect())
    }
}
