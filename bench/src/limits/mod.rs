//! How near Orderly comes to what the machine can do: every figure beside its physical limit, measured in the same run.

mod accept;
mod admit;
mod bare;
mod decide;
mod hospital;
mod process;
mod produce;
mod report;
mod servers;
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
pub use report::{Memory, Ratio, Report, Wait};
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
    #[arg(long, value_delimiter = ',', default_value = "accept,decide,throttle,produce,topic,admit")]
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
    /// Distributed: bookings over HTTP into Kafka, and what their patients wait
    Produce,
    /// Distributed: from a filled topic to decisions committed in PostgreSQL
    Topic,
    /// Distributed: admission through Redis
    Admit,
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
    if wanted(&[Path::Admit, Path::Topic, Path::Produce]) {
        run.say("starting Kafka, Redis and PostgreSQL");
        let servers = Servers::start().await?;
        if wanted(&[Path::Admit]) {
            run.say(format!("admitting {} bookings through Redis", options.admissions));
            run.report.rates.extend(admit::measure(&servers, options.admissions).await?);
        }
        if wanted(&[Path::Topic]) {
            run.say(format!("deciding {} intents from a filled topic into PostgreSQL", options.topic_intents));
            run.report.rates.push(topic::measure(&servers, options.topic_intents).await?);
        }
        if wanted(&[Path::Produce]) {
            run.produce(&servers).await?;
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

        self.say("orderly, at half of that");
        accept::settle(&server.url, &crowd).await?;
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

    /// A check by itself; and bookings under every kind of limit, swapped meanwhile, beside bookings under none.
    async fn throttle(&mut self) -> anyhow::Result<()> {
        self.say("a million keys in the throttle");
        self.report.checks = Some(throttle::checks()?);
        let Options { connections, rounds, .. } = *self.options;
        let server = process::orderly(&self.program).await?;
        let crowd = Crowd::gather(&server.url).await?;
        let (mut limited, mut unlimited) = (Vec::new(), Vec::new());
        for round in 1..=rounds {
            self.say(format!("round {round}: no limits, under full load"));
            throttle::set(&server, &throttle::open()).await?;
            unlimited.push(accept::saturate(&server.url, connections, self.length(), &crowd).await?.rate_per_s);
            self.say(format!("round {round}: every kind of limit, swapped twice a second, under full load"));
            throttle::set(&server, &throttle::closed()).await?;
            let (stop, stopped) = oneshot::channel();
            let load = async {
                let accepted = accept::saturate(&server.url, connections, self.length(), &crowd).await;
                // Nobody waits for it when a swap has failed.
                let _ = stop.send(());
                accepted
            };
            let (accepted, swapped) = tokio::try_join!(load, throttle::swap(&server, stopped))?;
            anyhow::ensure!(swapped > 0, "no policy was swapped under load; use a longer --seconds");
            limited.push(accepted.rate_per_s);
        }
        let (what, beside) = ("202s a second, limited, policy swapped", "no limits");
        let (value, limit) = (median(limited)?, median(unlimited)?);
        self.report.rates.push(Ratio { what, value, beside, limit, goal: Some(0.95) });
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
        let (mut rates, mut bares, mut produced) = (Vec::new(), Vec::new(), Vec::new());
        for round in 1..=rounds {
            self.say(format!("round {round}: librdkafka alone"));
            let (alone, length) = (Arc::clone(&producer), self.length());
            produced.push(tokio::task::spawn_blocking(move || alone.run(length)).await??);
            self.say(format!("round {round}: a bare handler, under full load of the same requests"));
            bares.push(accept::saturate(&bare.url, connections, self.length(), &crowd).await?.rate_per_s);
            self.say(format!("round {round}: an ingress on Kafka, under full load"));
            rates.push(accept::saturate(&ingress.url, connections, self.length(), &crowd).await?.rate_per_s);
        }
        drop(bare);
        let (what, value) = ("202s a second, through Kafka", median(rates)?);
        let ratio = |beside, limit, goal| Ratio { what, value, beside, limit, goal };
        self.report.rates.push(ratio("librdkafka's own produce rate", median(produced)?, Some(0.3)));
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
