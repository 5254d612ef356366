//! Bookings of patients who still hold an appointment that the ledger takes for cancelled: the cancellation lies in a
//! partition that the commit is not about, and is mostly about to be committed there.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use orderly_domain::port::store::{Claim, Commit};
use orderly_domain::{Command, Fence, Outcome, Partition, Position, port};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::time::Instant;

use super::books::Books;
use super::rows::column;
use super::service::Inner;

/// How often a commit looks whether an appointment that is in its way has been cancelled.
const PAUSE: Duration = Duration::from_millis(10);
/// How many bookings are remembered for which everything was decided once more.
const GAVE_UP_MAX: usize = 1_000;

/// How long a commit waits for a cancellation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) held: Duration,
    pub(super) under_way: Duration,
}

/// What a commit has met in its way.
#[derive(Debug, Default)]
pub(super) struct Held {
    since: Option<Instant>,
    /// Bookings that are refused, though the ledger gave them a number twice.
    resigned: FxHashSet<Position>,
}

impl Held {
    pub(super) const fn resigned(&self) -> &FxHashSet<Position> {
        &self.resigned
    }
}

/// What a process remembers of such bookings, and of its own partitions.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The newest takeovers of this process.
    fences: Mutex<FxHashMap<Partition, Fence>>,
    /// The newest bookings for which everything was decided once more, with what was in their way.
    gave_up: Mutex<VecDeque<(Position, Position)>>,
}

impl Memory {
    pub(super) fn claimed(&self, claims: &[Claim]) {
        let mut fences = self.fences.lock().unwrap_or_else(PoisonError::into_inner);
        fences.extend(claims.iter().map(|claim| (claim.partition, claim.fence)));
    }

    fn is_ours(&self, partition: Partition, fence: Fence) -> bool {
        self.fences.lock().unwrap_or_else(PoisonError::into_inner).get(&partition) == Some(&fence)
    }

    fn gave_up_on(&self, at: Position, by: Position) -> bool {
        self.gave_up.lock().unwrap_or_else(PoisonError::into_inner).contains(&(at, by))
    }

    fn give_up_on(&self, at: Position, by: Position) {
        let mut gave_up = self.gave_up.lock().unwrap_or_else(PoisonError::into_inner);
        if gave_up.len() == GAVE_UP_MAX {
            gave_up.pop_front();
        }
        gave_up.push_back((at, by));
    }
}

/// The first booking of a commit whose patient holds another appointment in its scope, with that one, as far as this can be
/// told before decisions are applied: sessions that the commit itself opens are not looked at.
pub(super) fn first(
    commit: &Commit,
    books: &Books,
    is_of_commit: impl Fn(Partition) -> bool,
    resigned: &FxHashSet<Position>,
) -> Option<(Position, Position)> {
    commit.decisions.iter().find_map(|decision| {
        let at = decision.position;
        let (Some(Command::Book(book)), Outcome::Booked { .. }) = (&decision.command, decision.outcome) else {
            return None;
        };
        let session = &books.session(books.find(&book.session.session_id)?).state.session;
        if session.doctor_id != book.session.doctor_id || books.has_booked(&book.ticket) || resigned.contains(&at) {
            return None;
        }
        let by = books.held_in(&session.exclusivity.scope(&session.reference())?, &book.patient_id)?.position;
        (!is_of_commit(by.partition)).then_some((at, by))
    })
}

/// Who decides another partition now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Neighbour {
    /// This process: whatever it decided there is committed, since its commits follow one another.
    Ourselves,
    /// Somebody who commits at this moment.
    UnderWay,
    /// Somebody else, or nobody.
    Other,
}

impl Inner {
    /// Waits a moment before the next try of a commit in whose way an appointment is, or tells it to refuse that booking.
    ///
    /// # Errors
    /// `Lost` when the time is over. The ledger is wrong then, or the other node is gone: were the booking alone refused,
    /// the numbers after it would be wrong, too. So everything is decided once more, from a ledger that is restored. The
    /// second time, the ledger cannot be helped, and the booking is refused.
    pub(super) async fn wait_for_cancellation(&self, held: &mut Held, at: Position, by: Position) -> port::Result<()> {
        if self.memory.gave_up_on(at, by) {
            held.resigned.insert(at);
            return Ok(());
        }
        let is_first = held.since.is_none();
        let since = *held.since.get_or_insert_with(Instant::now);
        let patience = match self.neighbour(by.partition).await? {
            Neighbour::Ourselves => Duration::ZERO,
            Neighbour::UnderWay => self.patience.under_way,
            Neighbour::Other => self.patience.held,
        };
        if since.elapsed() < patience {
            self.held.waits.inc_by(is_first.into());
            tokio::time::sleep(PAUSE).await;
            return Ok(());
        }
        self.memory.give_up_on(at, by);
        self.held.gave_up.inc();
        let text = format!("the ledger takes the booking of record {by} for cancelled, and nobody commits that");
        tracing::warn!(%at, %by, waited = ?since.elapsed(), "{text}: everything is decided once more");
        Err(port::Error::Lost(text))
    }

    async fn neighbour(&self, partition: Partition) -> port::Result<Neighbour> {
        // A commit holds the row of each of its partitions; this never waits for one.
        let select = "SELECT fence FROM partitions WHERE partition = $1 FOR KEY SHARE SKIP LOCKED";
        let number = i32::from(partition);
        let fence = self
            .writers
            .call(
                |client| {
                    Box::pin(async move {
                        let row = client.query_opt(&client.prepare_cached(select).await?, &[&number]).await?;
                        row.map(|row| column::<i64>(&row, 0)).transpose()
                    })
                },
                port::Error::DidNotHappen,
            )
            .await?;
        Ok(match fence {
            None => Neighbour::UnderWay,
            Some(fence) if self.memory.is_ours(partition, fence.cast_unsigned()) => Neighbour::Ourselves,
            Some(_) => Neighbour::Other,
        })
    }
}
