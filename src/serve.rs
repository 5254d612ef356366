//! `orderly serve`: where adapters, pipeline and ingress are wired into one process.

use std::future::Future;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use orderly_domain::clock::System;
use orderly_ingress::Server;
use orderly_pipeline::{Pipeline, Relay, Retention};
use orderly_sinks::{analytics, fanout, ledger, log, store};
use prometheus::Registry;
use prometheus::process_collector::ProcessCollector;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::Config;
use crate::{demo, keys};

/// How long a stop waits for what is in flight. What is not decided by then is in the log, and decided after the next start.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// Serves until SIGTERM or SIGINT, then drains: takes no more requests, decides what was read, and closes the log last.
///
/// # Errors
/// When a part does not start, or stops by itself. Says which, and what to do.
pub(crate) async fn run(config: Config, demo: bool) -> anyhow::Result<()> {
    let mut asked_to_stop = Box::pin(stop_signal()?);
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::for_self()))?;
    let clock = Arc::new(System);

    // The log comes first: it makes the folder, and refuses one that another process serves.
    let log = log::sqlite::Log::open(&config.data, config.log_options(), Arc::clone(&clock) as _, &registry)?;
    let log = Arc::new(log);
    let keys = keys::for_server(&config, demo)?;
    let codec = keys::ticket_codec(&config)?;
    let store = Arc::new(store::sqlite::Store::open(&config.data, config.store_options(), &registry)?);
    let analytics = analytics::sqlite::Analytics::open(&config.data, config.analytics_options(), &registry)?;
    let analytics = Arc::new(analytics);
    let fanout = Arc::new(fanout::memory::Fanout::new(config.fanout.capacity_batches));

    let ports = orderly_pipeline::Ports {
        log: Arc::clone(&log) as _,
        ledger: Arc::new(ledger::memory::Ledger::default()),
        store: Arc::clone(&store) as _,
        fanout: Arc::clone(&fanout) as _,
        clock: Arc::clone(&clock) as _,
    };
    let owner = format!("orderly-{}", std::process::id());
    let ports_of_ingress = |pipeline: &Pipeline| orderly_ingress::Ports {
        log: Arc::clone(&log) as _,
        store: Arc::clone(&store) as _,
        fanout: Arc::clone(&fanout) as _,
        analytics: Arc::clone(&analytics) as _,
        pipeline: Some(pipeline.state()),
        clock: Arc::clone(&clock) as _,
    };
    let pipeline = Pipeline::start(config.pipeline_options(owner), ports, &registry).await?;
    let options = config.ingress_options(demo)?;
    let server = Server::bind(options, ports_of_ingress(&pipeline), codec, keys, registry.clone()).await?;
    if demo {
        let opened = demo::load(&*log, &*store, &*clock, config.ingress.exclusivity).await?;
        tracing::info!(opened, "the demo hospital is there");
    }
    announce(&server, &config, demo)?;

    let (stop, stopped) = watch::channel(false);
    let relay = Relay::new(Arc::clone(&store) as _, vec![analytics as _], Some(pipeline.state()), &registry)?;
    let (stop_relay, drained) = watch::channel(false);
    let relay = tokio::spawn(relay.run(drained));
    let (kept_log, kept_store) = (Arc::clone(&log) as _, Arc::clone(&store) as _);
    let retention = Retention::new(kept_log, kept_store, clock, config.retention(), &registry)?;
    let retention = tokio::spawn(retention.run(stopped.clone()));
    let mut serving = tokio::spawn(server.run(until_set(stopped)));

    let ended = tokio::select! {
        () = &mut asked_to_stop => Ok(()),
        error = pipeline.failed() => Err(anyhow!(error)),
        cause = log.failed() => Err(anyhow!("the intent log failed: {cause}; free or repair the disk and start again")),
        result = &mut serving => Err(anyhow!("the HTTP server ended by itself: {result:?}")),
    };
    tracing::info!("stops");
    stop.send_replace(true);
    let drained = async {
        if !serving.is_finished() {
            serving.await.context("the HTTP server panicked")?;
        }
        let drained = pipeline.drain().await;
        stop_relay.send_replace(true);
        relay.await.context("the relay panicked")?;
        retention.await.context("the retention of the log panicked")?;
        log.close().await;
        anyhow::Ok(drained?)
    };
    let drained = tokio::select! {
        drained = tokio::time::timeout(DRAIN_MAX, drained) => drained.unwrap_or_else(|_| {
            let limit = DRAIN_MAX.as_secs();
            Err(anyhow!("not everything in flight was decided within {limit} s; it is in the log and is decided after the next start"))
        }),
        () = stop_signal()? => Err(anyhow!("stopped at once, as asked a second time; what was in flight is in the log")),
    };
    ended.and(drained)
}

/// Ends at the first SIGTERM or SIGINT from now on.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

async fn until_set(mut flag: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    let _ = flag.wait_for(|set| *set).await;
}

fn announce(server: &Server, config: &Config, demo: bool) -> anyhow::Result<()> {
    let (address, data) = (server.local_addr(), config.data.display());
    let mut out = std::io::stdout().lock();
    writeln!(out, "orderly listens on http://{address}, data in {data}")?;
    if demo {
        writeln!(
            out,
            "DEMO: POST /v1/demo/token gives a token of any role to whoever asks. Never show this to a network."
        )?;
    }
    Ok(out.flush()?)
}
