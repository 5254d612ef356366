//! Answers that were taken, so that none is taken twice.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use orderly_domain::Timestamp;
use prometheus::IntGauge;

use super::Refused;

/// Answers of one generation. There are two, so that twice as many are remembered at most.
const GENERATION_MAX: usize = 32_768;

/// How long a generation gathers at most: longer than any challenge can be answered.
const GENERATION_TIME: Duration = Duration::from_secs(600);

/// Answers that were taken lately, in two generations. When the younger one is full, or old, the older one is forgotten, and
/// with it go all challenges that might have been answered in it: they are stale from then on.
#[derive(Debug)]
pub(super) struct Used {
    state: Mutex<Generations>,
    generation_max: usize,
    gauge: IntGauge,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashSet<u64>,
    young_since: Timestamp,
    old: HashSet<u64>,
    /// Challenges that were made before this may have been answered in a generation that is forgotten.
    oldest: Timestamp,
}

impl Used {
    pub(super) fn new(gauge: IntGauge) -> Self {
        Self { state: Mutex::default(), generation_max: GENERATION_MAX, gauge }
    }

    /// Takes the answer to the challenge of that number, which was made at that time.
    pub(super) fn take(&self, number: u64, made_at: Timestamp, now: Timestamp) -> Result<(), Refused> {
        // The sets are whole between any two statements, so a panic elsewhere does not spoil them.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.young.len() >= self.generation_max || now.since(state.young_since) >= GENERATION_TIME {
            state.oldest = state.young_since;
            state.old = std::mem::take(&mut state.young);
            state.young_since = now;
        }
        if made_at < state.oldest {
            return Err(Refused::Stale);
        }
        if state.old.contains(&number) || !state.young.insert(number) {
            return Err(Refused::Used);
        }
        self.gauge.set(i64::try_from(state.young.len() + state.old.len()).unwrap_or(i64::MAX));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn used(generation_max: usize) -> Used {
        Used { generation_max, ..Used::new(IntGauge::new("a", "a").expect("named")) }
    }

    proptest! {
        /// Whatever comes when, no answer is taken twice, and there are never more than twice a generation.
        #[test]
        fn no_answer_is_taken_twice(
            generation_max in 1_usize..20, answers in prop::collection::vec((0_u64..40, 0_u64..400), 1..200),
        ) {
            let (used, mut now, mut made) = (used(generation_max), Timestamp::from_millis(1_000_000), HashMap::new());
            let mut taken = HashSet::new();
            for (number, pause_s) in answers {
                now = now.plus(Duration::from_secs(pause_s));
                let made_at = *made.entry(number).or_insert(now);
                // What is checked before.
                if now.since(made_at) >= GENERATION_TIME {
                    continue;
                }
                match used.take(number, made_at, now) {
                    Ok(()) => prop_assert!(taken.insert(number), "{number} is taken twice"),
                    Err(Refused::Used) => prop_assert!(taken.contains(&number)),
                    Err(other) => prop_assert_eq!(other, Refused::Stale),
                }
                prop_assert!(used.gauge.get() <= 2 * i64::try_from(generation_max).expect("small"));
            }
        }
    }

    #[test]
    fn fresh_ones_are_taken_however_many_there_were() {
        let (used, now) = (used(4), Timestamp::from_millis(1_000_000));
        for number in 0..100 {
            let now = now.plus(Duration::from_secs(number));
            assert_eq!(used.take(number, now, now), Ok(()));
            assert_eq!(used.take(number, now, now), Err(Refused::Used));
        }
        assert_eq!(used.take(1, now, now), Err(Refused::Stale));
    }
}
