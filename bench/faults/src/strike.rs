//! Doing the faults and ending them.

use std::time::Duration;

use nix::sys::signal::Signal;
use orderly_stack::Process;
use orderly_stack::proxy::{Proxy, Way};
use tokio::task::block_in_place;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::fault::Fault;
use crate::probe::Probe;
use crate::recovery::{all_decide, until};

/// A `COMMIT` as PostgreSQL's client sends it: kind, length and text.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
/// What the server says when it has committed: it differs by the kind.
const COMMITTED: &[u8] = b"C\0\0\0\x0bCOMMIT\0";
/// By how much answers of a slow server are late: less than what a call may take.
const LATE: Duration = Duration::from_millis(150);
const POLICY: &str = "/v1/policy";
/// What a tight policy lets in, everybody together.
const TIGHT_PER_SECOND: u32 = 5;
/// Lives of a pipeline's dataflow after its first.
const RETAKEOVERS: &str = "orderly_pipeline_retakeovers_total";

/// A policy in force.
#[derive(serde::Deserialize)]
struct Policy {
    version: u64,
    policy: serde_json::Value,
}

impl Cluster {
    /// Does it, lets it last, and ends it. The moment from which recovery counts.
    ///
    /// # Errors
    /// When it cannot be done, or has not the effect that it must have.
    pub(crate) async fn strike(
        &mut self,
        fault: Fault,
        nth: usize,
        lasts: Duration,
        probe: &Probe,
    ) -> anyhow::Result<Instant> {
        match fault {
            Fault::PipelineKilled => {
                let since = Instant::now();
                block_in_place(|| self.pipelines.remove(nth).kill())?;
                Ok(since)
            }
            Fault::PipelineAdded => {
                let since = Instant::now();
                block_in_place(|| self.add_pipeline())?;
                Ok(since)
            }
            Fault::PipelineStopped => self.stop_pipeline(nth).await,
            Fault::IngressKilled => {
                let nth = nth % self.ingresses.len();
                killed(|| self.ingresses[nth].restart())
            }
            Fault::PipelineDrained => killed(|| self.pipelines[nth].drain_and_restart()),
            Fault::IngressStopped => {
                let nth = nth % self.ingresses.len();
                stopped(self.ingresses[nth].process(), lasts).await
            }
            Fault::RelayKilled => killed(|| self.relay.restart()),
            Fault::RelayStopped => stopped(self.relay.process(), lasts).await,
            Fault::AuditorKilled => killed(|| self.auditor.restart()),
            Fault::AuditorStopped => stopped(self.auditor.process(), lasts).await,
            Fault::PolicySwapped => self.swap_policy(lasts).await,
            Fault::ClockShifted => self.shift_clocks(nth, lasts).await,
            Fault::CertificatesRotated => self.rotate_certificates().await,
            Fault::KafkaKilled => killed(|| self.servers.kafka.restart(0)),
            Fault::KafkaStopped => stopped(self.servers.kafka.process(0), lasts).await,
            Fault::RedisKilled => killed(|| self.servers.redis.restart()),
            Fault::RedisStopped => stopped(self.servers.redis.process(), lasts).await,
            Fault::KafkaLost => anyhow::bail!("a cluster without its log has no recovery"),
            Fault::RedisFlushed => {
                block_in_place(|| self.servers.redis.ask("FLUSHALL"))?;
                Ok(Instant::now())
            }
            Fault::RedisOld => {
                let copy = self.folder().join("redis-copy.rdb");
                block_in_place(|| self.servers.redis.copy(&copy))?;
                // Now it gets old, in every partition.
                probe.all_answer().await?;
                all_decide(self).await?;
                killed(|| self.servers.redis.restart_from(&copy))
            }
            Fault::RedisUnheard => unanswered(&self.servers.redis_proxy, Way::LoseAnswers, lasts).await,
            Fault::RedisSlow => slow(&self.servers.redis_proxy, lasts).await,
            Fault::RedisCut => cut(&self.servers.redis_proxy, lasts).await,
            Fault::RedisHalfOpen => unanswered(&self.servers.redis_proxy, Way::HalfOpen, lasts).await,
            Fault::RedisFull => self.servers.fill_redis(lasts).await,
            Fault::PostgresKilled => self.kill_postgres(),
            Fault::PostgresStopped => {
                self.servers.postgres.pause();
                tokio::time::sleep(lasts).await;
                self.servers.postgres.resume();
                Ok(Instant::now())
            }
            Fault::PostgresUnheard => unanswered(&self.servers.postgres_proxy, Way::LoseAnswers, lasts).await,
            Fault::PostgresSlow => slow(&self.servers.postgres_proxy, lasts).await,
            Fault::PostgresCut => cut(&self.servers.postgres_proxy, lasts).await,
            Fault::PostgresHalfOpen => unanswered(&self.servers.postgres_proxy, Way::HalfOpen, lasts).await,
            Fault::PostgresFull => self.servers.fill_postgres(lasts).await,
            Fault::PostgresKilledBeforeCommit => {
                lose(&self.servers.postgres_proxy, Way::LoseRequest(COMMIT.into())).await?;
                self.kill_postgres()
            }
            Fault::PostgresKilledAfterCommit => {
                lose(&self.servers.postgres_proxy, Way::LoseAnswer(COMMITTED.into())).await?;
                self.kill_postgres()
            }
            Fault::ClickhouseKilled => killed(|| {
                self.servers.clickhouse.process().kill()?;
                self.servers.clickhouse.restart()
            }),
            Fault::ClickhouseStopped => stopped(self.servers.clickhouse.process(), lasts).await,
            Fault::ClickhouseUnheard => unanswered(&self.servers.clickhouse_proxy, Way::LoseAnswers, lasts).await,
            Fault::ClickhouseCut => cut(&self.servers.clickhouse_proxy, lasts).await,
        }
    }

