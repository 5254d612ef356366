//! `orderly-stack`: the servers of the distributed profile on the loopback address, for trying it out.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser;
use nix::sys::signal::{SigSet, Signal};
use orderly_stack::{clickhouse, kafka, postgres, prometheus, redis};

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
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    // Before anything is started: a signal meanwhile waits until there is something to stop.
    signals.thread_block().context("signals cannot be blocked")?;
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
    signals.wait().context("cannot wait for a signal")?;
    stop(stack)
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
    let redis = redis::Options { port: port(3), append_only: true, ..redis::Options::default() };
    let redis = redis::Redis::start(&folder.join("redis"), redis)?;
    tell("ClickHouse")?;
    let options = clickhouse::Options { http_port: port(4), tcp_port: port(5), ..clickhouse::Options::default() };
    let clickhouse = clickhouse::ClickHouse::start(&folder.join("clickhouse"), options)?;
    tell("Kafka (the first time its jars are fetched)")?;
    let options = kafka::Options { port: port(6), ..kafka::Options::default() };
    let kafka = kafka::Kafka::start(&folder.join("kafka"), &options)?;
    tell("Prometheus")?;
    let options = prometheus::Options { port: port(0), targets: targets.clone() };
    let prometheus = prometheus::Prometheus::start(&folder.join("prometheus"), &options)?;
    Ok(Stack { kafka, redis, postgres, clickhouse, prometheus })
}

/// Stops in the order in which nobody loses anything; what does not stop in time is killed.
fn stop(stack: Stack) -> anyhow::Result<()> {
    let Stack { kafka, redis, postgres, clickhouse, prometheus } = stack;
    prometheus.process().stop()?;
    kafka.process(0).stop()?;
    redis.process().stop()?;
    clickhouse.process().stop()?;
    postgres.stop()
}

fn write_config(arguments: &Arguments, stack: &Stack) -> anyhow::Result<()> {
    let folder = arguments.config.parent().unwrap_or(Path::new("."));
    let keys = std::path::absolute(folder)?;
    let (auth, ticket) = (keys.join("auth.key"), keys.join("ticket.keys"));
    for (path, prefix) in [(&auth, ""), (&ticket, "1 ")] {
        if !path.exists() {
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
            writeln!(file, "{prefix}{}", secret()?).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    let text = format!(
        "# Written by `make up`. For trying things out: the keys lie beside it.\n\
         profile = \"distributed\"\n\
         data = {:?}\n\n\
         [auth]\nkey_file = {auth:?}\n\n\
         [ticket]\nkeys_file = {ticket:?}\n\n\
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

/// Random bytes, as base64.
fn secret() -> anyhow::Result<String> {
    let mut bytes = [0; 48];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random bytes are to be had: {error}"))?;
    Ok(base64::engine::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes))
}
