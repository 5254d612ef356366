//! How near Orderly comes to what the machine can do: every figure beside its physical limit, measured in the same run.

mod accept;
mod admit;
mod bare;
mod decide;
mod disk;
pub mod flame;
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
pub use report::{Memory, Ratio, Report, Shared, Wait};
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
    #[arg(long, value_delimiter = ',', default_value = "accept,decide,throttle,flood,produce,topic,admit,shares")]
    pub only: Vec<Path>,
    /// Connections that send bookings
    #[arg(long, default_value_t = 512)]
    pub connections: usize,
    /// The same, as JSON
    #[arg(long)]
    pub json: Option<PathBuf>,
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
    /// Distributed: bookings over HTTP into Kafka, and what their patients wait
    Produce,
    /// Distributed: from a filled topic to decisions committed in PostgreSQL
    Topic,
    /// Distributed: admission through Redis
    Admit,
    /// Distributed: what several ingress nodes let in together
    Shares,
}

/// Measures every path that is wanted.
///
/// # Errors
/// When a server does not start or stops answering.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    let program = match &options.orderly {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("orderly"),
    };
    let progress = ProgressBar::new_spinner();
    progress.set_style(ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}")?);
    progress.enable_steady_tick(Duration::from_millis(200));
    let mut run = Run { options, program, progress, report: Report::new() };
    let wanted = |paths: &[Path]| paths.iter().any(|path| options.only.contains(path));
    if wanted(&[Path::Throttle]) {
        // Before anything else, which would leave memory that it could take.
        run.say("a million keys in the throttle");
        run.report.checks = Some(throttle::checks()?);
    }
    if wanted(&[Path::Accept]) {
        run.accept().await?;
    }
    if wanted(&[Path::Decide]) {
        run.say(format!("deciding {} intents from a filled log", options.intents));
        run.report.rates.push(decide::measure(options.intents).await?);
    }
    if wanted(&[Path::Throttle]) {
        run.throttle().await?;
    }
    if wanted(&[Path::Flood]) {
        run.flood().await?;
    }
    if wanted(&[Path::Admit, Path::Topic, Path::Produce, Path::Shares]) {
        run.say("starting Kafka, Redis and PostgreSQL");
        let servers = Servers::start().await?;
        if wanted(&[Path::Admit]) {
            run.say(format!("admitting {} bookings through Redis", options.admissions));
            run.report.rates.extend(admit::measure(&servers, options.admissions).await?);
        }
        if wanted(&[Path::Topic]) {
            let Options { topic_intents, rounds, .. } = *options;
            run.say(format!("deciding {topic_intents} intents from a filled topic into PostgreSQL, {rounds} times"));
            run.report.rates.push(topic::measure(&servers, topic_intents, rounds)?);
        }
        if wanted(&[Path::Produce]) {
            run.produce(&servers).await?;
        }
        if wanted(&[Path::Shares]) {
            run.shares(&servers).await?;
        }
    }
    run.progress.finish_and_clear();
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
                let accepted = accept::saturate(&server.url, connections, self.length(), &crowd).await;
                // Nobody waits for it when a swap has failed.
                let _ = stop.send(());
                accepted
            };
            let (accepted, swaps) = tokio::try_join!(load, throttle::swap(&server, stopped))?;
            anyhow::ensure!(swaps > 0, "no policy was swapped under load; use a longer --seconds");
            swapped.push((accepted.rate_per_s, accepted.latency));
        }
        let (what, beside) = ("202s a second, every limit checked", "no limits");
        let (value, limit) = (median(limited.clone())?, median(unlimited)?);
        self.report.rates.push(Ratio { what, value, beside, limit, goal: Some(0.95) });
        let (what, beside) = ("202s a second, policy swapped twice a second", "kept");
        let value = median(swapped.iter().map(|(rate, _)| *rate).collect())?;
        self.report.rates.push(Ratio { what, value, beside, limit: median(limited)?, goal: None });
        swapped.sort_by(|(_, one), (_, other)| one.p99_ms.total_cmp(&other.p99_ms));
        let (rate_per_s, latency) = swapped[swapped.len() / 2];
        // Noise: the worst of the rounds in which nothing was swapped.
        let goal_p99_ms = kept.into_iter().fold(0.0, f64::max);
        self.report.waits.push(Wait { what: "202, policy swapped", rate_per_s, latency, goal_p99_ms });
        Ok(())
    }

    /// Ten times as many bookings as are let in, from many addresses, beside one and a half times and half as many.
    async fn flood(&mut self) -> anyhow::Result<()> {
        /// What the whole flood may take of what the server takes in at most, so that the client can keep it up.
        const FLOOD: f64 = 0.6;
        let server = process::orderly(&self.program).await?;
        let crowd = Crowd::gather(&server.url).await?;
        self.say("flood: what the server takes in at most");
        let most = accept::saturate(&server.url, self.options.connections, self.length(), &crowd).await?.rate_per_s;
        let capacity = (most * FLOOD / 10.0).round();
        throttle::set(&server, &throttle::narrow(capacity)).await?;
        let nodes = Nodes::new([(server.url.as_str(), 1.0)])?;
        self.say(format!("flood: one and a half times {capacity} bookings a second"));
        let full = offer(&nodes, &crowd, capacity * 1.5, self.length()).await?;
        // In turns, so that a moment that somebody else takes of the machine decides nothing.
        let (mut unloaded, mut floods) = (Vec::new(), Vec::new());
        for round in 1..=self.options.rounds {
            self.say(format!("round {round}: half of {capacity} bookings a second"));
            unloaded.push(offer(&nodes, &crowd, capacity / 2.0, self.length()).await?.latency.p99_ms);
            self.say(format!("round {round}: a flood, ten times {capacity} bookings a second"));
            floods.push(offer(&nodes, &crowd, capacity * 10.0, self.length()).await?);
        }
        floods.sort_by(|one, other| one.latency.p99_ms.total_cmp(&other.latency.p99_ms));
        let flood = floods.swap_remove(floods.len() / 2);
        let (what, beside) = ("202s a second in a flood of 10 times the limit", "at 1.5 times");
        let (value, limit) = (flood.accepted_per_s, full.accepted_per_s);
        self.report.rates.push(Ratio { what, value, beside, limit, goal: Some(0.9) });
        self.report.waits.push(Wait {
            what: "202 in that flood, in the median of turns (goal: twice that at half of the limit)",
            rate_per_s: flood.sent as f64 / self.length().as_secs_f64(),
            latency: flood.latency,
            goal_p99_ms: median(unloaded)? * 2.0,
        });
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
