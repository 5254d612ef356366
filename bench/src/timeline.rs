//! A run over time, in equal steps.

use std::time::Duration;

use serde::Serialize;

use crate::latency::Latencies;

/// What happened to one request; all moments count from the start of the run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Event {
    /// When it was to be sent.
    pub intended: Duration,
    /// When its acceptance was read.
    pub accepted: Option<Duration>,
    /// When it was decided.
    pub decided: Option<Duration>,
}

/// One step.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Step {
    /// Its end, in seconds from the start.
    pub at_seconds: f64,
    /// Arrivals per second in it.
    pub offered_per_s: f64,
    /// Acceptances per second in it.
    pub accepted_per_s: f64,
    /// Decisions per second in it.
    pub decided_per_s: f64,
    /// Requests accepted and not decided at its end.
    pub backlog: u64,
    /// From the intended start to the acceptance, of the requests that were to start in it; `None` when there was none.
    pub accept_p50_ms: Option<f64>,
    /// See [`Step::accept_p50_ms`].
    pub accept_p99_ms: Option<f64>,
    /// From the intended start to the decision, of the requests that were to start in it; `None` when there was none.
    pub decision_p50_ms: Option<f64>,
    /// See [`Step::decision_p50_ms`].
    pub decision_p99_ms: Option<f64>,
}

#[derive(Clone, Default)]
struct Tally {
    offered: u64,
    accepted: u64,
    decided: u64,
    accept: Option<Latencies>,
    decision: Option<Latencies>,
}

/// The steps of `width` from the start to the last event.
///
/// # Panics
/// When `width` is zero.
#[must_use]
pub fn steps(events: &[Event], width: Duration) -> Vec<Step> {
    let step_of = |at: Duration| usize::try_from(at.as_nanos() / width.as_nanos()).unwrap_or(usize::MAX);
    let last = events.iter().flat_map(|event| [Some(event.intended), event.accepted, event.decided]).flatten().max();
    let Some(last) = last else { return Vec::new() };
    let mut tallies = vec![Tally::default(); step_of(last) + 1];
    for event in events {
        let started = step_of(event.intended);
        tallies[started].offered += 1;
        if let Some(accepted) = event.accepted {
            tallies[step_of(accepted)].accepted += 1;
            record(&mut tallies[started].accept, accepted.saturating_sub(event.intended));
        }
        if let Some(decided) = event.decided {
            tallies[step_of(decided)].decided += 1;
            record(&mut tallies[started].decision, decided.saturating_sub(event.intended));
        }
    }
    let per_second = |count: u64| count as f64 / width.as_secs_f64();
    let mut end = Duration::ZERO;
    let (mut accepted, mut decided) = (0_u64, 0_u64);
    let step = |tally: Tally| {
        end += width;
        accepted += tally.accepted;
        decided += tally.decided;
        let quantile = |of: &Option<Latencies>, q: f64| of.as_ref().map(|latencies| latencies.quantile_ms(q));
        Step {
            at_seconds: end.as_secs_f64(),
            offered_per_s: per_second(tally.offered),
            accepted_per_s: per_second(tally.accepted),
            decided_per_s: per_second(tally.decided),
            // A decision may be known before the acceptance was read.
            backlog: accepted.saturating_sub(decided),
            accept_p50_ms: quantile(&tally.accept, 0.5),
            accept_p99_ms: quantile(&tally.accept, 0.99),
            decision_p50_ms: quantile(&tally.decision, 0.5),
            decision_p99_ms: quantile(&tally.decision, 0.99),
        }
    };
    tallies.into_iter().map(step).collect()
}

fn record(latencies: &mut Option<Latencies>, latency: Duration) {
    latencies.get_or_insert_default().record(latency);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_step() {
        let ms = Duration::from_millis;
        let events = [
            Event { intended: ms(0), accepted: Some(ms(10)), decided: Some(ms(120)) },
            Event { intended: ms(50), accepted: Some(ms(60)), decided: Some(ms(90)) },
            Event { intended: ms(250), accepted: None, decided: None },
        ];
        let steps = steps(&events, ms(100));
        assert_eq!(steps.len(), 3);
        assert_eq!(steps.iter().map(|step| step.backlog).collect::<Vec<_>>(), [1, 0, 0]);
        assert!((steps[0].offered_per_s - 20.0).abs() < 1e-9 && (steps[1].decided_per_s - 10.0).abs() < 1e-9);
        assert!(steps[0].accept_p50_ms.is_some_and(|value| (value - 10.0).abs() < 0.1));
        assert!(steps[0].decision_p99_ms.is_some_and(|value| (value - 120.0).abs() < 0.2));
        assert_eq!(steps[2].accept_p50_ms, None);
    }

    #[test]
    fn of_nothing_there_is_nothing() {
        assert!(steps(&[], Duration::from_millis(100)).is_empty());
    }
}
