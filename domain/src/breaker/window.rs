//! Calls of the last seconds, summed up in slices of time.

use std::time::Duration;

use crate::clock::Timestamp;

const SLICES: usize = 10;
const SLICES_I64: i64 = 10;

#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    /// Which slice of all time it holds.
    index: i64,
    sum: Sum,
}

/// Calls that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub calls: u64,
    pub failed: u64,
    /// How long they took together, in microseconds.
    pub took_us: u64,
}

/// The calls of a sliding window; what leaves it does so a tenth of it at a time.
#[derive(Debug)]
pub(super) struct Window {
    slice_us: i64,
    slices: [Slice; SLICES],
}

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        let slice = i64::try_from(length.as_micros() / SLICES as u128).unwrap_or(i64::MAX);
        Self { slice_us: slice.max(1), slices: [Slice { index: i64::MIN, sum: Sum::default() }; SLICES] }
    }

    pub(super) fn clear(&mut self) {
        self.slices = [Slice { index: i64::MIN, sum: Sum::default() }; SLICES];
    }

    pub(super) fn add(&mut self, now: Timestamp, took: Duration, failed: bool) {
        let index = now.as_micros().div_euclid(self.slice_us);
        let slot = usize::try_from(index.rem_euclid(SLICES_I64)).unwrap_or(0);
        let slice = &mut self.slices[slot];
        if slice.index != index {
            *slice = Slice { index, sum: Sum::default() };
        }
        slice.sum.calls += 1;
        slice.sum.failed += u64::from(failed);
        slice.sum.took_us = slice.sum.took_us.saturating_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn sum(&self, now: Timestamp) -> Sum {
        let newest = now.as_micros().div_euclid(self.slice_us);
        let within = |slice: &&Slice| slice.index <= newest && slice.index > newest.saturating_sub(SLICES_I64);
        self.slices.iter().filter(within).fold(Sum::default(), |sum, Slice { sum: part, .. }| Sum {
            calls: sum.calls + part.calls,
            failed: sum.failed + part.failed,
            took_us: sum.took_us.saturating_add(part.took_us),
        })
    }
}
