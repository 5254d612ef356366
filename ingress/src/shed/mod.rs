//! Shedding: admission follows the pipeline. Who would wait longer than the bound is refused before the append, and told
//! when to come back. See ADR 0011.
//!
//! What is undecided is bounded twice. By time, in each partition: its *limit* is what it decides within the longest wait
//! that the policy allows, as measured. And by number, in all of them together, which holds also while nothing is decided.

mod drain;
mod lane;

use std::time::Duration;

use orderly_domain::port::store::Committed;
use orderly_domain::{Partition, Position, Timestamp};
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::jitter;
use crate::metrics::{SHED_TOTAL, UNDECIDED};
use crate::problem::{Problem, kind};
use crate::progress::Progress;

pub(crate) use drain::Drain;
use lane::Lane;

/// How long a line may stand still until it is told that outcomes are late: the last measured rate says nothing any more.
const STANDSTILL: Duration = Duration::from_secs(5);

/// When to come back while it is not known when there will be room.
const RETRY_UNKNOWN: Duration = Duration::from_secs(5);

/// How long people may wait, and how much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The longest expected wait with which a booking is still taken.
    pub wait_max: Duration,
    /// The most records of this node that may be undecided, over all partitions.
    pub undecided_max: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { wait_max: Duration::from_secs(60), undecided_max: 500_000 }
    }
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It would have to wait for longer than the bound.
    Wait { expected: Duration, retry_after: Duration },
    /// As many as may be undecided are.
    Undecided { retry_after: Duration },
}

/// What is known of the lines on this node, and what is refused by it. Reads and writes a handful of atomics a request.
#[derive(Debug)]
pub(crate) struct Shed {
    lanes: Box<[Lane]>,
    undecided: IntGauge,
    shed_wait: IntCounter,
    shed_undecided: IntCounter,
}

impl Shed {
    pub(crate) fn register(partitions: u16, registry: &Registry) -> Result<Self, prometheus::Error> {
        let undecided = IntGauge::new(UNDECIDED, "Records that this node appended or appends and that are undecided.")?;
        registry.register(Box::new(undecided.clone()))?;
        let help = "Requests refused because of the line before them, by bound.";
        let shed = IntCounterVec::new(Opts::new(SHED_TOTAL, help), &["bound"])?;
        registry.register(Box::new(shed.clone()))?;
        Ok(Self {
            lanes: (0..partitions).map(|_| Lane::default()).collect(),
            undecided,
            shed_wait: shed.with_label_values(&["wait"]),
            shed_undecided: shed.with_label_values(&["undecided"]),
        })
    }

    /// Records of this node, or before one of this node's, that are undecided, over all partitions.
    pub(crate) fn undecided(&self, progress: &Progress) -> u64 {
        (0_u16..).zip(&self.lanes).map(|(partition, lane)| lane.undecided(progress.next_offset(partition))).sum()
    }

    /// Sets the gauge, for a scrape.
    pub(crate) fn measure(&self, progress: &Progress) {
        self.undecided.set(i64::try_from(self.undecided(progress)).unwrap_or(i64::MAX));
    }

    /// When a record that is appended now would be decided; `None` while it is not known.
    pub(crate) fn expected_wait(&self, partition: Partition, progress: &Progress) -> Option<Duration> {
        let lane = self.lanes.get(usize::from(partition))?;
        lane.expected_wait(lane.undecided(progress.next_offset(partition)))
    }

    /// Whether a line that should move does not.
    pub(crate) fn stands_still(&self, partition: Partition, progress: &Progress, now: Timestamp) -> bool {
        self.lanes.get(usize::from(partition)).is_some_and(|lane| {
            lane.undecided(progress.next_offset(partition)) > 0 && now.since(lane.moved_at()) > STANDSTILL
        })
    }

    /// Lets a record in that is going to be appended, or says why not. With `late` its wait is not known, and only the number
    /// of undecided records bounds it.
    pub(crate) fn admit(
        &self,
        partition: Partition,
        progress: &Progress,
        bounds: &Bounds,
        late: bool,
        now: Timestamp,
    ) -> Result<Admitted<'_>, Refused> {
        let Some(lane) = self.lanes.get(usize::from(partition)) else { return Ok(Admitted(None)) };
        // First counted, then compared: two at the same moment cannot both take the last place.
        let admitted = Admitted::into(lane, lane.undecided(progress.next_offset(partition)), now);
        if self.undecided(progress) > bounds.undecided_max {
            self.shed_undecided.inc();
            return Err(Refused::Undecided { retry_after: jitter::later(RETRY_UNKNOWN) });
        }
        let ahead = lane.undecided(progress.next_offset(partition)).saturating_sub(1);
        // Who comes first is always let in: its decision is what the next measurement is made of.
        if !late
            && ahead > 0
            && let Some(expected) = lane.expected_wait(ahead)
            && expected > bounds.wait_max
        {
            self.shed_wait.inc();
            let retry_after = jitter::later(lane.promise(now, expected, bounds.wait_max));
            return Err(Refused::Wait { expected, retry_after });
        }
        Ok(admitted)
    }

    /// Lets a record in that the bounds do not hold for, and counts it.
    pub(crate) fn count(&self, partition: Partition, progress: &Progress, now: Timestamp) -> Admitted<'_> {
        let lane = self.lanes.get(usize::from(partition));
        lane.map_or(Admitted(None), |lane| Admitted::into(lane, lane.undecided(progress.next_offset(partition)), now))
    }

    /// Notes decisions that were just heard; before `progress` does.
    pub(crate) fn note(&self, drain: &mut Drain, committed: &[Committed], progress: &Progress, now: Timestamp) {
        drain.note(committed, progress, |partition, batch| {
            if let Some(lane) = self.lanes.get(usize::from(partition)) {
                lane.decided(batch, now);
            }
        });
    }
}

/// A record that is being appended.
#[derive(Debug)]
pub(crate) struct Admitted<'a>(Option<&'a Lane>);

impl<'a> Admitted<'a> {
    fn into(lane: &'a Lane, undecided: u64, now: Timestamp) -> Self {
        lane.begin(undecided, now);
        Self(Some(lane))
    }

    /// It lies there.
    pub(crate) fn appended(self, position: Position) {
        if let Some(lane) = self.0 {
            lane.appended(position.offset);
        }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if let Some(lane) = self.0 {
            lane.end();
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Wait { expected, retry_after } => Self::new(&kind::OVERLOADED)
                .detail("The line is too long: you would wait in vain. This request was not taken. Ask again with the same Idempotency-Key.")
                .member("limit", "wait")
                .member("expected_wait_ms", u64::try_from(expected.as_millis()).unwrap_or(u64::MAX))
                .retry_after(retry_after),
            Refused::Undecided { retry_after } => Self::new(&kind::OVERLOADED)
                .detail("As many requests wait for a decision as may. This request was not taken. Ask again with the same Idempotency-Key.")
                .member("limit", "undecided")
                .retry_after(retry_after),
        }
    }
}

#[cfg(test)]
mod tests;
