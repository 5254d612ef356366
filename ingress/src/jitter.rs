//! Jitter: those who were refused together must not come back together.

use std::time::Duration;

/// Over how long those are spread, at least, who are refused by something that many share.
const SPREAD_MIN: Duration = Duration::from_secs(2);

/// That long, and up to half as long again; never less.
pub(crate) fn later(after: Duration) -> Duration {
    after + after.mul_f64(rand::random::<f64>() / 2.0)
}

/// That long, and up to as long again, two seconds at least: for a limit that many share, which lets them in one by one.
pub(crate) fn spread(after: Duration) -> Duration {
    after + after.max(SPREAD_MIN).mul_f64(rand::random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_and_is_never_early() {
        let second = Duration::from_secs(1);
        for (wait, longest) in [(later as fn(Duration) -> Duration, second * 3 / 2), (spread, second * 3)] {
            let waits: Vec<_> = (0..1_000).map(|_| wait(second)).collect();
            assert!(waits.iter().all(|wait| (second..=longest).contains(wait)));
            let middle = second + (longest - second) / 2;
            let early = waits.iter().filter(|wait| **wait < middle).count();
            assert!((350..650).contains(&early), "{early}");
        }
    }
}
