//! How near Orderly comes to what the machine can do: every figure beside its physical limit, measured in the same run.

mod accept;
mod admit;
mod audit;
mod bare;
mod decide;
mod disk;
pub mod flame;
mod flood;
mod hospital;
pub(crate) mod offer;
pub(crate) mod process;
mod produce;
mod report;
pub(crate) mod servers;
mod throttle;
mod topic;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::oneshot;

use accept::Crowd;
pub use bare::serve as serve_bare;
use offer::{Nodes, offer};
pub use report::{Count, Memory, Ratio, Report, Shared, Wait};
use servers::Servers;
pub use throttle::Checks;

/// What is measured, and how long.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The server's program; by default the `orderly` beside this one
    #[arg(long)]
    pub orderly: Option<PathBuf>,
    /// Intents in the log that is decided from its start
    #[arg(long, default_value_t = 2_000_000)]
    pub intents: u32,
    /// Tickets sent before memory is read the second time; a tenth of them before the first
    #[arg(long, default_value_t = 2_000_000)]
    pub tickets: u64,
    /// Intents in the topic that is decided from its start
    #[arg(long, default_value_t = 1_000_000)]
    pub topic_intents: u32,
    /// Bookings that are admitted through Redis
    #[arg(long, default_value_t = 300_000)]
    pub admissions: u32,
    /// Seconds of each load over HTTP
    #[arg(long, default_value_t = 5)]
    pub seconds: u64,
    /// How often the bare handler and Orderly take turns under full load; the medians are compared
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Measure these paths alone, with commas between them
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "accept,decide,throttle,flood,audit,produce,topic,admit,shares"
    )]
    pub only: Vec<Path>,
    /// Connections that send bookings
    #[arg(long, default_value_t = 512)]
    pub connections: usize,
    /// The same, as JSON
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// End with status 1 when a goal is missed; without it, only when something could not be measured,
    /// or a swap of the policy failed a request
    #[arg(long)]
    pub strict: bool,
}

/// What can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Path {
    /// Bookings over HTTP, what their patients wait, and memory
    Accept,
    /// From a filled log to committed decisions
    Decide,
    /// What the throttle costs
    Throttle,
    /// Who gets in during a flood, and what they wait
    Flood,
    /// Both profiles: how soon the auditor beside them judges what is decided
    Audit,
    /// Distributed: bookings over HTTP into Kafka, and what their patients wait
    Produce,
    /// Distributed: from a filled topic to decisions committed in PostgreSQL
    Topic,
    /// Distributed: admission through Redis
    Admit,
    /// Distributed: what several ingress nodes let in together
    Shares,
}

/// Measures every path that is wanted. One that cannot be measured is told in the report, and the others are measured.
///
/// # Errors
/// When this program's folder is not known.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let program = match &options.orderly {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("orderly"),
    };
    let progress = ProgressBar::new_spinner();
    progress.set_style(ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}")?);
    progress.enable_steady_tick(Duration::from_millis(200));
    let mut run = Run { options, program, progress, report: Report::new() };
    let wanted = |path| options.only.contains(&path);
    if wanted(Path::Throttle) {
        // Before anything else, which would leave memory that it could take.
        run.say("a million keys in the throttle");
        let checks = throttle::checks().map(|checks| run.report.checks = Some(checks));
        run.note("the throttle's checks", checks);
    }
    if wanted(Path::Accept) {
        let accepted = run.accept().await;
        run.note("accept", accepted);
    }
    if wanted(Path::Decide) {
        run.say(format!("deciding {} intents from a filled log", options.intents));
        let decided = decide::measure(options.intents).await.map(|rate| run.report.rates.push(rate));
        run.note("decide", decided);
    }
    if wanted(Path::Throttle) {
        let throttled = run.throttle().await;
        run.note("throttle", throttled);
    }
    if wanted(Path::Flood) {
        let flooded = run.flood().await;
        run.note("flood", flooded);
    }
    if wanted(Path::Audit) {
        let audited = run.audit_embedded().await;
        run.note("audit", audited);
    }
    if [Path::Admit, Path::Topic, Path::Produce, Path::Shares, Path::Audit].into_iter().any(wanted) {
        let distributed = run.distributed().await;
        run.note("the servers of the distributed profile", distributed);
    }
    run.progress.finish_and_clear();
    run.report.judge();
    Ok(run.report)
}