    /// Lets hardly anybody in for a while; every ingress has to follow, twice.
    async fn swap_policy(&self, lasts: Duration) -> anyhow::Result<Instant> {
        let Policy { policy: before, .. } = self.desk().read(POLICY, &self.ops).await?;
        let mut tight = before.clone();
        tight["limits"]["global"] = serde_json::json!({ "rate_per_s": TIGHT_PER_SECOND, "burst": TIGHT_PER_SECOND });
        self.set_policy(&tight).await?;
        tokio::time::sleep(lasts).await;
        let since = Instant::now();
        self.set_policy(&before).await?;
        Ok(since)
    }

    async fn set_policy(&self, policy: &serde_json::Value) -> anyhow::Result<()> {
        self.desk().replace(POLICY, &self.ops, policy).await?;
        let Policy { version: wanted, .. } = self.desk().read(POLICY, &self.ops).await?;
        until("every ingress has the policy", async || {
            for node in &self.ingresses {
                let Policy { version, .. } = node.api().read(POLICY, &self.ops).await?;
                anyhow::ensure!(version >= wanted, "{} has version {version} of {wanted}", node.name);
            }
            Ok(())
        })
        .await
    }

    /// PostgreSQL dies, with whatever its proxy holds back, and comes back.
    fn kill_postgres(&mut self) -> anyhow::Result<Instant> {
        let since = Instant::now();
        block_in_place(|| self.servers.postgres.kill())?;
        self.servers.postgres_proxy.set(Way::Forward);
        block_in_place(|| self.servers.postgres.restart())?;
        Ok(since)
    }

    /// Stops a pipeline that has something to commit, until the others have its partitions, and sees its commit refused
    /// after it woke up.
    async fn stop_pipeline(&self, nth: usize) -> anyhow::Result<Instant> {
        let node = &self.pipelines[nth];
        let before = node.api().metric(RETAKEOVERS).await.unwrap_or_default();
        let proxy = &self.servers.postgres_proxy;
        // What is read now cannot be committed before the node is stopped.
        proxy.set(Way::LoseRequest(COMMIT.into()));
        until(&format!("{} has something to commit", node.name), async || {
            let in_flight = node.pipeline(&self.ops).await?.epochs_in_flight;
            // One waits for records.
            anyhow::ensure!(in_flight > 1, "{in_flight} epochs are in flight");
            Ok(())
        })
        .await?;
        node.process().signal(Signal::SIGSTOP)?;
        proxy.set(Way::Forward);
        proxy.cut();
        self.until_others_have_all(nth).await?;
        node.process().signal(Signal::SIGCONT)?;
        let since = Instant::now();
        until(&format!("{} is refused and takes over again", node.name), async || {
            let now = node.api().metric(RETAKEOVERS).await.unwrap_or_default();
            anyhow::ensure!(now > before, "it was refused {now} times, {before} times before");
            Ok(())
        })
        .await?;
        Ok(since)
    }
}

/// Kills a server, and starts it again.
fn killed(restart: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Instant> {
    let since = Instant::now();
    block_in_place(restart)?;
    Ok(since)
}

async fn stopped(process: &Process, lasts: Duration) -> anyhow::Result<Instant> {
    process.signal(Signal::SIGSTOP)?;
    tokio::time::sleep(lasts).await;
    process.signal(Signal::SIGCONT)?;
    Ok(Instant::now())
}

async fn slow(proxy: &Proxy, lasts: Duration) -> anyhow::Result<Instant> {
    proxy.set(Way::Delay(LATE));
    tokio::time::sleep(lasts).await;
    proxy.set(Way::Forward);
    Ok(Instant::now())
}

async fn cut(proxy: &Proxy, lasts: Duration) -> anyhow::Result<Instant> {
    proxy.set(Way::Refuse);
    proxy.cut();
    tokio::time::sleep(lasts).await;
    proxy.set(Way::Forward);
    Ok(Instant::now())
}

/// Asked in vain at least once, and then for that long.
async fn unanswered(proxy: &Proxy, way: Way, lasts: Duration) -> anyhow::Result<Instant> {
    let before = proxy.lost();
    proxy.set(way);
    until("somebody asks in vain", async || {
        anyhow::ensure!(proxy.lost() > before, "nobody asks");
        Ok(())
    })
    .await?;
    tokio::time::sleep(lasts).await;
    proxy.set(Way::Forward);
    Ok(Instant::now())
}

/// Waits until the proxy has lost something in that way, and leaves it so.
async fn lose(proxy: &Proxy, way: Way) -> anyhow::Result<()> {
    let before = proxy.lost();
    proxy.set(way);
    until("a commit is on its way", async || {
        anyhow::ensure!(proxy.lost() > before, "nobody commits");
        Ok(())
    })
    .await
}
