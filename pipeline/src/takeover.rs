//! Taking partitions over: everything that a start, a restart and a moved partition have in common.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use jiff::civil::Date;
use orderly_domain::envelope::{day_number, day_of_number};
use orderly_domain::inventory::{PAST_AFTER_DAYS, Snapshot};
use orderly_domain::planted::{self, Bug};
use orderly_domain::port::ledger::Doubt;
use orderly_domain::port::store::{Claim, Committed, SessionState};
use orderly_domain::port::{self, Fanout, IntentLog, Ledger, Store};
use orderly_domain::session::{Exclusivity, Session};
use orderly_domain::{DepartmentId, Fence, Partition, Position, Timestamp, partition_of};
use orderly_operators::{Neighbours, PublishedMarks, RecentTickets, Retry, SessionMemory, Takeovers};

use crate::metrics::Metrics;
use crate::same_log::has_taken;

/// Decisions that are published again at once.
const REPUBLISH_ROWS: usize = 2_000;

/// Sessions that the ledger restores at once, and the bookings in them after which it gets no more: they all wait for the last
/// one, and together they are asked for again if one of them takes too long.
const RESTORE_SESSIONS: usize = 32;
const RESTORE_BOOKINGS: usize = 4_096;

/// Rebuilds from the store what the operators keep in memory.
pub(crate) struct Takeover {
    pub log: Arc<dyn IntentLog>,
    pub store: Arc<dyn Store>,
    pub ledger: Arc<dyn Ledger>,
    pub fanout: Arc<dyn Fanout>,
    pub owner: String,
    pub log_partitions: u16,
    pub recent: RecentTickets,
    pub takeovers: Takeovers,
    pub memory: SessionMemory,
    pub marks: PublishedMarks,
    pub neighbours: Neighbours,
    pub retry: Retry,
    pub metrics: Metrics,
}

impl Takeover {
    /// Fences the partitions off from whoever had them, restores dedup, admit and the ledger, and publishes outcomes that
    /// may have been lost between their commit and their publication. Nothing of these partitions may be in flight. They
    /// are added to those that are `held`. Tells also which record of each was decided last, and when the log had taken that.
    pub(crate) async fn assume(
        &self,
        partitions: &[Partition],
        held: &mut HashMap<Partition, Fence>,
    ) -> port::Result<(Vec<Claim>, Vec<(Position, Timestamp)>)> {
        let mut steps = Steps::from_now();
        // The fence is what makes a snapshot final: after it nothing else of these partitions is committed.
        let too_early = if planted::is(Bug::RestoredInFlight) {
            Some(self.retry.until_final("store", || self.store.snapshots(partitions, Date::MIN)).await?)
        } else {
            None
        };
        let claims = self.retry.until_final("store claim", || self.store.claim(partitions, &self.owner)).await?;
        held.extend(claims.iter().map(|claim| (claim.partition, claim.fence)));
        let held = &*held;
        self.retry.until_final("ledger", || self.ledger.hold(held)).await?;
        steps.end("claim");
        let mut decided = Vec::new();
        for claim in &claims {
            self.restore_tickets(claim).await?;
            self.marks.start(claim.partition, claim.fence, claim.published_offset);
            decided.extend(self.last_decided(claim).await?);
        }
        steps.end("tickets");
        // Records that are still in the log were written after those that are decided, however long ago that was.
        if let Some(oldest) = decided.iter().map(|(_, logged_at)| *logged_at).min() {
            self.restore_inventory(&claims, oldest, too_early, &mut steps).await?;
        }
        // Whoever is told of a release can book elsewhere: the ledger knows by now that it is committed.
        for claim in &claims {
            self.publish_again(claim).await?;
        }
        steps.end("publish");
        tracing::info!(partitions = claims.len(), steps = steps.told, "took partitions over");
        Ok((claims, decided))
    }

    /// Checks that the log still has what was decided last, unless that has aged out of it: in one that was replaced, what
    /// comes next is not what follows.
    pub(crate) async fn recognise(&self, decided: &[(Position, Timestamp)]) -> port::Result<()> {
        self.retry.until_final("log", || has_taken(&*self.log, decided)).await
    }

