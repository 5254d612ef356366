//! Faults, one after another, in the middle of rushes, and the verdicts in between.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::Instant;

use crate::cluster::{Cluster, PIPELINES};
use crate::fault::Fault;
use crate::load::Load;
use crate::probe::Probe;
use crate::recovery::{all_decide, recovered};
use crate::report::{Report, Times};

/// Faults in one rush of a campaign.
const FAULTS_A_RUSH: usize = 4;

/// One of every kind but the last one. A server that was killed, stopped, emptied or not heard of has a rush of its own, and so a
/// look at what log, ledger, store and analytics hold after it; others share a rush with their like.
const ONCE: [&[Fault]; 22] = [
    &[Fault::PipelineKilled, Fault::PipelineAdded],
    &[Fault::PipelineStopped],
    &[Fault::PipelineDrained, Fault::IngressStopped, Fault::AuditorStopped],
    &[Fault::IngressKilled, Fault::RelayKilled, Fault::AuditorKilled, Fault::PolicySwapped, Fault::CertificatesRotated],
    &[Fault::ClockShifted],
    &[Fault::KafkaKilled],
    &[Fault::KafkaStopped],
    &[Fault::RedisKilled],
    &[Fault::RedisStopped],
    &[Fault::RedisFlushed],
    &[Fault::RedisOld],
    &[Fault::RedisUnheard],
    &[Fault::RedisSlow, Fault::RedisCut, Fault::RedisHalfOpen, Fault::RedisFull],
    &[Fault::PostgresKilled],
    &[Fault::PostgresStopped],
    &[Fault::PostgresUnheard],
    &[Fault::PostgresSlow, Fault::PostgresCut],
    &[Fault::PostgresHalfOpen, Fault::PostgresFull],
    &[Fault::PostgresKilledBeforeCommit],
    &[Fault::PostgresKilledAfterCommit],
    &[Fault::ClickhouseKilled],
    &[Fault::ClickhouseStopped, Fault::ClickhouseUnheard, Fault::ClickhouseCut, Fault::RelayStopped],
];

/// A fault, and how long it lasts.
type Blow = (Fault, Duration);

/// How a campaign is run.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Options {
    /// The `orderly` program [default: the one beside this program]
    #[arg(long, value_name = "PROGRAM")]
    pub program: Option<PathBuf>,
    /// Minutes until no further rush begins
    #[arg(long, default_value_t = 10.0)]
    pub minutes: f64,
    /// The seed: it draws the faults, how long they last, and what is asked for
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// One fault of every kind and no more
    #[arg(long, conflicts_with_all = ["minutes", "faults"])]
    pub once: bool,
    /// Only these faults, with commas between [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub faults: Vec<Fault>,
    /// Intents per second
    #[arg(long, default_value_t = 300.0)]
    pub rate: f64,
}

/// A cluster under fire.
#[derive(Debug)]
pub struct Campaign {
    cluster: Cluster,
    probe: Probe,
    random: StdRng,
    rate: f64,
    started: Instant,
    times: Times,
    report: Report,
    /// Whether the log is lost in the end.
    loses_log: bool,
}

impl Campaign {
    /// Makes a cluster ready for it, with so many intents per second.
    ///
    /// # Errors
    /// When it does not take bookings.
    pub async fn new(cluster: Cluster, seed: u64, rate: f64) -> anyhow::Result<Self> {
        let probe = Probe::open(&cluster).await?;
        probe.all_answer().await?;
        Ok(Self {
            cluster,
            probe,
            random: StdRng::seed_from_u64(seed),
            rate,
            started: Instant::now(),
            times: Times::default(),
            report: Report::new(seed, rate),
            loses_log: false,
        })
    }

    /// Plays a rush with these blows in its middle; after each of them, everything works again. Then every outcome is
    /// learnt and the checker looks at what all servers hold.
    ///
    /// # Errors
    /// When something does not recover, or a promise is broken.
    async fn rush(&mut self, blows: &[Blow]) -> anyhow::Result<()> {
        self.report.rushes += 1;
        let load = Load::start(&self.cluster, self.report.rushes, self.rate).await?;
        all_decide(&self.cluster).await?;
        for blow in blows {
            self.strike(*blow).await.with_context(|| format!("after {}", names(&[*blow])))?;
        }
        let clients = load.history().to_owned();
        let played = load.end().await?;
        if !played.passed() {
            Load::keep(&played, self.cluster.folder())?;
            anyhow::bail!("after {}:\n{}", names(blows), played.to_text());
        }
        self.report.accepted += played.counts.accepted;
        self.report.booked += played.counts.booked;
        self.cluster.check(&clients).await.with_context(|| format!("after {}", names(blows)))?;
        self.report.checks += 1;
        // Only what somebody has to look into is kept.
        std::fs::remove_file(&clients).with_context(|| format!("cannot remove {}", clients.display()))
    }

