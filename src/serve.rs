//! `orderly serve`: where adapters, pipeline and ingress are wired into one process.

use std::future::Future;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use orderly_domain::clock::System;
use orderly_ingress::Server;
use orderly_pipeline::{Pipeline, Relay, Retention, StoreRetention};
use prometheus::Registry;
use prometheus::process_collector::ProcessCollector;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::auditor::watching::Watching;
use crate::config::{Config, Profile};
use crate::edges::Edges;
use crate::{audit, demo, jwks, keys, personal};

/// How long a stop waits for what is in flight. What is not decided by then is in the log, and decided after the next start.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// How long a stop waits for the last head of the audit trail to be anchored.
const ANCHOR_MAX: Duration = Duration::from_secs(3);

/// Which parts of Orderly a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Roles {
    /// Takes requests.
    pub ingress: bool,
    /// Decides them.
    pub pipeline: bool,
    /// Carries decisions to analytics and other feeds.
    pub relay: bool,
}

impl Roles {
    /// Everything in one process.
    pub(crate) const ALL: Self = Self { ingress: true, pipeline: true, relay: true };
    /// Only what takes requests.
    pub(crate) const INGRESS: Self = Self { ingress: true, pipeline: false, relay: false };
    /// Only what decides.
    pub(crate) const PIPELINE: Self = Self { ingress: false, pipeline: true, relay: false };
    /// Only what carries decisions on.
    pub(crate) const RELAY: Self = Self { ingress: false, pipeline: false, relay: true };
}

