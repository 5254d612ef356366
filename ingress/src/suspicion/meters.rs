//! Where the meters lie: in a fixed number of places, and so that nobody can have their own forgotten.
//!
//! A key has a bucket of places, and nobody who does not know the hash's key can choose which. When its bucket is full, the
//! meter that counts least makes room. So a crowd of strangers pushes out one another, never one who stands out; whoever
//! wants to be forgotten would have to fill their own bucket with others who count more.

use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::{IntCounter, IntGauge};

use super::meter::Meter;

/// Places of a bucket.
const WAYS: usize = 8;

/// A meter that counts less than this is as good as a new one.
const NEGLIGIBLE: f32 = 0.01;

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    key: u64,
    taken: bool,
    /// When its meter was changed last.
    seen_ms: i64,
    meter: Meter,
}

/// Meters by key.
pub(super) struct Meters {
    buckets: Box<[Mutex<[Place; WAYS]>]>,
    keys: IntGauge,
    evicted: IntCounter,
}

impl Meters {
    /// With places for that many keys, rounded up to whole buckets.
    pub(super) fn new(keys_max: u32, keys: IntGauge, evicted: IntCounter) -> Self {
        let buckets = (keys_max as usize).div_ceil(WAYS).max(1);
        let buckets = std::iter::repeat_with(Mutex::default).take(buckets).collect();
        Self { buckets, keys, evicted }
    }

    /// How many keys there are places for.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.buckets.len() * WAYS
    }

    /// Changes the meter of a key, decayed up to now; a new one, when it has none.
    pub(super) fn with<R>(&self, key: u64, now_ms: i64, half_life_s: f64, change: impl FnOnce(&mut Meter) -> R) -> R {
        let count = self.buckets.len() as u64;
        // The lower bits tell things apart elsewhere.
        let index = usize::try_from((key >> 16) % count).expect("an index of a slice fits in usize");
        let mut bucket = lock(&self.buckets[index]);
        let known = bucket.iter().position(|place| place.taken && place.key == key);
        let index = known.unwrap_or_else(|| {
            let index = self.room(&mut bucket, now_ms, half_life_s);
            bucket[index] = Place { key, taken: true, ..Place::default() };
            index
        });
        let place = &mut bucket[index];
        place.seen_ms = now_ms;
        place.meter.decay(now_ms, half_life_s);
        change(&mut place.meter)
    }

    /// A place in a bucket that has none of a key: a free one, or that of the meter which counts least.
    fn room(&self, bucket: &mut [Place; WAYS], now_ms: i64, half_life_s: f64) -> usize {
        let mut least = (0, f32::INFINITY);
        for (index, place) in bucket.iter_mut().enumerate() {
            if !place.taken {
                self.keys.inc();
                return index;
            }
            place.meter.decay(now_ms, half_life_s);
            let total = place.meter.total();
            if total < least.1 {
                least = (index, total);
            }
        }
        if least.1 >= NEGLIGIBLE {
            self.evicted.inc();
        }
        least.0
    }

    /// Calls `look` with every key, when something was counted last, and its meter, decayed up to now.
    pub(super) fn each(&self, now_ms: i64, half_life_s: f64, mut look: impl FnMut(u64, i64, &Meter)) {
        for bucket in &self.buckets {
            let copy = *lock(bucket);
            for mut place in copy.into_iter().filter(|place| place.taken) {
                place.meter.decay(now_ms, half_life_s);
                look(place.key, place.seen_ms, &place.meter);
            }
        }
    }
}

fn lock(bucket: &Mutex<[Place; WAYS]>) -> MutexGuard<'_, [Place; WAYS]> {
    // A meter is whole between any two statements, so a panic elsewhere does not spoil it.
    bucket.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Meters {
    fn drop(&mut self) {
        let taken = |bucket: &mut Mutex<[Place; WAYS]>| {
            let bucket = bucket.get_mut().unwrap_or_else(PoisonError::into_inner);
            bucket.iter().filter(|place| place.taken).count()
        };
        let taken: usize = self.buckets.iter_mut().map(taken).sum();
        self.keys.sub(i64::try_from(taken).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher as _, RandomState};

    use proptest::prelude::*;

    use super::super::signal::Signal;
    use super::*;

    const HALF_LIFE_S: f64 = 60.0;

    fn meters(keys_max: u32) -> Meters {
        Meters::new(keys_max, IntGauge::new("k", "k").expect("named"), IntCounter::new("e", "e").expect("named"))
    }

    fn total(meters: &Meters, key: u64, now_ms: i64) -> f32 {
        meters.with(key, now_ms, HALF_LIFE_S, |meter| meter.total())
    }

    proptest! {
        /// However many strangers come, there are never more meters, and one who stands out keeps theirs.
        #[test]
        fn a_crowd_pushes_out_nobody_who_stands_out(
            keys_max in 8_u32..200, strangers in 0_u64..5_000, step_ms in 0_i64..3,
        ) {
            let (meters, hasher, mut now_ms) = (meters(keys_max), RandomState::new(), 0);
            let bot = hasher.hash_one("bot");
            for _ in 0..40 {
                meters.with(bot, now_ms, HALF_LIFE_S, |meter| meter.add(Signal::Throttled));
            }
            for stranger in 0..strangers {
                now_ms += step_ms;
                meters.with(hasher.hash_one(stranger), now_ms, HALF_LIFE_S, |meter| meter.add(Signal::Spread));
            }
            let mut kept = 0;
            meters.each(now_ms, HALF_LIFE_S, |_, _, _| kept += 1);
            prop_assert!(kept <= meters.places() && meters.places() < keys_max as usize + WAYS);
            prop_assert_eq!(meters.keys.get(), i64::try_from(kept).expect("few"));
            prop_assert!(total(&meters, bot, now_ms) > 30.0);
        }
    }

    #[test]
    fn one_that_counts_nothing_any_more_makes_room_unnoticed() {
        let meters = meters(8);
        for key in 0..8 {
            meters.with(key, 0, HALF_LIFE_S, |meter| meter.add(Signal::Spread));
        }
        meters.with(8, 600_000, HALF_LIFE_S, |meter| meter.add(Signal::Spread));
        assert_eq!((meters.evicted.get(), meters.keys.get()), (0, 8));
        for key in 9..20 {
            meters.with(key, 600_000, HALF_LIFE_S, |meter| meter.add(Signal::Spread));
        }
        assert_eq!((meters.evicted.get(), meters.keys.get()), (4, 8));
    }
}
