//! How far the pipeline is, as this node has heard: where positions and waiting times come from.

use std::sync::atomic::Ordering;
use std::time::Duration;

use orderly_domain::port::store::Committed;
use orderly_domain::{Offset, Partition, Position, Timestamp};

use crate::sync::AtomicU64;

/// Over which time a rate is averaged: older measurements weigh e times less for each of it.
const RATE_WINDOW: Duration = Duration::from_secs(2);

/// Busy time below this is gathered before a rate is computed from it.
const BUSY_MIN: Duration = Duration::from_millis(1);

/// A place in line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct InLine {
    /// Records ahead in the partition that are not decided.
    pub(crate) position: u64,
    /// When it will be decided, in milliseconds from now; `None` before a rate was measured.
    pub(crate) eta_ms: Option<u64>,
    /// Decisions a second of its partition, as measured while it was busy.
    pub(crate) rate_per_s: Option<f64>,
}

#[derive(Debug, Default)]
struct Lane {
    next_offset: AtomicU64,
    /// Bits of an `f64`; 0 before a rate was measured.
    rate_per_s: AtomicU64,
}

/// The partitions' progress. One task writes it, everybody reads it.
#[derive(Debug)]
pub(crate) struct Progress {
    lanes: Box<[Lane]>,
}

impl Progress {
    pub(crate) fn new(partitions: u16) -> Self {
        Self { lanes: (0..partitions).map(|_| Lane::default()).collect() }
    }

    /// The first offset that is not known to be decided.
    pub(crate) fn next_offset(&self, partition: Partition) -> Offset {
        self.lanes.get(usize::from(partition)).map_or(0, |lane| lane.next_offset.load(Ordering::Acquire))
    }

    pub(crate) fn is_decided(&self, position: Position) -> bool {
        position.offset < self.next_offset(position.partition)
    }

    /// Notes that everything below `next_offset` is decided. Never goes back.
    pub(crate) fn advance(&self, partition: Partition, next_offset: Offset) {
        if let Some(lane) = self.lanes.get(usize::from(partition)) {
            lane.next_offset.fetch_max(next_offset, Ordering::AcqRel);
        }
    }

    /// Decisions a second of a partition while it was busy.
    pub(crate) fn rate_per_s(&self, partition: Partition) -> Option<f64> {
        let lane = self.lanes.get(usize::from(partition))?;
        let rate = f64::from_bits(lane.rate_per_s.load(Ordering::Relaxed));
        (rate > 0.0).then_some(rate)
    }

    fn set_rate(&self, partition: Partition, rate: f64) {
        if let Some(lane) = self.lanes.get(usize::from(partition)) {
            lane.rate_per_s.store(rate.to_bits(), Ordering::Relaxed);
        }
    }

    /// Where a record stands in line.
    pub(crate) fn in_line(&self, position: Position) -> InLine {
        let ahead = position.offset.saturating_sub(self.next_offset(position.partition));
        let rate_per_s = self.rate_per_s(position.partition);
        InLine { position: ahead, eta_ms: rate_per_s.map(|rate| eta_ms(ahead, rate)), rate_per_s }
    }
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate; the value is not negative, and a cast from float saturates"
)]
fn eta_ms(ahead: u64, rate_per_s: f64) -> u64 {
    // The record itself has to be decided too.
    ((ahead + 1) as f64 * 1_000.0 / rate_per_s).ceil() as u64
}

#[derive(Clone, Debug, Default)]
struct Measured {
    last_decided_at: Option<Timestamp>,
    busy: Duration,
    decided: u32,
}

/// Measures the rate at which partitions are decided, from the times in the decisions themselves. Time in which there was
/// nothing to decide does not count: what matters to those in line is how fast the line moves.
#[derive(Debug)]
pub(crate) struct Meter {
    lanes: Vec<Measured>,
}

impl Meter {
    pub(crate) fn new(partitions: u16) -> Self {
        Self { lanes: vec![Measured::default(); usize::from(partitions)] }
    }

    /// Notes decisions that were committed together.
    pub(crate) fn note(&mut self, committed: &[Committed], progress: &Progress) {
        // Per partition of this commit: how many, when the first was logged, when they were decided.
        let mut batches: Vec<(Partition, u32, Timestamp, Timestamp)> = Vec::new();
        for decision in committed {
            let partition = decision.position.partition;
            if progress.is_decided(decision.position) {
                continue;
            }
            match batches.iter_mut().find(|batch| batch.0 == partition) {
                Some(batch) => {
                    batch.1 = batch.1.saturating_add(1);
                    batch.2 = batch.2.min(decision.logged_at);
                    batch.3 = batch.3.max(decision.decided_at);
                }
                None => batches.push((partition, 1, decision.logged_at, decision.decided_at)),
            }
        }
        for (partition, decided, logged_at, decided_at) in batches {
            self.measure(partition, decided, logged_at, decided_at, progress);
        }
    }