/// Serves until SIGTERM or SIGINT, then drains: takes no more requests, decides what was read, and closes the log last.
///
/// # Errors
/// When a part does not start, or stops by itself. Says which, and what to do.
pub(crate) async fn run(config: Config, roles: Roles, demo: bool) -> anyhow::Result<()> {
    anyhow::ensure!(
        roles == Roles::ALL || config.profile == Profile::Distributed,
        "the embedded profile is one process: use `orderly serve`, or set profile = \"distributed\" and name its servers \
         (orderly config --print shows how)"
    );
    let mut asked_to_stop = Box::pin(stop_signal()?);
    let registry = Registry::new();
    registry.register(Box::new(ProcessCollector::for_self()))?;
    let clock = Arc::new(System);
    let edges = Edges::open(&config, roles, Arc::clone(&clock) as _, &registry).await?;
    let keys = keys::for_server(&config, demo)?;
    let provider = match &config.auth.jwks_url {
        Some(url) => {
            let refresh = Duration::from_secs(config.auth.jwks_refresh_s);
            Some(jwks::Provider::new(url, refresh, keys.clone())?)
        }
        None => None,
    };
    let watching = Watching::configured(&config)?;
    let codec = keys::ticket_codec(&config)?;
    let sealing = personal::open(&config, demo, &*edges.store).await?;
    let pseudonyms = personal::pseudonyms(&config)?;

    let pipeline = if roles.pipeline {
        let ports = orderly_pipeline::Ports {
            log: Arc::clone(&edges.log),
            ledger: Arc::clone(&edges.ledger),
            store: Arc::clone(&edges.store),
            fanout: Arc::clone(&edges.fanout),
            clock: Arc::clone(&clock) as _,
        };
        Some(Pipeline::start(config.pipeline_options(owner()?), ports, &registry).await?)
    } else {
        None
    };
    let state = pipeline.as_ref().map(Pipeline::state);
    // Before anybody can ask: the first one finds the whole hospital.
    if demo && roles.ingress {
        let opened = demo::load(&*edges.log, &*edges.store, &*clock, config.ingress.exclusivity).await?;
        if pipeline.is_some() {
            demo::decided(&*edges.store, &opened).await;
        }
        tracing::info!(opened = opened.len(), "the demo hospital is there");
    }
    let ports = orderly_ingress::Ports {
        log: Arc::clone(&edges.log),
        store: Arc::clone(&edges.store),
        fanout: Arc::clone(&edges.fanout),
        audit: Arc::clone(&edges.audit),
        analytics: Arc::clone(&edges.analytics),
        pipeline: state.clone(),
        breakers: edges.breakers.clone(),
        peers: edges.peers.clone(),
        auditor: watching.as_ref().map(Watching::told),
        clock: Arc::clone(&clock) as _,
    };
    let mut options = orderly_ingress::Options { operations_only: !roles.ingress, ..config.ingress_options(demo)? };
    options.audit.node = owner()?;
    let (stop_anchoring, anchored) = watch::channel(false);
    let anchoring = audit::anchor(&config, Arc::clone(&edges.audit), Arc::clone(&clock) as _, owner()?, anchored)?;
    let anchoring = tokio::spawn(anchoring);
    let server = Server::bind(options, ports, codec, sealing.clone(), keys, registry.clone()).await?;
    announce(&server, &config, demo)?;

    let (stop, stopped) = watch::channel(false);
    let feeds = if roles.relay { edges.feeds.clone() } else { Vec::new() };
    let relay = Relay::new(&edges.store, feeds, state.as_ref(), &registry)?;
    let relay = relay.naming(&pseudonyms);
    let relay = match &edges.turn {
        Some(turn) => relay.in_turn(turn),
        None => relay,
    };
    let (stop_relay, drained) = watch::channel(false);
    let relay = tokio::spawn(relay.run(drained));
    let (kept_log, kept_store) = (Arc::clone(&edges.log), Arc::clone(&edges.store));
    let retention = Retention::new(kept_log, kept_store, Arc::clone(&clock) as _, config.retention(), &registry)?;
    let retention = tokio::spawn(retention.run(stopped.clone()));
    let forgetting = store_retention(&config, roles, &edges, clock, &registry)?;
    let forgetting = tokio::spawn(run_if_any(forgetting, stopped.clone()));
    // They end with the process: there is nothing to be finished.
    let _provider = provider.map(|provider| tokio::spawn(provider.follow()));
    let _watching = watching.map(|watching| tokio::spawn(watching.go_on()));
    let _keys = tokio::spawn(personal::follow(config.clone(), sealing));
    let mut serving = tokio::spawn(server.run(until_set(stopped)));

    let ended = tokio::select! {
        () = &mut asked_to_stop => Ok(()),
        error = failed(pipeline.as_ref()) => Err(anyhow!(error)),
        error = edges.failed() => Err(error),
        result = &mut serving => Err(anyhow!("the HTTP server ended by itself: {result:?}")),
    };
    tracing::info!("stops");
    stop.send_replace(true);
    let drained = async {
        if !serving.is_finished() {
            serving.await.context("the HTTP server panicked")?;
        }
        let drained = match pipeline {
            Some(pipeline) => pipeline.drain().await,
            None => Ok(()),
        };
        // Nothing is audited any more: the last head. It may lie on another machine, for which nothing waits long.
        stop_anchoring.send_replace(true);
        if tokio::time::timeout(ANCHOR_MAX, anchoring).await.is_err() {
            tracing::warn!("the last head of the audit trail was not anchored in time");
        }
        stop_relay.send_replace(true);
        relay.await.context("the relay panicked")?;
        retention.await.context("the retention of the log panicked")?;
        // What it is at may take long, and can be broken off.
        forgetting.abort();
        edges.close().await;
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

/// The task that lets the store forget old days, where it is wanted.
fn store_retention(
    config: &Config,
    roles: Roles,
    edges: &Edges,
    clock: Arc<System>,
    registry: &Registry,
) -> anyhow::Result<Option<StoreRetention>> {
    let keep_days = config.store.retention_days;
    if !roles.relay || keep_days == 0 {
        return Ok(None);
    }
    let (log, store, feeds) = (Arc::clone(&edges.log), Arc::clone(&edges.store), edges.feeds.clone());
    Ok(Some(StoreRetention::new(log, store, feeds, clock, keep_days, registry)?))
}

async fn run_if_any(task: Option<StoreRetention>, stopped: watch::Receiver<bool>) {
    if let Some(task) = task {
        task.run(stopped).await;
    }
}

/// Waits until the pipeline has failed; for ever without one.
async fn failed(pipeline: Option<&Pipeline>) -> orderly_pipeline::Error {
    match pipeline {
        Some(pipeline) => pipeline.failed().await,
        None => std::future::pending().await,
    }
}

/// A name that no other process has at the same time.
pub(crate) fn owner() -> anyhow::Result<String> {
    Ok(format!("{}-{}", nix::unistd::gethostname()?.to_string_lossy(), std::process::id()))
}

/// Ends at the first SIGTERM or SIGINT from now on.
pub(crate) fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
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
    let scheme = if config.tls.certificate_file.is_some() { "https" } else { "http" };
    writeln!(out, "orderly listens on {scheme}://{address}, data in {data}")?;
    if let Some(address) = server.ops_addr() {
        writeln!(out, "orderly listens for ops on https://{address}, to whoever shows a certificate")?;
    }
    if demo {
        writeln!(
            out,
            "DEMO: POST /v1/demo/token gives a token of any role to whoever asks. Never show this to a network."
        )?;
    }
    Ok(out.flush()?)
}
