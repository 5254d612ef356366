//! Requests that are past: what the log has of them, or what an ingress recorded.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::Context as _;
use orderly_domain::port::{IntentLog, Store};
use orderly_ingress::throttle::{Arrival, past};

use crate::bar::bar;

/// The bookings and cancellations that lie in the log, ascending by time. Those that were throttled do not.
///
/// # Errors
/// When the log or the store cannot be read.
pub(super) async fn of_log(log: &dyn IntentLog, store: &dyn Store) -> anyhow::Result<Vec<Arrival>> {
    let bar = bar(0, "read")?;
    let told = |read, all| {
        bar.set_length(all);
        bar.set_position(read);
    };
    let arrivals = past(log, store, u64::MAX, &told).await?;
    bar.finish_and_clear();
    Ok(arrivals)
}

/// What an ingress recorded (`ingress.arrivals_file`), ascending by time.
///
/// # Errors
/// When the file cannot be read, or a line of it is no arrival.
pub(super) fn of_trace(path: &Path) -> anyhow::Result<Vec<Arrival>> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("the trace {name} cannot be read; check the path"))?;
    let mut arrivals = Vec::new();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let line = line.with_context(|| format!("the trace {name} cannot be read"))?;
        if line.trim().is_empty() {
            continue;
        }
        let arrival: Arrival = serde_json::from_str(&line)
            .with_context(|| format!("line {} of {name} is not a recorded request", index + 1))?;
        arrivals.push(arrival);
    }
    arrivals.sort_by_key(|arrival| arrival.at);
    Ok(arrivals)
}
