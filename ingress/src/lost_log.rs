//! Whether the log is still the one whose records this node has heard decided.
//!
//! A log that was lost and made anew gives the offsets of decided records out a second time. What is taken there is never
//! decided, so this node takes nothing more: neither once a record came to lie where another one was decided, nor once the
//! log was seen twice to end before what is decided.

use std::sync::OnceLock;
use std::time::Duration;

use orderly_domain::port::log::Extent;
use orderly_domain::{Offset, Partition, Position};

use crate::progress::Progress;
use crate::state::Shared;

/// How often it is looked where the log ends, for when nothing is appended.
const LOOK: Duration = Duration::from_secs(5);

/// Raised for good: a log that was replaced grows past every sign of it.
#[derive(Debug, Default)]
pub(crate) struct Alarm(OnceLock<String>);

impl Alarm {
    /// Why nothing may be appended any more, if so.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Judges by the place that a record was given, when everything before `decided` was decided before it was sent. Tells
    /// whether it can be decided there.
    pub(crate) fn judge_place(&self, position: Position, decided: Offset) -> bool {
        let fits = position.offset >= decided;
        if !fits {
            self.raise(&format!("a record came to lie at {position}, and what lay before {decided} is decided"));
        }
        fits
    }

    fn raise(&self, sign: &str) {
        let cause = format!(
            "the log was lost or replaced ({sign}): nothing is appended any more; bring the log back, or begin anew with an \
             empty log, store and ledger, and start all processes again"
        );
        if self.0.set(cause.clone()).is_ok() {
            tracing::error!(cause, "this node takes no more requests");
        }
    }
}

/// What this node has heard decided; to be asked before the log is.
pub(crate) fn decided(progress: &Progress, partitions: u16) -> Vec<(Partition, Offset)> {
    (0..partitions).map(|partition| (partition, progress.next_offset(partition))).collect()
}

/// How the log ends too early, if it does, when this was decided before it was asked.
pub(crate) fn early_end(decided: &[(Partition, Offset)], extents: &[Extent]) -> Option<String> {
    decided.iter().find_map(|(partition, decided)| {
        let end = extents.iter().find(|extent| extent.partition == *partition).map_or(0, |extent| extent.end);
        (end < *decided).then(|| {
            format!("partition {partition} ends before offset {end}, and what lay before {decided} is decided")
        })
    })
}

/// Looks at the log's ends from time to time.
pub(crate) async fn watch(state: Shared) {
    // One look alone may have asked a leader that was replaced.
    let mut doubted = false;
    let mut interval = tokio::time::interval(LOOK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while state.lost_log.cause().is_none() {
        interval.tick().await;
        let decided = decided(&state.progress, state.ports.log.partitions());
        match state.ports.log.extents().await {
            Ok(extents) => {
                let sign = early_end(&decided, &extents);
                if let Some(sign) = sign.as_ref().filter(|_| doubted) {
                    state.lost_log.raise(sign);
                }
                doubted = sign.is_some();
            }
            Err(error) => tracing::debug!(%error, "the log does not tell where it ends"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extents(ends: [Offset; 2]) -> Vec<Extent> {
        (0..).zip(ends).map(|(partition, end)| Extent { partition, start: 0, end }).collect()
    }

    #[test]
    fn an_end_before_what_is_decided_is_seen() {
        assert_eq!(early_end(&[(0, 7), (1, 0)], &extents([7, 0])), None, "all of it is decided");
        let sign = early_end(&[(0, 7), (1, 3)], &extents([9, 2])).expect("it ends too early");
        assert_eq!(sign, "partition 1 ends before offset 2, and what lay before 3 is decided");
        assert!(early_end(&[(2, 1)], &extents([9, 9])).is_some(), "a partition that is not there ends nowhere");
    }

    #[test]
    fn a_record_where_another_was_decided_is_an_alarm() {
        let alarm = Alarm::default();
        let at = |offset| Position { partition: 0, offset };
        assert!(alarm.judge_place(at(5), 5) && alarm.cause().is_none());
        assert!(!alarm.judge_place(at(4), 5));
        assert!(alarm.cause().is_some_and(|cause| cause.contains("0/4") && cause.contains("before 5")));
    }
}