    fn measure(
        &mut self,
        partition: Partition,
        decided: u32,
        first_logged_at: Timestamp,
        decided_at: Timestamp,
        progress: &Progress,
    ) {
        let Some(lane) = self.lanes.get_mut(usize::from(partition)) else { return };
        let busy_since = lane.last_decided_at.map_or(first_logged_at, |last| last.max(first_logged_at));
        lane.last_decided_at = Some(lane.last_decided_at.map_or(decided_at, |last| last.max(decided_at)));
        lane.busy += decided_at.since(busy_since);
        lane.decided = lane.decided.saturating_add(decided);
        if lane.busy < BUSY_MIN {
            return;
        }
        let busy_s = lane.busy.as_secs_f64();
        let sample = f64::from(lane.decided) / busy_s;
        let rate = match progress.rate_per_s(partition) {
            None => sample,
            Some(before) => {
                let weight = 1.0 - (-busy_s / RATE_WINDOW.as_secs_f64()).exp();
                before + weight * (sample - before)
            }
        };
        progress.set_rate(partition, rate);
        lane.busy = Duration::ZERO;
        lane.decided = 0;
    }
}

#[cfg(test)]
mod tests {
    use orderly_domain::command::Kind;
    use orderly_domain::decision::{Outcome, Reason};

    use super::*;

    fn committed(offset: Offset, logged_ms: i64, decided_ms: i64) -> Committed {
        Committed {
            position: Position { partition: 0, offset },
            logged_at: Timestamp::from_millis(logged_ms),
            decided_at: Timestamp::from_millis(decided_ms),
            kind: Kind::Book,
            ticket: None,
            session_id: None,
            outcome: Outcome::Rejected(Reason::SoldOut),
            first: None,
            corrected: false,
            session: None,
            released: vec![],
        }
    }

    fn hear(meter: &mut Meter, progress: &Progress, batch: &[Committed]) {
        meter.note(batch, progress);
        for decision in batch {
            progress.advance(decision.position.partition, decision.position.offset + 1);
        }
    }

    #[test]
    fn position_counts_the_records_ahead() {
        let progress = Progress::new(2);
        progress.advance(1, 10);
        progress.advance(1, 7);
        let line = progress.in_line(Position { partition: 1, offset: 14 });
        assert_eq!(line, InLine { position: 4, eta_ms: None, rate_per_s: None });
        assert!(progress.is_decided(Position { partition: 1, offset: 9 }));
        assert!(!progress.is_decided(Position { partition: 1, offset: 10 }));
        assert!(!progress.is_decided(Position { partition: 9, offset: 0 }));
    }

    #[test]
    fn rate_leaves_idle_time_out() {
        let (progress, mut meter) = (Progress::new(1), Meter::new(1));
        // 10 records in 100 ms, an idle hour, then 10 records in 100 ms again.
        let batch: Vec<_> = (0..10).map(|offset| committed(offset, 0, 100)).collect();
        hear(&mut meter, &progress, &batch);
        let hour = 3_600_000;
        let batch: Vec<_> = (10..20).map(|offset| committed(offset, hour, hour + 100)).collect();
        hear(&mut meter, &progress, &batch);
        let rate = progress.rate_per_s(0).expect("measured");
        assert!((rate - 100.0).abs() < 1e-6, "{rate}");
        assert_eq!(progress.in_line(Position { partition: 0, offset: 29 }).eta_ms, Some(100));
    }

    #[test]
    fn decisions_heard_twice_count_once() {
        let (progress, mut meter) = (Progress::new(1), Meter::new(1));
        let batch: Vec<_> = (0..10).map(|offset| committed(offset, 0, 100)).collect();
        hear(&mut meter, &progress, &batch);
        hear(&mut meter, &progress, &batch);
        assert!((progress.rate_per_s(0).expect("measured") - 100.0).abs() < 1e-6);
    }

    #[test]
    fn rate_follows_a_change() {
        let (progress, mut meter) = (Progress::new(1), Meter::new(1));
        hear(&mut meter, &progress, &[committed(0, 0, 10)]);
        let mut at = 10;
        for offset in 1..2_000 {
            at += 20;
            hear(&mut meter, &progress, &[committed(offset, 0, at)]);
        }
        assert!((progress.rate_per_s(0).expect("measured") - 50.0).abs() < 1.0);
    }
}