    async fn strike(&mut self, (fault, lasts): Blow) -> anyhow::Result<()> {
        let nth = self.random.random_range(0..self.cluster.pipelines.len());
        let since = self.cluster.strike(fault, nth, lasts, &self.probe).await?;
        recovered(&self.cluster, &self.probe, fault).await?;
        let took = since.elapsed();
        self.cluster.servers.forget_half_open();
        self.times.record(fault, took);
        let lasted = if lasts.is_zero() { String::new() } else { format!(" for {:.1} s", lasts.as_secs_f64()) };
        tell(&format!("{}{lasted}: recovered after {:.2} s", fault.name(), took.as_secs_f64()))
    }

    /// Those of these faults that can be done on this machine; the others are told.
    fn possible(&mut self, faults: &[Fault]) -> anyhow::Result<Vec<Fault>> {
        let mut possible = Vec::new();
        for fault in faults {
            match self.cluster.lacks(*fault) {
                None => possible.push(*fault),
                Some(why) => {
                    tell(&format!("{} is left out: {why}", fault.name()))?;
                    self.report.left_out.push(*fault);
                }
            }
        }
        Ok(possible)
    }

    /// Blows for one rush, drawn from these faults.
    fn draw(&mut self, faults: &[Fault]) -> Vec<Blow> {
        let mut pipelines = self.cluster.pipelines.len();
        let mut drawn = Vec::new();
        while drawn.len() < FAULTS_A_RUSH {
            let possible: Vec<_> = faults.iter().filter(|fault| fault.is_possible_with(pipelines)).copied().collect();
            // A cluster that may only be killed is made whole again.
            let fault = match possible.len() {
                0 if pipelines < PIPELINES => Fault::PipelineAdded,
                0 => Fault::PipelineKilled,
                count => possible[self.random.random_range(0..count)],
            };
            match fault {
                Fault::PipelineKilled => pipelines -= 1,
                Fault::PipelineAdded => pipelines += 1,
                _ => {}
            }
            let (least, most) = fault.lasts();
            // Mostly short, sometimes long.
            drawn.push((fault, least + (most - least).mul_f64(self.random.random::<f64>().powi(3))));
        }
        drawn
    }

    /// What it came to so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let seconds = self.started.elapsed().as_secs_f64();
        Report { seconds, recoveries: self.times.recoveries(), ..self.report.clone() }
    }

    /// Does one fault of every kind, as short as it may be, in the middle of rushes.
    ///
    /// # Errors
    /// When something does not recover, or a promise is broken.
    pub async fn each_once(&mut self) -> anyhow::Result<()> {
        for faults in ONCE {
            let faults = self.possible(faults)?;
            let blows: Vec<_> = faults.iter().map(|fault| (*fault, fault.lasts().0)).collect();
            self.rush(&blows).await?;
        }
        self.loses_log = true;
        Ok(())
    }

    async fn until(&mut self, end: Instant, faults: &[Fault]) -> anyhow::Result<()> {
        let mut faults = self.possible(faults)?;
        self.loses_log = faults.contains(&Fault::KafkaLost);
        faults.retain(|fault| *fault != Fault::KafkaLost);
        while Instant::now() < end && !faults.is_empty() {
            let drawn = self.draw(&faults);
            self.rush(&drawn).await?;
            let accepted = self.report.accepted;
            tell(&format!("every promise was kept so far; {accepted} intents accepted"))?;
        }
        Ok(())
    }

    /// Ends it, and stops the cluster; before, should that belong to it, Kafka's log directory is gone.
    ///
    /// # Errors
    /// When one of its processes does not stop in order, or goes on without the log.
    pub async fn end(self) -> anyhow::Result<Report> {
        let mut report = self.report();
        let Self { cluster, probe, loses_log, .. } = self;
        if loses_log {
            let took = cluster.lose_log(&probe).await.with_context(|| format!("after {}", Fault::KafkaLost.name()))?;
            report.alarm_s = Some((took.as_secs_f64() * 100.0).round() / 100.0);
        } else {
            tokio::task::block_in_place(|| cluster.stop())?;
        }
        Ok(report)
    }
}

/// Runs a campaign on a cluster until its time is over, something does not recover, or a promise is broken.
///
/// # Errors
/// When it cannot begin.
pub async fn run(cluster: Cluster, options: &Options) -> anyhow::Result<Report> {
    let faults = if options.faults.is_empty() { &Fault::ALL[..] } else { &options.faults[..] };
    let end =
        Instant::now() + Duration::try_from_secs_f64(options.minutes * 60.0).context("the minutes make no sense")?;
    let mut campaign = Campaign::new(cluster, options.seed, options.rate).await?;
    let played = if options.once { campaign.each_once().await } else { campaign.until(end, faults).await };
    let report = campaign.report();
    let ended = match played {
        Ok(()) => campaign.end().await,
        Err(error) => Err(error),
    };
    Ok(ended.unwrap_or_else(|error| Report { failed: Some(format!("{error:#}")), ..report }))
}

fn names(blows: &[Blow]) -> String {
    blows.iter().map(|(fault, _)| fault.name()).collect::<Vec<_>>().join(", ")
}

fn tell(what: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stderr(), "{what}")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_is_every_kind_once() {
        let mut once = ONCE.concat();
        once.push(Fault::KafkaLost);
        once.sort_unstable();
        let mut all = Fault::ALL;
        all.sort_unstable();
        assert_eq!(once, all);
    }
}