    /// Forgets partitions that go to others.
    pub(crate) fn leave(&self, partitions: &[Partition]) {
        for partition in partitions {
            self.marks.forget(*partition);
        }
    }

    async fn restore_tickets(&self, claim: &Claim) -> port::Result<()> {
        let everything = Timestamp::from_micros(i64::MIN);
        let read = || self.store.seen_tickets(claim.partition, everything, self.recent.tickets_max);
        let seen = self.retry.until_final("store", read).await?;
        self.takeovers.leave(claim.partition, claim.fence, seen);
        Ok(())
    }

    async fn last_decided(&self, claim: &Claim) -> port::Result<Option<(Position, Timestamp)>> {
        let Some(last) = claim.next_offset.checked_sub(1) else { return Ok(None) };
        let row = self.retry.until_final("store", || self.store.decisions(claim.partition, last, 1)).await?;
        Ok(row.first().map(|row| (row.decision.position, row.decision.logged_at)))
    }

    async fn restore_inventory(
        &self,
        claims: &[Claim],
        oldest: Timestamp,
        too_early: Option<Vec<Snapshot>>,
        steps: &mut Steps,
    ) -> port::Result<()> {
        let today = oldest.to_jiff().to_zoned(jiff::tz::TimeZone::UTC).date();
        let past_days = i32::try_from(PAST_AFTER_DAYS).expect("a few days") + 1;
        let since = day_of_number(day_number(today) - past_days).unwrap_or(Date::MIN);
        let partitions: Vec<_> = claims.iter().map(|claim| claim.partition).collect();
        let snapshots = match too_early {
            Some(snapshots) => snapshots,
            None => self.retry.until_final("store", || self.store.snapshots(&partitions, since)).await?,
        };
        steps.end("snapshots");
        self.memory.restore(&snapshots);
        let days: HashSet<_> = snapshots.iter().map(|snapshot| day_of(&snapshot.session)).collect();
        let fences: HashMap<_, _> = claims.iter().map(|claim| (claim.partition, claim.fence)).collect();
        let fenced = snapshots.into_iter().filter_map(|snapshot| {
            let partition = partition_of(&snapshot.session.doctor_id, self.log_partitions);
            Some((*fences.get(&partition)?, snapshot))
        });
        if !planted::is(Bug::LedgerNotRestored) {
            for some in batches(fenced, bookings_of) {
                self.retry.until_final("ledger restore", || self.ledger.restore(some.clone())).await?;
            }
        }
        steps.end("restore");
        self.lend_neighbours(&partitions, &days, since).await?;
        steps.end("lend");
        Ok(())
    }

    /// Patients of a department's day may hold appointments in sessions of other partitions. When the ledger has lost those,
    /// their owners restore them once they notice. Until then it is told at least who holds them: a patient who is given a
    /// second one here is refused by the store in the end, but others were told meanwhile that the number is taken.
    async fn lend_neighbours(
        &self,
        own: &[Partition],
        days: &HashSet<(DepartmentId, Date)>,
        since: Date,
    ) -> port::Result<()> {
        let doubted = self.neighbours.doubted();
        if own.len() >= usize::from(self.log_partitions) {
            return Ok(());
        }
        let partition = |session: &Session| partition_of(&session.doctor_id, self.log_partitions);
        let mut sessions = self.retry.until_final("store", || self.store.sessions(since)).await?;
        sessions.retain(|state| {
            let contended = state.session.exclusivity == Exclusivity::DepartmentDay && state.booked > 0;
            contended && days.contains(&day_of(&state.session)) && !own.contains(&partition(&state.session))
        });
        let behind = self.retry.until_final("ledger", || self.ledger.behind(&sessions)).await?;
        let behind: HashSet<_> = behind.into_iter().collect();
        sessions.retain(|SessionState { session, .. }| {
            behind.contains(&session.session_id) || doubted.contains(&partition(session))
        });
        if sessions.is_empty() {
            return Ok(());
        }
        let partitions: BTreeSet<_> = sessions.iter().map(|state| partition(&state.session)).collect();
        let partitions: Vec<_> = partitions.into_iter().collect();
        // In this order: a snapshot under a fence that is newer than itself would replace what its owner has restored.
        let progress = self.retry.until_final("store", || self.store.progress()).await?;
        let snapshots = self.retry.until_final("store", || self.store.snapshots(&partitions, since)).await?;
        let fences: HashMap<_, _> = progress.iter().map(|progress| (progress.partition, progress.fence)).collect();
        let chosen: HashSet<_> = sessions.iter().map(|state| &state.session.session_id).collect();
        let (mut lost, mut unknown) = (Vec::new(), Vec::new());
        for snapshot in snapshots.into_iter().filter(|snapshot| chosen.contains(&snapshot.session.session_id)) {
            let partition = partition(&snapshot.session);
            let Some(&fence) = fences.get(&partition) else { continue };
            let kind = if doubted.contains(&partition) { &mut unknown } else { &mut lost };
            kind.push((fence, snapshot));
        }
        tracing::info!(
            lost = lost.len(),
            doubted = unknown.len(),
            "the ledger is told of sessions of other nodes, too"
        );
        for (sessions, doubt) in [(lost, Doubt::Behind), (unknown, Doubt::Ignorant)] {
            for some in batches(sessions, bookings_of) {
                self.retry.until_final("ledger lend", || self.ledger.lend(some.clone(), doubt)).await?;
            }
        }
        self.neighbours.believe(&partitions);
        Ok(())
    }

