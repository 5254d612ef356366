//! Measures how fast lines are decided, from the times in the decisions.

use std::time::Duration;

use orderly_domain::port::store::Committed;
use orderly_domain::{Offset, Partition, Timestamp};

use crate::progress::Progress;

/// Busy time below this is gathered before a rate is computed from it.
const BUSY_MIN: Duration = Duration::from_millis(1);

#[derive(Clone, Debug, Default)]
struct Measured {
    last_decided_at: Option<Timestamp>,
    busy: Duration,
    decided: u32,
}

/// Records of one partition that were decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    /// The first offset after them.
    pub(super) next_offset: Offset,
    decided: u32,
    busy: Duration,
}

impl Batch {
    /// Decisions a second, and the time that this is measured over.
    pub(super) fn rate_per_s(self) -> Option<(f64, Duration)> {
        (self.busy >= BUSY_MIN).then(|| (f64::from(self.decided) / self.busy.as_secs_f64(), self.busy))
    }
}

/// The one who hears decisions keeps this.
#[derive(Debug)]
pub(crate) struct Drain {
    lanes: Vec<Measured>,
}

impl Drain {
    pub(crate) fn new(partitions: u16) -> Self {
        Self { lanes: vec![Measured::default(); usize::from(partitions)] }
    }

    /// Some decisions were not heard: what follows is measured from `now` on.
    pub(crate) fn gap(&mut self, now: Timestamp) {
        self.lanes.fill(Measured { last_decided_at: Some(now), ..Measured::default() });
    }

    /// Tells `of_partition` what is new in decisions that were committed together.
    pub(super) fn note(
        &mut self,
        committed: &[Committed],
        progress: &Progress,
        mut of_partition: impl FnMut(Partition, Batch),
    ) {
        // Per partition of this commit: how many, the first offset after them, when the first was logged, when decided.
        let mut batches: Vec<(Partition, u32, Offset, Timestamp, Timestamp)> = Vec::new();
        for decision in committed {
            let (partition, next) = (decision.position.partition, decision.position.offset + 1);
            if progress.is_decided(decision.position) {
                continue;
            }
            match batches.iter_mut().find(|batch| batch.0 == partition) {
                Some(batch) => {
                    batch.1 = batch.1.saturating_add(1);
                    batch.2 = batch.2.max(next);
                    batch.3 = batch.3.min(decision.logged_at);
                    batch.4 = batch.4.max(decision.decided_at);
                }
                None => batches.push((partition, 1, next, decision.logged_at, decision.decided_at)),
            }
        }
        for (partition, decided, next_offset, logged_at, decided_at) in batches {
            let Some(lane) = self.lanes.get_mut(usize::from(partition)) else { continue };
            let busy_since = lane.last_decided_at.map_or(logged_at, |last| last.max(logged_at));
            lane.last_decided_at = Some(lane.last_decided_at.map_or(decided_at, |last| last.max(decided_at)));
            lane.busy += decided_at.since(busy_since);
            lane.decided = lane.decided.saturating_add(decided);
            let batch = Batch { next_offset, decided: lane.decided, busy: lane.busy };
            if batch.rate_per_s().is_some() {
                (lane.busy, lane.decided) = (Duration::ZERO, 0);
            }
            of_partition(partition, batch);
        }
    }
}
