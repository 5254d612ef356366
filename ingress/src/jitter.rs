//! Jitter: those who were refused together must not come back together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Scrambles a number (the finalizer of splitmix64).
const fn mixed(seed: u64) -> u64 {
    let x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// That long, and up to half as long again: evenly spread over the callers, never less.
pub(crate) fn later(after: Duration) -> Duration {
    static CALLS: AtomicU64 = AtomicU64::new(1);
    let thousandths = mixed(CALLS.fetch_add(1, Ordering::Relaxed)) % 1_000;
    after + after.mul_f64(f64::from(u32::try_from(thousandths).unwrap_or(0)) / 2_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_and_is_never_early() {
        let second = Duration::from_secs(1);
        let waits: Vec<_> = (0..1_000).map(|_| later(second)).collect();
        assert!(waits.iter().all(|wait| (second..=second * 3 / 2).contains(wait)));
        let early = waits.iter().filter(|wait| **wait < second + second / 4).count();
        assert!((350..650).contains(&early), "{early}");
    }
}
