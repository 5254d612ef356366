//! `orderly-stack`: the servers of the distributed profile on the loopback address, for trying it out.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use clap::Parser;
use orderly_stack::{clickhouse, kafka, postgres, prometheus, redis};
use tokio::signal::unix::{SignalKind, signal};

/// Starts Kafka, Redis, PostgreSQL, ClickHouse and Prometheus as plain processes, writes the configuration with which
/// Orderly finds them, and stops them at SIGTERM or Ctrl-C. What they hold stays in the folder.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Example:
  orderly-stack --folder .dev/stack --config .dev/orderly.toml"
)]
struct Arguments {
    /// Where the servers keep their data and logs
    #[arg(long, value_name = "DIR", default_value = ".dev/stack")]
    folder: PathBuf,
    /// The configuration to write
    #[arg(long, value_name = "FILE", default_value = ".dev/orderly.toml")]
    config: PathBuf,
    /// The servers listen on this port and the ones after it
    #[arg(long, value_name = "PORT", default_value_t = 19_090)]
    port: u16,
    /// HOST:PORT of Orderly's own processes, for Prometheus to look at
    #[arg(long, value_name = "ADDR", value_delimiter = ',', default_value = "127.0.0.1:8080")]
    targets: Vec<String>,
    /// Start nothing; tell the Prometheus that runs already what to look at
    #[arg(long)]
    only_targets: bool,
}

/// The servers. They stop when this is dropped.
struct Stack {
    kafka: kafka::Kafka,
    redis: redis::Redis,
    postgres: postgres::Postgres,
    clickhouse: clickhouse::ClickHouse,
    prometheus: prometheus::Prometheus,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.only_targets {
        return prometheus::set_targets(&arguments.folder.join("prometheus"), &arguments.targets);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().context("no runtime")?;
    // Before anything is started: a signal meanwhile is remembered until there is something to stop. They are caught, not
    // blocked: a server would inherit that, and some never unblock them.
    let (mut terminate, mut interrupt) = {
        let _context = runtime.enter();
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
    };
    let stack = start(&arguments)?;
    write_config(&arguments, &stack)?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "kafka       {}\nredis       {}\npostgres    {}\nclickhouse  {}\nprometheus  {}\nconfig      {}\nready",
        stack.kafka.brokers(),
        stack.redis.url(),
        stack.postgres.url("orderly"),
        stack.clickhouse.url(),
        stack.prometheus.url(),
        arguments.config.display(),
    )?;
    out.flush()?;
    runtime.block_on(async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    });
    stop(&stack)
}

fn start(arguments: &Arguments) -> anyhow::Result<Stack> {
    let Arguments { folder, port, targets, .. } = arguments;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let folder = &std::path::absolute(folder)?;
    let port = |nth: u16| Some(port + nth);
    let tell = |what: &str| writeln!(std::io::stderr(), "starting {what}");
    tell("PostgreSQL")?;
    let postgres = postgres::Options { port: port(2), ..postgres::Options::default() };
    let postgres = postgres::Postgres::start(&folder.join("postgres"), postgres)?;
    postgres.create_database("orderly")?;
    tell("Redis")?;
    let redis = redis::Options { port: port(3), ..redis::Options::for_trying_out() };
    let redis = redis::Redis::start(&folder.join("redis"), redis)?;
    tell("ClickHouse")?;
    let options = clickhouse::Options { http_port: port(4), tcp_port: port(5), ..clickhouse::Options::default() };
    let clickhouse = clickhouse::ClickHouse::start(&folder.join("clickhouse"), &options)?;
    tell("Kafka (the first time its jars are fetched)")?;
    let options = kafka::Options { port: port(6), ..kafka::Options::default() };
    let kafka = kafka::Kafka::start(&folder.join("kafka"), &options)?;
    tell("Prometheus")?;
    let options = prometheus::Options { port: port(0), targets: targets.clone() };
    let prometheus = prometheus::Prometheus::start(&folder.join("prometheus"), &options)?;
    Ok(Stack { kafka, redis, postgres, clickhouse, prometheus })
}

/// Stops all of them side by side: none needs another to stop. What does not stop in time is killed.
fn stop(stack: &Stack) -> anyhow::Result<()> {
    let Stack { kafka, redis, postgres, clickhouse, prometheus } = stack;
    let servers: [(&str, &(dyn Fn() -> anyhow::Result<()> + Sync)); 5] = [
        ("Kafka", &|| kafka.process(0).stop()),
        ("Redis", &|| redis.process().stop()),
        ("PostgreSQL", &|| postgres.stop()),
        ("ClickHouse", &|| clickhouse.process().stop()),
        ("Prometheus", &|| prometheus.process().stop()),
    ];
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let stopping = servers.map(|(name, stop)| {
            scope.spawn(move || {
                stop().with_context(|| format!("{name} does not stop"))?;
                let seconds = begin.elapsed().as_secs_f32();
                Ok(writeln!(std::io::stderr(), "stopped {name} after {seconds:.1} s")?)
            })
        });
        let stopped = stopping.map(|thread| thread.join().unwrap_or_else(|_| anyhow::bail!("a thread panicked")));
        stopped.into_iter().collect()
    })
}

fn write_config(arguments: &Arguments, stack: &Stack) -> anyhow::Result<()> {
    let folder = arguments.config.parent().unwrap_or(Path::new("."));
    let keys = std::path::absolute(folder)?;
    let [auth, ticket, personal] = ["auth.key", "ticket.keys", "personal.keys"].map(|name| keys.join(name));
    for (path, prefixes, bytes) in
        [(&auth, &[""][..], 48), (&ticket, &["1 "][..], 48), (&personal, &["pseudonyms ", "1 "][..], 32)]
    {
        if !path.exists() {
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
            for prefix in prefixes {
                let written = writeln!(file, "{prefix}{}", secret(bytes)?);
                written.with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
    }
    let text = format!(
        "# Written by `make up`. For trying things out: the keys lie beside it.\n\
         profile = \"distributed\"\n\
         data = {:?}\n\n\
         [auth]\nkey_file = {auth:?}\n\n\
         [ticket]\nkeys_file = {ticket:?}\n\n\
         [personal]\nkeys_file = {personal:?}\n\n\
         [kafka]\nbrokers = {:?}\n\n\
         [redis]\nurls = {:?}\n\n\
         [postgres]\nurl = {:?}\n\n\
         [clickhouse]\nurl = {:?}\n",
        keys.join("data"),
        stack.kafka.brokers(),
        stack.redis.url(),
        stack.postgres.url("orderly"),
        stack.clickhouse.url(),
    );
    std::fs::write(&arguments.config, text).with_context(|| format!("cannot write {}", arguments.config.display()))
}

/// So many random bytes, as base64.
fn secret(length: usize) -> anyhow::Result<String> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random bytes are to be had: {error}"))?;
    Ok(base64::engine::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes))
}
