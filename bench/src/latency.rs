//! Latencies, summed up.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest latency that is told apart; longer ones count as this.
const LONGEST: Duration = Duration::from_secs(3_600);

/// A distribution of latencies, in microseconds, to three significant digits.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(
            Histogram::new_with_bounds(1, micros(LONGEST), 3)
                .expect("the bounds are in order and 3 digits are allowed"),
        )
    }
}

/// What a distribution is told by, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// How many were measured.
    pub count: u64,
    /// Half of them took at most this long.
    pub p50_ms: f64,
    /// 95 % of them did.
    pub p95_ms: f64,
    /// 99 % of them did.
    pub p99_ms: f64,
    /// 99.9 % of them did.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Latencies {
    /// Adds one.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(micros(latency).max(1));
    }

    /// Adds all of another's.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// The latency that `quantile` (0 to 1) of them don't exceed, in milliseconds.
    #[must_use]
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1_000.0
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The summary.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            count: self.count(),
            p50_ms: self.quantile_ms(0.5),
            p95_ms: self.quantile_ms(0.95),
            p99_ms: self.quantile_ms(0.99),
            p999_ms: self.quantile_ms(0.999),
            max_ms: self.0.max() as f64 / 1_000.0,
        }
    }
}

impl FromIterator<Duration> for Latencies {
    fn from_iter<I: IntoIterator<Item = Duration>>(latencies: I) -> Self {
        let mut all = Self::default();
        latencies.into_iter().for_each(|latency| all.record(latency));
        all
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_up() {
        let summary = (1..=1_000).map(Duration::from_millis).collect::<Latencies>().summary();
        assert_eq!(summary.count, 1_000);
        for (found, expected) in [(summary.p50_ms, 500.0), (summary.p99_ms, 990.0), (summary.max_ms, 1_000.0)] {
            assert!((found - expected).abs() <= expected / 500.0, "{found} is not {expected}");
        }
        assert_eq!(Latencies::default().summary(), Summary::default());
    }
}
