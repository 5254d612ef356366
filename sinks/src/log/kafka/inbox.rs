//! What the group's thread and the reader share: what was read ahead, what happened to the assignment, and where to go on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use orderly_domain::port::log::{Delivery, Record};
use orderly_domain::port::{Error, Result};
use orderly_domain::{Offset, Partition};
use tokio::sync::Notify;

use super::merge::Merge;

#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    news: Notify,
    closing: AtomicBool,
}

#[derive(Default)]
struct State {
    merge: Merge,
    /// What the group has given and not taken back.
    assigned: BTreeSet<Partition>,
    events: VecDeque<Event>,
    /// Where the reader wants to go on, until the thread has done so.
    sought: BTreeMap<Partition, Offset>,
    revocation: Revocation,
    /// The reader began anew: what is fetched now is of no use to it.
    restarted: bool,
    failed: Option<String>,
}

enum Event {
    Assigned(BTreeSet<Partition>),
    /// `waits` when the partitions are kept until the reader has finished what it has of them.
    Revoked {
        partitions: BTreeSet<Partition>,
        waits: bool,
    },
}

/// Where a revocation that waits for the reader is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Revocation {
    #[default]
    None,
    /// The reader was not told yet.
    Noted,
    /// The reader was told, and finishes what it has.
    Told,
    /// The reader has come back.
    Finished,
}

/// How a revocation goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Release {
    /// The reader is to finish what it has first.
    Later,
    Now,
}

impl Event {
    fn names(&self, partition: Partition) -> bool {
        let (Self::Assigned(partitions) | Self::Revoked { partitions, .. }) = self;
        partitions.contains(&partition)
    }
}

/// The reader's side.
impl Inbox {
    /// Waits for something to tell. May be dropped and called again.
    pub(super) async fn next(&self, records_max: usize) -> Result<Delivery> {
        {
            let mut state = self.state();
            if state.revocation == Revocation::Told {
                state.revocation = Revocation::Finished;
            }
        }
        loop {
            let news = self.news.notified();
            if let Some(outcome) = self.state().take(records_max) {
                return outcome;
            }
            news.await;
        }
    }

    /// Goes on in these partitions: from where, and up to where their records are waited for. Those that are not the
    /// reader's any more, as it will learn next, are passed over.
    pub(super) fn seek(&self, from: &[(Partition, Offset, Offset)]) {
        let state = &mut *self.state();
        for (partition, offset, awaited_until) in from {
            if state.events.iter().any(|event| event.names(*partition)) {
                continue;
            }
            state.merge.start(*partition, *offset, *awaited_until);
            state.sought.insert(*partition, *offset);
        }
    }

    /// The reader forgets what it was told and had, and hears of what is assigned once more. What it was to finish for others
    /// is finished: nothing of it will be committed.
    pub(super) fn restart(&self) {
        let state = &mut *self.state();
        state.merge = Merge::default();
        state.sought.clear();
        state.events.clear();
        state.restarted = true;
        if state.revocation != Revocation::None {
            state.revocation = Revocation::Finished;
        }
        if !state.assigned.is_empty() {
            state.events.push_back(Event::Assigned(state.assigned.clone()));
        }
        self.news.notify_one();
    }

    /// Why the reader cannot go on, if so.
    pub(super) fn failure(&self) -> Option<Error> {
        self.state().failed.clone().map(Error::Corrupt)
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }
}

/// The thread's side.
impl Inbox {
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Leaves records for the reader, and tells how many it holds now. Those of partitions where the reader wants to go on
    /// elsewhere are from before.
    pub(super) fn put(&self, records: Vec<Record>) -> usize {
        let mut gap = None;
        let state = &mut *self.state();
        for record in records {
            if state.sought.contains_key(&record.position.partition) {
                continue;
            }
            let found = record.position;
            if let Err(expected) = state.merge.push(record) {
                gap.get_or_insert((expected, found));
            }
        }
        if let Some((expected, found)) = gap {
            state.fail(format!(
                "the log has no record {}/{expected} and goes on at {found}; it was trimmed, compacted or replaced before it \
                 was decided: compare the topic with the store before you start again",
                found.partition
            ));
        }
        let held = state.merge.records();
        self.news.notify_one();
        held
    }

    pub(super) fn assigned(&self, partitions: BTreeSet<Partition>) {
        let state = &mut *self.state();
        state.assigned.extend(&partitions);
        state.events.push_back(Event::Assigned(partitions));
        self.news.notify_one();
    }

    /// Notes that partitions go to others, or, when they are lost, have gone.
    pub(super) fn revoked(&self, mut partitions: BTreeSet<Partition>, lost: bool) -> Release {
        let state = &mut *self.state();
        for partition in &partitions {
            state.assigned.remove(partition);
            state.merge.stop(*partition);
            state.sought.remove(partition);
        }
        // What the reader was never told of needs no farewell.
        for event in &mut state.events {
            if let Event::Assigned(untold) = event {
                let both: Vec<_> = untold.intersection(&partitions).copied().collect();
                for partition in both {
                    untold.remove(&partition);
                    partitions.remove(&partition);
                }
            }
        }
        state.events.retain(|event| !matches!(event, Event::Assigned(untold) if untold.is_empty()));
        if partitions.is_empty() {
            return Release::Now;
        }
        state.events.push_back(Event::Revoked { partitions, waits: !lost });
        let release = if lost {
            Release::Now
        } else {
            state.revocation = Revocation::Noted;
            Release::Later
        };
        self.news.notify_one();
        release
    }

    /// Whether the reader has finished what it had of revoked partitions.
    pub(super) fn has_finished(&self) -> bool {
        self.state().revocation == Revocation::Finished
    }

    /// The revoked partitions are given up.
    pub(super) fn released(&self) {
        self.state().revocation = Revocation::None;
    }

    /// Where the reader wants to go on; the thread is about to.
    pub(super) fn take_sought(&self) -> BTreeMap<Partition, Offset> {
        std::mem::take(&mut self.state().sought)
    }

    /// Whether the reader began anew since this was asked last.
    pub(super) fn take_restart(&self) -> bool {
        std::mem::take(&mut self.state().restarted)
    }

    /// How many bytes are held of a partition.
    pub(super) fn bytes(&self, partition: Partition) -> usize {
        self.state().merge.bytes(partition)
    }

    /// Nothing can be read any more.
    pub(super) fn fail(&self, cause: String) {
        self.state().fail(cause);
        self.news.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // After a panic the reader is told that it failed; until then what is here serves.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, records_max: usize) -> Option<Result<Delivery>> {
        if let Some(cause) = &self.failed {
            return Some(Err(Error::Corrupt(cause.clone())));
        }
        match self.events.pop_front() {
            Some(Event::Assigned(partitions)) => {
                return Some(Ok(Delivery::Assigned(partitions.into_iter().collect())));
            }
            Some(Event::Revoked { partitions, waits }) => {
                if waits && self.revocation == Revocation::Noted {
                    self.revocation = Revocation::Told;
                }
                return Some(Ok(Delivery::Revoked(partitions.into_iter().collect())));
            }
            None => {}
        }
        let records = self.merge.take(records_max.max(1));
        (!records.is_empty()).then_some(Ok(Delivery::Records(records)))
    }

    fn fail(&mut self, cause: String) {
        if self.failed.is_none() {
            tracing::error!(cause, "the intent log cannot be read any more");
            self.failed = Some(cause);
        }
    }
}
