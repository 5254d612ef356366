//! The ingress's metrics: every name in one place.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::routes;

/// Requests answered, by method, route and status class.
pub const REQUESTS_TOTAL: &str = "orderly_ingress_requests_total";
/// From a booking's arrival to its 202: what the durable log takes.
pub const ACCEPT_SECONDS: &str = "orderly_ingress_accept_seconds";
/// From the log's taking a record to the moment this node heard its outcome.
pub const DECISION_SECONDS: &str = "orderly_ingress_decision_seconds";
/// Requests and streams that wait for a decision.
pub const WAITERS: &str = "orderly_ingress_waiters";
/// Gauge by `kind`, `sessions`, `tickets` or `ops`: event streams that are open.
pub const STREAMS: &str = "orderly_ingress_streams";
/// Counter by `limit`, `session-streams`, `ticket-streams`, `ops-streams` or `address-streams`: event streams that were refused.
pub const STREAMS_REFUSED_TOTAL: &str = "orderly_ingress_streams_refused_total";
/// Connections that are open.
pub const CONNECTIONS: &str = "orderly_ingress_connections";
/// Connections that were cut before their first request was read.
pub const CONNECTIONS_CUT_TOTAL: &str = "orderly_ingress_connections_cut_total";
/// Connections that were closed at once because their address had as many as it may.
pub const CONNECTIONS_REFUSED_TOTAL: &str = "orderly_ingress_connections_refused_total";
/// Connections that were cut because the client did not read.
pub const SLOW_READERS_CUT_TOTAL: &str = "orderly_ingress_slow_readers_cut_total";
/// Gauge by `holding`, `connections` or `streams`: client addresses that hold some.
pub const ADDRESSES: &str = "orderly_ingress_addresses";
/// Times that the fan-out said this node missed something.
pub const GAPS_TOTAL: &str = "orderly_ingress_fanout_gaps_total";
/// Retries that were answered without a new record.
pub const RETRIES_TOTAL: &str = "orderly_ingress_retries_total";
/// Bookings whose client left, or had waited for its time, before they were in the log.
pub const LEFT_TOTAL: &str = "orderly_ingress_left_total";
/// Fields of personal data that this node sealed. A key is good for 2^32 of them.
pub const PERSONAL_SEALED_TOTAL: &str = "orderly_ingress_personal_sealed_total";
/// Sealed fields that this node could not open: their key is not in its keys file, or they were changed.
pub const PERSONAL_UNOPENED_TOTAL: &str = "orderly_ingress_personal_unopened_total";
/// Counter by `bound`, `wait` or `undecided`: requests refused because of the line before them.
pub const SHED_TOTAL: &str = "orderly_ingress_shed_total";
/// Records that this node appended or appends and that are undecided.
pub const UNDECIDED: &str = "orderly_ingress_undecided";
/// Requests whose handler panicked.
pub const PANICS_TOTAL: &str = "orderly_ingress_panics_total";
/// Sessions that this node knows.
pub const SESSIONS: &str = "orderly_ingress_sessions";
/// Doctors whose requests are counted one by one; at most 20,000.
pub const HEAT_DOCTORS: &str = "orderly_ingress_heat_doctors";
/// Counter by `limit`: requests that were throttled.
pub const THROTTLED_TOTAL: &str = "orderly_ingress_throttled_total";
/// Gauge by `limit`: keys of the throttle that have an allowance of their own.
pub const THROTTLE_KEYS: &str = "orderly_ingress_throttle_keys";
/// Counter: requests that were not recorded in `ingress.arrivals_file`, because it was full or slow.
pub const ARRIVALS_LEFT_OUT_TOTAL: &str = "orderly_ingress_arrivals_left_out_total";
/// Gauge: ingress nodes that this one knows of, with itself; 0 where there is only one.
pub const NODES: &str = "orderly_ingress_nodes";
/// Gauge: this node's share, 0 to 1, of the limits that hold for all ingress nodes together.
pub const THROTTLE_SHARE_RATIO: &str = "orderly_ingress_throttle_share_ratio";
/// Counter by `limit`: requests whose key shared an allowance, because the limit had `keys_max` keys already.
pub const THROTTLE_KEYS_OVERFLOWED_TOTAL: &str = "orderly_ingress_throttle_keys_overflowed_total";
/// Counter by `of`, `patient` or `address`, and by `signal`: what may make somebody suspicious.
pub const SUSPICION_SIGNALS_TOTAL: &str = "orderly_suspicion_signals_total";
/// Gauge by `of`: patients and addresses that are counted apart; at most `suspicion.keys_max` of the policy, and seven.
pub const SUSPICION_KEYS: &str = "orderly_suspicion_keys";
/// Counter by `of`: those who were forgotten because others who count more needed the room.
pub const SUSPICION_EVICTED_TOTAL: &str = "orderly_suspicion_evicted_total";
/// Counter by `outcome`: challenges that were `issued`, answers that `passed`, and those that were refused as `wrong`,
/// `foreign`, `stale`, `used` or `unavailable`.
pub const SUSPICION_CHALLENGES_TOTAL: &str = "orderly_suspicion_challenges_total";
/// Gauge: answers that are remembered, so that none is taken twice; at most 65,536.
pub const SUSPICION_ANSWERS: &str = "orderly_suspicion_answers";
/// Gauge: tasks of the process that have not ended.
pub const RUNTIME_TASKS: &str = "orderly_runtime_tasks";
/// Entries that this process wrote into the audit trail.
pub const AUDIT_ENTRIES_TOTAL: &str = "orderly_audit_entries_total";
/// From the append of a group of entries to the audit trail to its being durable, in seconds.
pub const AUDIT_APPEND_SECONDS: &str = "orderly_audit_append_seconds";
/// Audited calls that are under way, and entries that wait to be written; at most `audit.queue_entries_max`.
pub const AUDIT_QUEUE_ENTRIES: &str = "orderly_audit_queue_entries";
/// 1 while the audit trail can be written, as far as is known; else 0.
pub const AUDIT_UP: &str = "orderly_audit_up";
/// Appends to the audit trail that failed.
pub const AUDIT_FAILED_TOTAL: &str = "orderly_audit_failed_total";
/// Calls that the audit trail does not list, but tells by their number.
pub const AUDIT_SUMMED_TOTAL: &str = "orderly_audit_summed_total";

