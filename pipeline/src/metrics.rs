//! What the pipeline measures.

use std::time::Instant;

use orderly_domain::Reason;
use orderly_domain::command::Kind;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

pub(crate) const OPERATOR_BATCH_SECONDS: &str = "orderly_pipeline_operator_batch_seconds";
pub(crate) const OPERATOR_RECORDS_TOTAL: &str = "orderly_pipeline_operator_records_total";
pub(crate) const EPOCH_RECORDS: &str = "orderly_pipeline_epoch_records";
pub(crate) const EPOCHS_IN_FLIGHT: &str = "orderly_pipeline_epochs_in_flight";
pub(crate) const DECISIONS_TOTAL: &str = "orderly_pipeline_decisions_total";
pub(crate) const REPUBLISHED_TOTAL: &str = "orderly_pipeline_republished_total";
pub(crate) const LIVES_TOTAL: &str = "orderly_pipeline_retakeovers_total";
pub(crate) const RELAYED_TOTAL: &str = "orderly_relay_rows_total";
pub(crate) const TRIMMED_TOTAL: &str = "orderly_log_trimmed_records_total";
pub(crate) const PRUNED_TOTAL: &str = "orderly_store_pruned_decisions_total";

/// The pipeline's metrics.
#[derive(Clone)]
pub(crate) struct Metrics {
    batch_seconds: HistogramVec,
    records_total: IntCounterVec,
    pub(crate) epoch_records: Histogram,
    pub(crate) epochs_in_flight: IntGauge,
    decisions_total: IntCounterVec,
    pub(crate) republished_total: IntCounter,
    pub(crate) lives_total: IntCounter,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets = prometheus::exponential_buckets(0.000_05, 2.5, 14)?;
        let batch = HistogramOpts::new(OPERATOR_BATCH_SECONDS, "Time of one batch in an operator.").buckets(buckets);
        let records = Opts::new(OPERATOR_RECORDS_TOTAL, "Records that went through an operator.");
        let epoch = HistogramOpts::new(EPOCH_RECORDS, "Records in an epoch.")
            .buckets(prometheus::exponential_buckets(1.0, 4.0, 8)?);
        let decisions = Opts::new(DECISIONS_TOTAL, "Committed decisions by kind, outcome and reason.");
        let metrics = Self {
            batch_seconds: HistogramVec::new(batch, &["operator"])?,
            records_total: IntCounterVec::new(records, &["operator"])?,
            epoch_records: Histogram::with_opts(epoch)?,
            epochs_in_flight: IntGauge::new(EPOCHS_IN_FLIGHT, "Epochs that were read and are not committed.")?,
            decisions_total: IntCounterVec::new(decisions, &["kind", "outcome", "reason"])?,
            lives_total: IntCounter::new(
                LIVES_TOTAL,
                "Times that partitions were taken over again to heal a failure.",
            )?,
            republished_total: IntCounter::new(REPUBLISHED_TOTAL, "Decisions published again after a takeover.")?,
        };
        registry.register(Box::new(metrics.lives_total.clone()))?;
        registry.register(Box::new(metrics.batch_seconds.clone()))?;
        registry.register(Box::new(metrics.records_total.clone()))?;
        registry.register(Box::new(metrics.epoch_records.clone()))?;
        registry.register(Box::new(metrics.epochs_in_flight.clone()))?;
        registry.register(Box::new(metrics.decisions_total.clone()))?;
        registry.register(Box::new(metrics.republished_total.clone()))?;
        Ok(metrics)
    }

    /// The metrics of one operator.
    pub(crate) fn stage(&self, operator: &str) -> Stage {
        Stage {
            seconds: self.batch_seconds.with_label_values(&[operator]),
            records: self.records_total.with_label_values(&[operator]),
        }
    }

    pub(crate) fn decided(&self, kind: Kind, outcome: &str, reason: Option<Reason>, count: u64) {
        let reason = reason.map_or("", Reason::as_str);
        self.decisions_total.with_label_values(&[kind.as_str(), outcome, reason]).inc_by(count);
    }
}

/// One operator's metrics.
#[derive(Clone)]
pub(crate) struct Stage {
    seconds: Histogram,
    records: IntCounter,
}

impl Stage {
    pub(crate) fn time<T>(&self, records: usize, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.observe(records, start);
        result
    }

    pub(crate) async fn time_async<T>(&self, records: usize, work: impl Future<Output = T>) -> T {
        let start = Instant::now();
        let result = work.await;
        self.observe(records, start);
        result
    }

    fn observe(&self, records: usize, start: Instant) {
        self.seconds.observe(start.elapsed().as_secs_f64());
        self.records.inc_by(records as u64);
    }
}
