//! One partition's line, as this node knows it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use orderly_domain::{Offset, Timestamp};

use super::drain::Batch;

/// Over which busy time the rate is averaged: older measurements weigh e times less for each of it.
const RATE_WINDOW: Duration = Duration::from_secs(2);

/// The furthest ahead that somebody is told to come back.
const RETRY_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Lane {
    /// The offset after the last that this node appended.
    end: AtomicU64,
    /// Appends of this node that are under way.
    under_way: AtomicU64,
    /// Decisions a second while there was something to decide: bits of an `f64`; 0 before it was measured.
    rate_per_s: AtomicU64,
    /// When something was decided last, or the line began, in microseconds.
    moved_us: AtomicI64,
    /// The moment up to which those who were refused are told to come back, in microseconds.
    promised_us: AtomicI64,
}

impl Lane {
    /// Records that wait for a decision, and those that are being appended.
    pub(super) fn undecided(&self, next_offset: Offset) -> u64 {
        let appended = self.end.load(Ordering::Acquire).saturating_sub(next_offset);
        appended + self.under_way.load(Ordering::Acquire)
    }

    pub(super) fn begin(&self, undecided: u64, now: Timestamp) {
        if undecided == 0 {
            // A line that was empty has not stood still.
            self.moved_us.fetch_max(now.as_micros(), Ordering::AcqRel);
        }
        self.under_way.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn appended(&self, offset: Offset) {
        self.end.fetch_max(offset.saturating_add(1), Ordering::AcqRel);
    }

    pub(super) fn end(&self) {
        self.under_way.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn moved_at(&self) -> Timestamp {
        Timestamp::from_micros(self.moved_us.load(Ordering::Acquire))
    }

    /// How long a record with so many ahead waits, at the measured rate.
    #[allow(clippy::cast_precision_loss, reason = "an estimate")]
    pub(super) fn expected_wait(&self, ahead: u64) -> Option<Duration> {
        let rate = f64::from_bits(self.rate_per_s.load(Ordering::Relaxed));
        if rate > 0.0 { Duration::try_from_secs_f64((ahead + 1) as f64 / rate).ok() } else { None }
    }

    /// Notes that records of this line were decided. One task does so.
    pub(super) fn decided(&self, batch: Batch, now: Timestamp) {
        self.moved_us.fetch_max(now.as_micros(), Ordering::AcqRel);
        let Some((sample, busy)) = batch.rate_per_s() else { return };
        let before = f64::from_bits(self.rate_per_s.load(Ordering::Relaxed));
        // When nothing is left, there may have been time for more: such a batch only says how fast it is at least.
        let left = self.end.load(Ordering::Acquire) > batch.next_offset;
        let rate = if before <= 0.0 {
            sample
        } else if !left && sample <= before {
            return;
        } else {
            let weight = 1.0 - (-busy.as_secs_f64() / RATE_WINDOW.as_secs_f64()).exp();
            before + weight * (sample - before)
        };
        self.rate_per_s.store(rate.to_bits(), Ordering::Relaxed);
    }

    /// When one who is refused may come back and find room: after the line is within the bound again, and after those who
    /// were refused before. So they return at the rate at which they can be served.
    pub(super) fn promise(&self, now: Timestamp, expected: Duration, wait_max: Duration) -> Duration {
        let rate = f64::from_bits(self.rate_per_s.load(Ordering::Relaxed));
        let turn = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(RETRY_MAX);
        let room_at = now.plus(expected.saturating_sub(wait_max)).as_micros();
        let latest = now.plus(RETRY_MAX).as_micros();
        let turn_us = i64::try_from(turn.as_micros()).unwrap_or(i64::MAX);
        let next = |promised: i64| Some(promised.max(room_at).saturating_add(turn_us).min(latest));
        let before = self.promised_us.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).unwrap_or(room_at);
        Timestamp::from_micros(next(before).unwrap_or(latest)).since(now)
    }
}
