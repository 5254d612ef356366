//! The dataflow, wired.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use orderly_domain::port::store::Committed;
use orderly_operators::{Admit, AsyncOperator as _, Commit, Decode, Dedup, Draft, Publish, RecentTickets, Takeovers};
use timely::dataflow::operators::{Inspect as _, Probe as _, probe};
use timely::worker::Worker;

use crate::dataflow::{Epoch, Feed, Lanes, Runtime, asynchronous, source, synchronous};
use crate::failure::Failure;
use crate::metrics::Metrics;

/// What every worker builds its copy of the dataflow from.
pub(crate) struct Parts {
    pub log_partitions: u16,
    pub recent: RecentTickets,
    pub takeovers: Takeovers,
    pub admit: Arc<Admit>,
    pub commit: Arc<Commit>,
    pub publish: Arc<Publish>,
    pub ledger_lanes: usize,
    pub batch_records_max: usize,
    pub decided_total: Arc<AtomicU64>,
    pub runtime: Runtime,
    pub metrics: Metrics,
    pub failure: Failure,
}

/// `source ▸ decode ▸ dedup ▸ admit ▸ commit ▸ publish`; what the probe has passed is committed and published.
///
/// Decode and dedup run where a partition's records are read. Admit runs where a department's day is decided. Commit and
/// publish run on one worker: the effects of all partitions are written in one order.
pub(crate) fn build(worker: &mut Worker, feed: Feed, parts: &Parts) -> probe::Handle<Epoch> {
    let Parts { metrics, failure, runtime, .. } = parts;
    let by_department_day = {
        let admit = Arc::clone(&parts.admit);
        move |draft: &Draft| admit.lane(draft)
    };
    let stage = |name| (metrics.stage(name), failure.clone());
    let ledger = Lanes { lanes: parts.ledger_lanes, batch_records_max: parts.batch_records_max };
    let one = Lanes { lanes: 1, batch_records_max: parts.batch_records_max };

    worker.dataflow_named::<Epoch, _, _>("booking", |scope| {
        let entries = source(scope, feed, runtime.stepper.clone());

        let (measured, failing) = stage("decode");
        let drafts = synchronous(entries, Decode::new(parts.log_partitions), measured, failing);

        let (measured, failing) = stage("dedup");
        let dedup = Dedup::new(parts.recent, parts.takeovers.clone());
        let drafts = synchronous(drafts, dedup, measured, failing);

        let (measured, failing) = stage("admit");
        let admit = Arc::clone(&parts.admit);
        let decisions = asynchronous(drafts, admit, by_department_day, ledger, runtime.clone(), measured, failing);

        let (measured, failing) = stage("commit");
        let commit = Arc::clone(&parts.commit);
        let committed = asynchronous(decisions, commit, |_| 0, one, runtime.clone(), measured, failing);
        let (count, total) = (metrics.clone(), Arc::clone(&parts.decided_total));
        let committed = committed.inspect_core(move |event| {
            if let Ok((_, batch)) = event {
                count_decisions(batch, &count, &total);
            }
        });

        let (measured, failing) = stage("publish");
        let publish = Arc::clone(&parts.publish);
        let published = asynchronous(committed, publish, |_| 0, one, runtime.clone(), measured, failing);
        published.probe().0
    })
}

fn count_decisions(batch: &[Committed], metrics: &Metrics, total: &AtomicU64) {
    let mut counts: HashMap<_, u64> = HashMap::new();
    for committed in batch {
        let outcome = (committed.outcome.as_str(), committed.outcome.reason());
        *counts.entry((committed.kind, outcome)).or_default() += 1;
    }
    for ((kind, (outcome, reason)), count) in counts {
        metrics.decided(kind, outcome, reason, count);
    }
    total.fetch_add(batch.len() as u64, Ordering::Relaxed);
}
