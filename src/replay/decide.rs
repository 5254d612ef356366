//! Decides a data folder's log with the embedded engine, as `orderly serve` would, and nobody listens.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orderly_domain::clock::System;
use orderly_domain::port::Store as _;
use orderly_pipeline::{Pipeline, Ports};
use orderly_sinks::{fanout, ledger, log, store};
use prometheus::Registry;

use crate::bar::bar;
use crate::config::Config;

/// How often the progress is shown.
const SHOWN_EVERY: Duration = Duration::from_millis(50);

/// Decides all `records` of the folder's log, and answers with the store that holds the decisions.
///
/// # Errors
/// When a file cannot be opened, or the pipeline stops.
pub(super) async fn decide(
    folder: &Path,
    config: &Config,
    partitions: u16,
    records: u64,
) -> anyhow::Result<store::sqlite::Store> {
    let registry = Registry::new();
    let clock = Arc::new(System);
    let options = log::sqlite::Options { partitions, size_max_bytes: None, ..config.log_options() };
    let log = Arc::new(log::sqlite::Log::open(folder, options, Arc::clone(&clock) as _, &registry)?);
    let options = store::sqlite::Options { size_max_bytes: None, ..config.store_options() };
    let ports = Ports {
        log: Arc::clone(&log) as _,
        ledger: Arc::new(ledger::memory::Ledger::default()),
        store: Arc::new(store::sqlite::Store::open(folder, options, &registry)?),
        fanout: Arc::new(fanout::memory::Fanout::new(1)),
        clock,
    };
    let pipeline = Pipeline::start(config.pipeline_options("replay".to_owned()), ports, &registry).await?;
    let bar = bar(records, "decided")?;
    let state = pipeline.state();
    let mut ticks = tokio::time::interval(SHOWN_EVERY);
    loop {
        let state = state.state();
        bar.set_position(state.decided_total);
        bar.set_message(state.cause.unwrap_or_default());
        if state.decided_total >= records {
            break;
        }
        tokio::select! {
            error = pipeline.failed() => return Err(error.into()),
            _ = ticks.tick() => {}
        }
    }
    pipeline.drain().await?;
    log.close().await;
    bar.finish_and_clear();
    let anew = store::sqlite::Store::open_read_only(folder)?;
    let decided: u64 = anew.progress().await?.iter().map(|progress| progress.next_offset).sum();
    anyhow::ensure!(decided == records, "{decided} of {records} records were decided");
    Ok(anew)
}
