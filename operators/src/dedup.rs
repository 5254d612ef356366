//! Dedup: a retried ticket gets its first answer, also when that was a refusal.
//!
//! All retries of a ticket name one session, so one doctor, so one partition. Its newest tickets are remembered here,
//! bounded by count and by time in the log; tickets that booked are remembered by the ledger for as long as they matter.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orderly_domain::planted::{self, Bug};
use orderly_domain::port::store::SeenTicket;
use orderly_domain::{Command, Fence, Offset, Outcome, Partition, Reason, SessionId, Timestamp, ticket};

use crate::draft::Draft;
use crate::operator::{Error, Operator};

/// How long and how many tickets are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentTickets {
    /// For so many records of its partition a ticket is remembered, and so at most as many tickets are. Records are counted and
    /// not tickets, so that what is remembered depends on the log alone, and not on when it was restored.
    pub tickets_max: usize,
    /// Time in the log, counted from the newest ticket back.
    pub window: Duration,
}

/// Where whoever takes a partition over leaves the tickets that the store knows of, until the operator that sees the
/// partition's first record under that takeover picks them up.
#[derive(Clone, Debug, Default)]
pub struct Takeovers(Arc<Mutex<Waiting>>);

type Waiting = HashMap<(Partition, Fence), Vec<SeenTicket>>;

impl Takeovers {
    /// Leaves what a takeover found. Older takeovers of the partition that nobody picked up are dropped.
    pub fn leave(&self, partition: Partition, fence: Fence, tickets: Vec<SeenTicket>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|(other, _), _| *other != partition);
        waiting.insert((partition, fence), tickets);
    }

    fn pick_up(&self, partition: Partition, fence: Fence) -> Vec<SeenTicket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(partition, fence)).unwrap_or_default()
    }
}

/// The operator.
#[derive(Debug)]
pub struct Dedup {
    recent: RecentTickets,
    takeovers: Takeovers,
    partitions: HashMap<Partition, Window>,
}

impl Dedup {
    /// Remembers what `recent` says, and starts each partition with what its takeover left.
    #[must_use]
    pub fn new(recent: RecentTickets, takeovers: Takeovers) -> Self {
        Self { recent, takeovers, partitions: HashMap::new() }
    }

    fn look_up(&mut self, draft: &Draft) -> Option<Outcome> {
        let Some(Command::Book(book)) = &draft.command else { return None };
        let Self { recent, takeovers, partitions } = self;
        let partition = draft.position.partition;
        let window = partitions.entry(partition).or_default();
        let keeps = window.fence.is_some() && planted::is(Bug::DedupKeepsOldWindow);
        if window.fence != Some(draft.fence) && !keeps {
            let mut seen = takeovers.pick_up(partition, draft.fence);
            seen.retain(|_| !planted::is(Bug::DedupForgetsAtTakeover));
            *window = Window::restored(draft.fence, seen);
        }
        let oldest = draft.position.offset.saturating_sub(recent.tickets_max as u64);
        window.forget_before(draft.logged_at.minus(recent.window), oldest);
        let session = fingerprint(&book.session.session_id);
        match window.tickets.get(&book.ticket) {
            Some(_) if planted::is(Bug::DedupOff) => None,
            Some(seen) if seen.session.is_none_or(|first| first == session) || planted::is(Bug::DedupMixesSessions) => {
                let before = u64::from(planted::is(Bug::DedupNamesItself)).min(seen.first);
                Some(Outcome::Repeat { first: seen.first - before })
            }
            Some(_) => Some(Outcome::Rejected(Reason::Duplicate)),
            None => {
                window.remember(
                    book.ticket,
                    Seen { first: draft.position.offset, session: Some(session) },
                    draft.logged_at,
                );
                None
            }
        }
    }
}

impl Operator for Dedup {
    type In = Draft;
    type Out = Draft;

    fn name(&self) -> &'static str {
        "dedup"
    }

    fn process_batch(&mut self, batch: Vec<Draft>, out: &mut Vec<Draft>) -> Result<(), Error> {
        out.reserve(batch.len());
        for mut draft in batch {
            if draft.outcome.is_none() {
                draft.outcome = self.look_up(&draft);
            }
            out.push(draft);
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    first: Offset,
    /// `None` when it named a session that nobody knew: then any session counts as the same.
    session: Option<u64>,
}

/// One partition's recent tickets under one takeover.
#[derive(Debug, Default)]
struct Window {
    fence: Option<Fence>,
    tickets: HashMap<ticket::Id, Seen>,
    oldest_first: VecDeque<(Timestamp, ticket::Id, Offset)>,
}

impl Window {
    fn restored(fence: Fence, tickets: Vec<SeenTicket>) -> Self {
        let mut window = Self { fence: Some(fence), ..Self::default() };
        for seen in tickets {
            let session = seen.session_id.as_ref().map(fingerprint);
            // A ticket that was forgotten and came back has several firsts; the last is the one that was remembered.
            window.remember(seen.ticket, Seen { first: seen.first, session }, seen.logged_at);
        }
        window
    }

    fn remember(&mut self, ticket: ticket::Id, seen: Seen, logged_at: Timestamp) {
        self.oldest_first.push_back((logged_at, ticket, seen.first));
        self.tickets.insert(ticket, seen);
    }

    fn forget_before(&mut self, moment: Timestamp, oldest: Offset) {
        while let Some((_, ticket, first)) =
            self.oldest_first.pop_front_if(|(logged_at, _, first)| *logged_at < moment || *first < oldest)
        {
            if self.tickets.get(&ticket).is_some_and(|seen| seen.first == first) {
                self.tickets.remove(&ticket);
            }
        }
    }
}

fn fingerprint(session: &SessionId) -> u64 {
    rustc_hash::FxBuildHasher.hash_one(session)
}
