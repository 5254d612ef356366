//! What is counted of one patient or one address. Counts halve with time.

use super::signal::{Signal, Who};
use crate::throttle::Suspicion;

/// How many different things are told apart between two half-lives; beyond about six times as many it counts no more.
const SEEN_BITS: u32 = 256;

/// So much of a signal counts no more: what is below is as good as nothing.
const COUNT_MAX: f32 = 1e9;

/// The counts of one suspect.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Meter {
    /// As they were at `at_ms`, by [`Signal::index`].
    counts: [f32; Signal::COUNT],
    at_ms: i64,
    seen: Seen,
}

impl Meter {
    /// Lets the counts halve up to now. A clock that was set back changes nothing.
    pub(super) fn decay(&mut self, now_ms: i64, half_life_s: f64) {
        let elapsed_ms = now_ms.saturating_sub(self.at_ms);
        if elapsed_ms > 0 {
            #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "it is a measure")]
            let left = (-(elapsed_ms as f64) / (half_life_s * 1_000.0)).exp2() as f32;
            self.counts.iter_mut().for_each(|count| *count *= left);
            self.at_ms = now_ms;
        }
    }

    /// Counts one, in a meter that is decayed up to now.
    pub(super) fn add(&mut self, signal: Signal) {
        self.count(signal, 1.0);
    }

    /// Counts one of something of which only different ones count. Whether this is one.
    pub(super) fn add_different(&mut self, signal: Signal, hash: u64, half_life_s: f64) -> bool {
        let new = self.seen.insert(hash, self.at_ms, half_life_s);
        self.count(signal, new);
        new > 0.0
    }

    fn count(&mut self, signal: Signal, more: f32) {
        let count = &mut self.counts[signal.index()];
        *count = (*count + more).min(COUNT_MAX);
    }

    /// How much is counted, of whatever.
    pub(super) fn total(&self) -> f32 {
        self.counts.iter().sum()
    }

    /// What each signal counts, and what that adds to the score.
    pub(super) fn causes(&self, who: Who, policy: &Suspicion) -> impl Iterator<Item = (Signal, f64, f64)> {
        let count = |signal: Signal| f64::from(self.counts[signal.index()]);
        let weigh = move |signal: Signal| (signal, count(signal), signal.weight(who, policy).points(count(signal)));
        let counts = self.counts;
        who.signals().into_iter().map(weigh).filter(move |(signal, ..)| counts[signal.index()] > 0.0)
    }

    /// The sum of what the signals add to the score.
    pub(super) fn score(&self, who: Who, policy: &Suspicion) -> f64 {
        self.causes(who, policy).map(|(_, _, points)| points).sum()
    }
}

/// What was seen lately, as a bitmap of hashes that is emptied after each half-life. A bit that turns stands for as many
/// different things as are needed, on average, to turn one: the fuller it is, the more.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Seen {
    bits: [u64; SEEN_BITS as usize / 64],
    since_ms: i64,
}

impl Seen {
    /// How many new things this one stands for; 0 when it was seen.
    fn insert(&mut self, hash: u64, now_ms: i64, half_life_s: f64) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "it is a measure")]
        let elapsed_s = now_ms.saturating_sub(self.since_ms) as f64 / 1_000.0;
        if elapsed_s >= half_life_s {
            *self = Self { since_ms: now_ms, ..Self::default() };
        }
        let bit = hash % u64::from(SEEN_BITS);
        let word = &mut self.bits[usize::try_from(bit / 64).expect("an index of a slice fits in usize")];
        let mask = 1 << (bit % 64);
        if *word & mask != 0 {
            return 0.0;
        }
        *word |= mask;
        let set: u32 = self.bits.iter().map(|word| word.count_ones()).sum();
        #[expect(clippy::cast_precision_loss, reason = "both are small")]
        let each = SEEN_BITS as f32 / (SEEN_BITS + 1 - set) as f32;
        each
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher as _, RandomState};

    use proptest::prelude::*;

    use super::*;

    const HALF_LIFE_S: f64 = 60.0;

    proptest! {
        /// However things come, a count is what each of them has decayed to, and never more than there were.
        #[test]
        fn counts_are_the_sum_of_what_is_left_of_each(pauses_ms in prop::collection::vec(0_i64..200_000, 1..60)) {
            let (mut meter, mut now_ms, mut times) = (Meter::default(), 1_000_000, Vec::new());
            for pause_ms in pauses_ms {
                now_ms += pause_ms;
                times.push(now_ms);
                meter.decay(now_ms, HALF_LIFE_S);
                meter.add(Signal::Throttled);
            }
            let left = |at: &i64| (-((now_ms - at) as f64) / 60_000.0).exp2();
            let expected: f64 = times.iter().map(left).sum();
            let (_, count, _) = meter.causes(Who::Patient, &Suspicion::default()).next().expect("it counted");
            prop_assert!((count - expected).abs() < 0.001 * expected.max(1.0), "{count} for {expected}");
            prop_assert!(count <= times.len() as f64 + 0.001);
            meter.decay(now_ms + 30 * 60_000, HALF_LIFE_S);
            prop_assert!(meter.total() < 1e-6, "half an hour later nothing is left");
        }

        /// The score is never negative, grows with every signal and falls while nothing happens.
        #[test]
        fn scores_only_fall_with_time(signals in prop::collection::vec((0_usize..Signal::COUNT, 0_i64..5_000), 1..200)) {
            let (policy, mut now_ms) = (Suspicion::default(), 0);
            for who in [Who::Patient, Who::Address] {
                let mut meter = Meter::default();
                for (index, pause_ms) in &signals {
                    now_ms += pause_ms;
                    meter.decay(now_ms, policy.half_life_s);
                    let before = meter.score(who, &policy);
                    meter.add(who.signals()[*index]);
                    prop_assert!(meter.score(who, &policy) >= before && before >= 0.0);
                }
                let before = meter.score(who, &policy);
                meter.decay(now_ms + 1_000, policy.half_life_s);
                prop_assert!(meter.score(who, &policy) <= before);
            }
        }

        #[test]
        fn different_ones_are_estimated(count in 1_u32..1_000) {
            let (hasher, mut meter) = (RandomState::new(), Meter::default());
            for turn in 0..2 {
                for number in 0..count {
                    meter.add_different(Signal::Spread, hasher.hash_one(number), HALF_LIFE_S);
                }
                let (of, least, most) = (f64::from(count), f64::from(count) * 0.5, f64::from(count) * 1.6);
                let total = f64::from(meter.total());
                prop_assert!((least..=most.max(of + 3.0)).contains(&total), "{total} for {count}, turn {turn}");
            }
        }
    }

    #[test]
    fn a_clock_that_is_set_back_changes_nothing() {
        let mut meter = Meter::default();
        meter.decay(10_000, HALF_LIFE_S);
        meter.add(Signal::Refused);
        let before = meter;
        meter.decay(5_000, HALF_LIFE_S);
        assert_eq!(meter, before);
    }
}