/// A measurement under way.
struct Run<'a> {
    options: &'a Options,
    program: PathBuf,
    progress: ProgressBar,
    report: Report,
}

impl Run<'_> {
    fn say(&self, what: impl Into<Cow<'static, str>>) {
        self.progress.set_message(what);
    }

    fn length(&self) -> Duration {
        Duration::from_secs(self.options.seconds)
    }

    /// Notes what could not be measured.
    fn note(&mut self, path: &str, measured: anyhow::Result<()>) {
        if let Err(error) = measured {
            self.report.failed.push(format!("{path}: {error:#}"));
        }
    }

    /// The distributed profile's paths that are wanted.
    async fn distributed(&mut self) -> anyhow::Result<()> {
        let Options { admissions, topic_intents, rounds, ref only, .. } = *self.options;
        self.say("starting Kafka, Redis and PostgreSQL");
        let servers = Servers::start().await?;
        self.report.origin.versions.extend(servers::versions(&servers.postgres, &servers.redis).await?);
        if only.contains(&Path::Admit) {
            self.say(format!("admitting {admissions} bookings through Redis"));
            let admitted = admit::measure(&servers, admissions).await.map(|rates| self.report.rates.extend(rates));
            self.note("admit", admitted);
        }
        if only.contains(&Path::Topic) {
            self.say(format!("deciding {topic_intents} intents from a filled topic into PostgreSQL, {rounds} times"));
            let decided = topic::measure(&servers, topic_intents, rounds).map(|rate| self.report.rates.push(rate));
            self.note("topic", decided);
        }
        if only.contains(&Path::Produce) {
            let produced = self.produce(&servers).await;
            self.note("produce", produced);
        }
        if only.contains(&Path::Shares) {
            let shared = self.shares(&servers).await;
            self.note("shares", shared);
        }
        if only.contains(&Path::Audit) {
            let audited = self.audit_distributed(&servers).await;
            self.note("audit, distributed", audited);
        }
        Ok(())
    }

    /// The embedded accept path, what patients wait, and memory.
    async fn accept(&mut self) -> anyhow::Result<()> {
        let Options { connections, tickets, rounds, .. } = *self.options;
        let server = process::orderly(&self.program).await?;
        let crowd = Crowd::gather(&server.url).await?;
        self.say(format!("orderly's memory after {} tickets", tickets / 10));
        let mut sent = accept::send(&server.url, connections, tickets / 10, &crowd).await?;
        let early = Memory { tickets: sent, resident_bytes: server.resident_bytes()? };

        let bare = process::bare().await?;
        let (mut rates, mut limits) = (Vec::new(), Vec::new());
        for round in 1..=rounds {
            self.say(format!("round {round}: a bare handler, under full load of the same requests"));
            limits.push(accept::saturate(&bare.url, connections, self.length(), &crowd).await?.rate_per_s);
            self.say(format!("round {round}: orderly, under full load"));
            let accepted = accept::saturate(&server.url, connections, self.length(), &crowd).await?;
            rates.push(accepted.rate_per_s);
            sent += accepted.count;
        }
        drop(bare);
        let (value, limit) = (median(rates)?, median(limits)?);
        let (what, beside) = ("202s a second, durable", "bare axum handler");
        self.report.rates.push(Ratio { what, value, beside, limit, goal: Some(0.5) });
        self.say("the disk, and the log alone");
        accept::settle(&server.url, &crowd).await?;
        self.report.sync = Some(disk::sync()?);
        let (beside, limit) = ("appends to the log alone, as many at once", disk::appends(connections)?);
        self.report.rates.push(Ratio { what, value, beside, limit, goal: None });

        self.say("orderly, at half of that");
        let outcome = accept::steady(&server.url, &crowd, value / 2.0, self.length()).await?;
        self.report.waits.push(Wait {
            what: "202 to pushed outcome",
            rate_per_s: value / 2.0,
            latency: outcome.latency,
            goal_p99_ms: 50.0,
        });

        self.say(format!("orderly's memory after {tickets} tickets"));
        sent += outcome.accepted;
        sent += accept::send(&server.url, connections, tickets.saturating_sub(sent), &crowd).await?;
        let late = Memory { tickets: sent, resident_bytes: server.resident_bytes()? };
        self.report.memory = Some((early, late));
        Ok(())
    }

    /// Bookings under every kind of limit, swapped meanwhile, beside bookings under none.
    async fn throttle(&mut self) -> anyhow::Result<()> {
        let Options { connections, rounds, .. } = *self.options;
        let server = process::orderly(&self.program).await?;
        let crowd = Crowd::gather(&server.url).await?;
        let (mut limited, mut unlimited) = (Vec::new(), Vec::new());
        let (mut swapped, mut kept) = (Vec::new(), Vec::new());
        let mut count = Count { what: "refused or failed while the policy was swapped", count: 0, of: 0, first: None };
        for round in 1..=rounds {
            self.say(format!("round {round}: no limits, under full load"));
            throttle::set(&server, &throttle::open()).await?;
            unlimited.push(accept::saturate(&server.url, connections, self.length(), &crowd).await?.rate_per_s);
            self.say(format!("round {round}: every kind of limit, under full load"));
            throttle::set(&server, &throttle::closed()).await?;
            let accepted = accept::saturate(&server.url, connections, self.length(), &crowd).await?;
            limited.push(accepted.rate_per_s);
            kept.push(accepted.latency.p99_ms);
            self.say(format!("round {round}: every kind of limit, swapped twice a second, under full load"));
            let (stop, stopped) = oneshot::channel();
            let load = async {
                let accepted = accept::saturate_anyhow(&server.url, connections, self.length(), &crowd).await;
                // Nobody waits for it when a swap has failed.
                let _ = stop.send(());
                accepted
            };
            let (accepted, swaps) = tokio::try_join!(load, throttle::swap(&server, stopped))?;
            anyhow::ensure!(swaps > 0, "no policy was swapped under load; use a longer --seconds");
            swapped.push((accepted.rate_per_s, accepted.latency));
            let accept::Refused { shed, failed, first } = accepted.refused;
            count.count += shed + failed;
            count.of += accepted.count + shed + failed;
            count.first = count.first.or(first);
        }
        self.report.counts.push(count);
        let (what, beside) = ("202s a second, every limit checked", "no limits");
        let (value, limit) = (median(limited.clone())?, median(unlimited)?);
        self.report.rates.push(Ratio { what, value, beside, limit, goal: Some(0.95) });
        let (what, beside) = ("202s a second, policy swapped twice a second", "kept");
        let value = median(swapped.iter().map(|(rate, _)| *rate).collect())?;
        self.report.rates.push(Ratio { what, value, beside, limit: median(limited)?, goal: Some(0.9) });
        swapped.sort_by(|(_, one), (_, other)| one.p99_ms.total_cmp(&other.p99_ms));
        let (rate_per_s, latency) = swapped[swapped.len() / 2];
        // Noise: the worst of the rounds in which nothing was swapped.
        let goal_p99_ms = kept.into_iter().fold(0.0, f64::max);
        self.report.waits.push(Wait { what: "202, policy swapped", rate_per_s, latency, goal_p99_ms });
        Ok(())
    }

    /// Three ingress nodes share a limit and a load that is uneven; then one is killed, and another joins. Each window
    /// begins with the change.
    async fn shares(&mut self, servers: &Servers) -> anyhow::Result<()> {
        const LIMIT_PER_S: f64 = 600.0;
        const WINDOW: Duration = Duration::from_secs(10);
        let config = servers.config()?;
        let _pipeline = process::node(&self.program, &config, "pipeline").await?;
        self.say("shares: starting three ingress nodes");
        let first = process::node(&self.program, &config, "ingress").await?;
        let second = process::node(&self.program, &config, "ingress").await?;
        let third = process::node(&self.program, &config, "ingress").await?;
        let crowd = Crowd::gather(&first.url).await?;
        let policy = throttle::narrow(LIMIT_PER_S);
        throttle::set(&first, &policy).await?;
        for node in [&second, &third] {
            throttle::follows(node, &policy).await?;
        }
        let mut note = |what, offered: offer::Offered| {
            let accepted_per_s = offered.accepted_per_s;
            self.report.shared.push(Shared { what, accepted_per_s, limit_per_s: LIMIT_PER_S });
        };
        let offered = LIMIT_PER_S * 3.0;
        let three = Nodes::new([(first.url.as_str(), 5.0), (second.url.as_str(), 3.0), (third.url.as_str(), 2.0)])?;
        // What was saved up in bursts before is spent.
        offer(&three, &crowd, offered, WINDOW / 5).await?;
        note("three ingresses, loaded 5 : 3 : 2", offer(&three, &crowd, offered, WINDOW).await?);
        second.kill().await?;
        let two = Nodes::new([(first.url.as_str(), 5.0), (third.url.as_str(), 2.0)])?;
        note("the second is killed", offer(&two, &crowd, offered, WINDOW).await?);
        let fourth = process::node(&self.program, &config, "ingress").await?;
        throttle::follows(&fourth, &policy).await?;
        let three = Nodes::new([(first.url.as_str(), 5.0), (third.url.as_str(), 2.0), (fourth.url.as_str(), 4.0)])?;
        note("another joins", offer(&three, &crowd, offered, WINDOW).await?);
        Ok(())
    }

    /// The distributed accept path, and how soon outcomes are pushed. All servers share the machine with the client.
    async fn produce(&mut self, servers: &Servers) -> anyhow::Result<()> {
        let Options { connections, rounds, .. } = *self.options;
        let config = servers.config()?;
        let pipeline = process::node(&self.program, &config, "pipeline").await?;
        let ingress = process::node(&self.program, &config, "ingress").await?;
        let crowd = Crowd::gather(&ingress.url).await?;
        let bare = process::bare().await?;
        let producer = Arc::new(produce::Producer::new(servers).await?);
        let (mut rates, mut bares) = (Vec::new(), Vec::new());
        let (mut produced, mut windowed) = (Vec::new(), Vec::new());
        for round in 1..=rounds {
            for (figures, in_flight_max) in [(&mut produced, None), (&mut windowed, Some(connections))] {
                self.say(format!("round {round}: librdkafka alone"));
                let (alone, length) = (Arc::clone(&producer), self.length());
                figures.push(tokio::task::spawn_blocking(move || alone.run(length, in_flight_max)).await??);
            }
            self.say(format!("round {round}: a bare handler, under full load of the same requests"));
            bares.push(accept::saturate(&bare.url, connections, self.length(), &crowd).await?.rate_per_s);
            self.say(format!("round {round}: an ingress on Kafka, under full load"));
            rates.push(accept::saturate(&ingress.url, connections, self.length(), &crowd).await?.rate_per_s);
        }
        drop(bare);
        let (what, value) = ("202s a second, through Kafka", median(rates)?);
        let ratio = |beside, limit, goal| Ratio { what, value, beside, limit, goal };
        self.report.rates.push(ratio("librdkafka's own produce rate", median(produced)?, Some(0.3)));
        self.report.rates.push(ratio("librdkafka, as many in flight as connections", median(windowed)?, None));
        self.report.rates.push(ratio("bare axum handler", median(bares)?, None));

        self.say("the ingress, at half of that");
        accept::settle(&ingress.url, &crowd).await?;
        let outcome = accept::steady(&ingress.url, &crowd, value / 2.0, self.length()).await?;
        drop((ingress, pipeline));
        self.report.waits.push(Wait {
            what: "commit to pushed outcome, distributed",
            rate_per_s: value / 2.0,
            latency: outcome.push,
            goal_p99_ms: 20.0,
        });
        Ok(())
    }
}

/// The middle one, by size.
fn median(mut figures: Vec<f64>) -> anyhow::Result<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().context("--rounds is at least 1")
}