const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

const SECONDS: [f64; 14] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 10.0, 60.0];

/// The ingress's metrics.
pub(crate) struct Metrics {
    /// By index in [`routes::TABLE`], then by class.
    requests: Vec<[IntCounter; 4]>,
    pub(crate) accept: Histogram,
    pub(crate) decision: Histogram,
    pub(crate) waiters: IntGauge,
    pub(crate) session_streams: IntGauge,
    pub(crate) ticket_streams: IntGauge,
    pub(crate) ops_streams: IntGauge,
    pub(crate) stream_addresses: IntGauge,
    pub(crate) streams_refused: IntCounterVec,
    pub(crate) connections: IntGauge,
    pub(crate) connection_addresses: IntGauge,
    pub(crate) connections_cut: IntCounter,
    pub(crate) connections_refused: IntCounter,
    pub(crate) slow_readers_cut: IntCounter,
    pub(crate) gaps: IntCounter,
    pub(crate) retries: IntCounter,
    pub(crate) left: IntCounter,
    pub(crate) panics: IntCounter,
    pub(crate) personal_sealed: IntCounter,
    pub(crate) personal_unopened: IntCounter,
    pub(crate) sessions: IntGauge,
    pub(crate) heat_doctors: IntGauge,
    pub(crate) arrivals_left_out: IntCounter,
    pub(crate) nodes: IntGauge,
    pub(crate) tasks: IntGauge,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = Opts::new(REQUESTS_TOTAL, "Requests answered, by method, route and status class.");
        let requests = IntCounterVec::new(opts, &["method", "route", "class"])?;
        registry.register(Box::new(requests.clone()))?;
        let counters = |route: &routes::Route| {
            CLASSES.map(|class| requests.with_label_values(&[route.method.as_str(), route.path, class]))
        };
        let histogram = |name: &str, help: &str| -> Result<Histogram, prometheus::Error> {
            let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok(histogram)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let gauges = |name: &str, help: &str, label: &str| -> Result<IntGaugeVec, prometheus::Error> {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(gauges.clone()))?;
            Ok(gauges)
        };
        let streams = gauges(STREAMS, "Event streams that are open, by kind.", "kind")?;
        let addresses = gauges(ADDRESSES, "Client addresses that hold connections or streams.", "holding")?;
        let opts = Opts::new(STREAMS_REFUSED_TOTAL, "Event streams refused, by limit.");
        let streams_refused = IntCounterVec::new(opts, &["limit"])?;
        registry.register(Box::new(streams_refused.clone()))?;
        Ok(Self {
            requests: routes::TABLE.iter().map(counters).collect(),
            accept: histogram(ACCEPT_SECONDS, "From a booking's arrival to its 202.")?,
            decision: histogram(DECISION_SECONDS, "From the log's taking a record to hearing its outcome.")?,
            waiters: gauge(WAITERS, "Requests and streams that wait for a decision.")?,
            session_streams: streams.with_label_values(&["sessions"]),
            ticket_streams: streams.with_label_values(&["tickets"]),
            ops_streams: streams.with_label_values(&["ops"]),
            stream_addresses: addresses.with_label_values(&["streams"]),
            streams_refused,
            connections: gauge(CONNECTIONS, "Connections that are open.")?,
            connection_addresses: addresses.with_label_values(&["connections"]),
            connections_cut: counter(CONNECTIONS_CUT_TOTAL, "Connections cut before a first request was read.")?,
            connections_refused: counter(
                CONNECTIONS_REFUSED_TOTAL,
                "Connections closed at once because their address had too many.",
            )?,
            slow_readers_cut: counter(SLOW_READERS_CUT_TOTAL, "Connections cut because the client did not read.")?,
            gaps: counter(GAPS_TOTAL, "Times that this node missed published decisions and read the store.")?,
            retries: counter(RETRIES_TOTAL, "Retries that were answered without a new record.")?,
            left: counter(LEFT_TOTAL, "Bookings that went on into the log after their client had left.")?,
            panics: counter(PANICS_TOTAL, "Requests whose handler panicked.")?,
            personal_sealed: counter(PERSONAL_SEALED_TOTAL, "Fields of personal data that were sealed.")?,
            personal_unopened: counter(PERSONAL_UNOPENED_TOTAL, "Sealed fields that could not be opened.")?,
            nodes: gauge(NODES, "Ingress nodes among which shared limits are divided.")?,
            tasks: gauge(RUNTIME_TASKS, "Tasks of the process that have not ended.")?,
            arrivals_left_out: counter(ARRIVALS_LEFT_OUT_TOTAL, "Requests that were not recorded for rehearsals.")?,
            sessions: gauge(SESSIONS, "Sessions that this node knows.")?,
            heat_doctors: gauge(HEAT_DOCTORS, "Doctors whose requests are counted one by one.")?,
        })
    }

    pub(crate) fn answered(&self, route: usize, status: axum::http::StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(2, 5) - 2;
        if let Some(counters) = self.requests.get(route) {
            counters[class].inc();
        }
    }
}