    async fn publish_again(&self, claim: &Claim) -> port::Result<()> {
        let republishes = !planted::is(Bug::RepublishForgotten);
        let mut from = if republishes { claim.published_offset } else { claim.next_offset };
        while from < claim.next_offset {
            let read = || self.store.decisions(claim.partition, from, REPUBLISH_ROWS);
            let rows = self.retry.until_final("store", read).await?;
            let Some(last) = rows.last() else { break };
            from = last.decision.position.offset + 1;
            self.metrics.republished_total.inc_by(rows.len() as u64);
            let committed: Arc<[Committed]> = rows.into_iter().map(|row| row.decision).collect();
            self.retry.until_final("fan-out", || self.fanout.publish(Arc::clone(&committed))).await?;
        }
        self.marks.advance(claim.partition, from);
        Ok(())
    }
}

/// How long each step of a takeover took.
struct Steps {
    last: Instant,
    told: String,
}

impl Steps {
    fn from_now() -> Self {
        Self { last: Instant::now(), told: String::new() }
    }

    /// This step ends now.
    fn end(&mut self, step: &str) {
        let began = std::mem::replace(&mut self.last, Instant::now());
        let separator = if self.told.is_empty() { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(self.told, "{separator}{step} {} ms", began.elapsed().as_millis());
    }
}

/// What the ledger is given at once, of sessions with so many bookings each.
fn batches<T>(sessions: impl IntoIterator<Item = T>, bookings_of: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut batches: Vec<Vec<T>> = Vec::new();
    let mut bookings = 0;
    for session in sessions {
        let more = bookings_of(&session);
        bookings += more;
        match batches.last_mut() {
            Some(batch) if batch.len() < RESTORE_SESSIONS && bookings <= RESTORE_BOOKINGS => batch.push(session),
            _ => {
                bookings = more;
                batches.push(vec![session]);
            }
        }
    }
    batches
}

/// How many bookings of a session the ledger has to take.
fn bookings_of((_, snapshot): &(Fence, Snapshot)) -> usize {
    snapshot.holdings.len()
}

/// What is decided together.
fn day_of(session: &Session) -> (DepartmentId, Date) {
    (session.department.clone(), session.day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_ends_before_it_takes_the_ledger_too_long() {
        let sizes = |sessions: Vec<usize>| -> Vec<usize> {
            batches(sessions, |bookings| *bookings).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(vec![]), [0; 0]);
        assert_eq!(sizes(vec![0; RESTORE_SESSIONS + 1]), [RESTORE_SESSIONS, 1]);
        assert_eq!(sizes(vec![RESTORE_BOOKINGS - 1, 1, 1, 9 * RESTORE_BOOKINGS, 0]), [2, 1, 1, 1]);
    }
}
