//! The auditor's metrics.

use orderly_checker::{Auditor, Invariant, Judged, Report};
use orderly_domain::Timestamp;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, IntGaugeVec, Opts, Registry};

/// Seconds.
const DELAYS: [f64; 13] = [0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0, 10.0, 30.0, 60.0];

pub(super) struct Metrics {
    violations: IntGaugeVec,
    decisions: IntCounter,
    delay: Histogram,
    in_flight: IntGauge,
    compared: IntCounter,
    changing: IntGauge,
    tickets: IntGauge,
    sessions: IntGauge,
    replaying: IntGauge,
    frozen: IntGauge,
    up: IntGauge,
}

impl Metrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            prometheus::Result::Ok(gauge)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            prometheus::Result::Ok(counter)
        };
        let violations =
            Opts::new("orderly_audit_run_violations", "What breaks an invariant, by invariant: all must be 0");
        let violations = IntGaugeVec::new(violations, &["invariant"])?;
        registry.register(Box::new(violations.clone()))?;
        let delay = HistogramOpts::new("orderly_audit_run_delay_seconds", "From a decision until it was judged")
            .buckets(DELAYS.to_vec());
        let delay = Histogram::with_opts(delay)?;
        registry.register(Box::new(delay.clone()))?;
        let metrics = Self {
            violations,
            decisions: counter("orderly_audit_run_decisions_total", "Decisions that were judged")?,
            delay,
            in_flight: gauge("orderly_audit_run_in_flight", "Records of the log that are not decided yet")?,
            compared: counter(
                "orderly_audit_run_comparisons_total",
                "Comparisons of the tables of sessions and appointments",
            )?,
            changing: gauge(
                "orderly_audit_run_sessions_changing",
                "Sessions that the last comparison left out, because they were being changed",
            )?,
            tickets: gauge("orderly_audit_run_tickets", "Tickets that are remembered, for their retries")?,
            sessions: gauge("orderly_audit_run_sessions", "Sessions that are remembered")?,
            replaying: gauge(
                "orderly_audit_run_replaying",
                "1 while every decision is compared with what the rules answer; 0 when the log's beginning is gone",
            )?,
            frozen: gauge(
                "orderly_audit_run_frozen_sessions",
                "Sessions that were frozen for what is wrong with them",
            )?,
            up: gauge("orderly_audit_run_up", "1 when log and store could be read the last time")?,
        };
        for invariant in Invariant::ALL {
            metrics.of(invariant).set(0);
        }
        Ok(metrics)
    }

    fn of(&self, invariant: Invariant) -> IntGauge {
        self.violations.with_label_values(&[&invariant.title().replace(' ', "_")])
    }

    pub(super) fn judged(&self, judged: &Judged, now: Timestamp) {
        self.decisions.inc_by(judged.decisions);
        for (decided_at, count) in &judged.decided_at {
            let delay = now.since(*decided_at).as_secs_f64();
            (0..*count).for_each(|_| self.delay.observe(delay));
        }
    }

    pub(super) fn compared(&self, changing: u64, auditor: &Auditor<'_>) {
        let (tickets, sessions) = auditor.remembered();
        self.compared.inc();
        self.changing.set(signed(changing));
        self.tickets.set(signed(tickets as u64));
        self.sessions.set(signed(sessions as u64));
        self.replaying.set(i64::from(auditor.is_replaying()));
    }

    pub(super) fn found(&self, report: &Report) {
        self.up.set(1);
        self.in_flight.set(signed(report.in_flight));
        for invariant in Invariant::ALL {
            self.of(invariant).set(signed(report.violations(invariant)));
        }
    }

    pub(super) fn frozen(&self, sessions: usize) {
        self.frozen.set(signed(sessions as u64));
    }

    pub(super) fn is_down(&self) {
        self.up.set(0);
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
