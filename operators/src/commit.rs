//! Commit: makes decisions true, in one transaction with the progress of their partitions.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use orderly_domain::planted::{self, Bug};
use orderly_domain::port::store::{self, Advance, Committed, Store};
use orderly_domain::port::{self, Ledger};
use orderly_domain::{Clock, Decision, Partition, Timestamp};

use crate::admit::SessionMemory;
use crate::marks::PublishedMarks;
use crate::neighbours::Neighbours;
use crate::operator::{AsyncOperator, Error};
use crate::retry::Retry;

/// The operator. The store has the last word: what it refuses goes back to the ledger before anything else is committed.
pub struct Commit {
    store: Arc<dyn Store>,
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    memory: SessionMemory,
    marks: PublishedMarks,
    neighbours: Neighbours,
    retry: Retry,
    pruned_day: Mutex<i64>,
    has_committed: AtomicBool,
}

impl Commit {
    /// Commits to `store`; `marks` are written down on the way, and `neighbours` remembers what the ledger did not know.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
        memory: SessionMemory,
        marks: PublishedMarks,
        neighbours: Neighbours,
        retry: Retry,
    ) -> Self {
        let (pruned_day, has_committed) = (Mutex::new(i64::MIN), AtomicBool::new(false));
        Self { store, ledger, clock, memory, marks, neighbours, retry, pruned_day, has_committed }
    }

    /// Whether it has committed anything.
    pub fn has_committed(&self) -> bool {
        self.has_committed.load(Ordering::Relaxed)
    }

    /// Commits these decisions. A booking that the ledger cannot be made to refuse is refused here.
    async fn commit(&self, decisions: Vec<Decision>) -> Result<Vec<Committed>, Error> {
        let (decided_at, advances) = (self.clock.now(), self.advances(&decisions)?);
        let mut commit = store::Commit { decided_at, advances, decisions, resigned: Vec::new() };
        loop {
            match self.retry.until_final("store", || self.store.commit(&commit)).await {
                Ok(committed) => {
                    self.has_committed.store(true, Ordering::Relaxed);
                    self.retry.until_final("ledger settle", || self.ledger.settle(&commit.decisions)).await?;
                    self.undo(&committed, commit.decisions).await?;
                    return Ok(committed);
                }
                Err(port::Error::Held { at, by }) => {
                    self.neighbours.held(at, by)?;
                    commit.resigned.push(at);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn advances(&self, decisions: &[Decision]) -> Result<Vec<Advance>, port::Error> {
        let mut advances: BTreeMap<Partition, Advance> = BTreeMap::new();
        for Decision { position, fence, .. } in decisions {
            let advance = advances.entry(position.partition).or_insert_with(|| Advance {
                partition: position.partition,
                fence: *fence,
                from: position.offset,
                to: position.offset,
                published: self.marks.get(position.partition),
            });
            if advance.to != position.offset || advance.fence != *fence {
                return Err(port::Error::Corrupt(format!(
                    "decisions reached the commit out of order: {position} of takeover {fence} after offset {} of takeover {}",
                    advance.to, advance.fence
                )));
            }
            advance.to += 1;
            if planted::is(Bug::MarkBeforePublished) {
                advance.published = advance.to;
            }
        }
        Ok(advances.into_values().collect())
    }

    /// Once a day of the log, forgets sessions whose day is past. It is done here and not where the ledger is asked: there,
    /// one lane may be days ahead of another after an outage, and would forget what the other still has to decide.
    async fn prune(&self, logged_at: Timestamp) -> Result<(), Error> {
        {
            let mut pruned = self.pruned_day.lock().unwrap_or_else(PoisonError::into_inner);
            if logged_at.utc_day() <= *pruned {
                return Ok(());
            }
            *pruned = logged_at.utc_day();
        }
        let early = if planted::is(Bug::PrunedTooEarly) { 3 } else { 0 };
        let logged_at = logged_at.plus(Duration::from_secs(early * 86_400));
        self.memory.prune(logged_at);
        self.retry.until_final("ledger prune", || self.ledger.prune(logged_at)).await?;
        Ok(())
    }

    async fn undo(&self, committed: &[Committed], decisions: Vec<Decision>) -> Result<(), Error> {
        let any = committed.iter().any(|row| row.corrected);
        let refused: Vec<_> = decisions
            .into_iter()
            .zip(committed)
            .filter(|(_, row)| row.corrected || (planted::is(Bug::UndoTooMuch) && any))
            .map(|(decision, _)| decision)
            .collect();
        if !refused.is_empty() && !planted::is(Bug::UndoForgotten) {
            tracing::warn!(count = refused.len(), first = %refused[0].position, "the store refused what the ledger had admitted");
            self.retry.until_final("ledger undo", || self.ledger.undo(&refused)).await?;
            self.memory.doubt(&refused);
        }
        Ok(())
    }
}

#[async_trait]
impl AsyncOperator for Commit {
    type In = Decision;
    type Out = Committed;

    fn name(&self) -> &'static str {
        "commit"
    }

    async fn process_batch(&self, batch: Vec<Decision>) -> Result<Vec<Committed>, Error> {
        #[cfg(feature = "planted-bugs")]
        if let Some(committed) = self.mistaken(&batch).await? {
            return Ok(committed);
        }
        let oldest = batch.first().map(|decision| decision.logged_at);
        let committed = self.commit(batch).await?;
        if let Some(oldest) = oldest {
            self.prune(oldest).await?;
        }
        Ok(committed)
    }

    async fn on_drained(&self) -> Result<(), Error> {
        match self.store.mark_published(&self.marks.all()).await {
            // Whoever took a partition over meanwhile publishes some outcomes a second time.
            Ok(()) | Err(port::Error::Fenced { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(feature = "planted-bugs")]
impl Commit {
    /// Commits in one of the wrong ways, if one is planted.
    async fn mistaken(&self, decisions: &[Decision]) -> Result<Option<Vec<Committed>>, Error> {
        let (decided_at, advances) = (self.clock.now(), self.advances(decisions)?);
        let commit = &store::Commit { decided_at, advances, decisions: decisions.to_vec(), resigned: Vec::new() };
        if planted::is(Bug::PublishedBeforeCommit) {
            let (store, retry, commit) = (Arc::clone(&self.store), self.retry.clone(), commit.clone());
            let told = guessed(&commit);
            tokio::spawn(async move {
                let _ = retry.until_final("store", || store.commit(&commit)).await;
            });
            return Ok(Some(told));
        }
        if planted::is(Bug::CommitTimeoutIsYes) {
            return match self.store.commit(commit).await {
                Err(port::Error::MayHaveHappened(_)) => Ok(Some(guessed(commit))),
                _ => Ok(None),
            };
        }
        if planted::is(Bug::FenceSkipped)
            && let Err(port::Error::Fenced { .. }) = self.retry.until_final("store", || self.store.commit(commit)).await
        {
            let mut commit = commit.clone();
            for advance in &mut commit.advances {
                let stolen = [advance.partition];
                let claims = self.retry.until_final("claim", || self.store.claim(&stolen, "thief")).await?;
                advance.fence = claims[0].fence;
                for decision in &mut commit.decisions {
                    if decision.position.partition == advance.partition {
                        decision.fence = advance.fence;
                    }
                }
            }
            return Ok(Some(self.retry.until_final("store", || self.store.commit(&commit)).await?));
        }
        Ok(None)
    }
}

/// What a commit would be answered if the store agreed.
#[cfg(feature = "planted-bugs")]
fn guessed(commit: &store::Commit) -> Vec<Committed> {
    let guess = |decision: &Decision| Committed {
        position: decision.position,
        logged_at: decision.logged_at,
        decided_at: commit.decided_at,
        kind: decision.command.as_ref().map_or(orderly_domain::command::Kind::Malformed, |command| command.kind()),
        ticket: decision.command.as_ref().and_then(|command| command.ticket()),
        session_id: decision.command.as_ref().map(|command| command.session_id().clone()),
        outcome: decision.outcome,
        first: None,
        corrected: false,
        session: None,
        released: Vec::new(),
    };
    commit.decisions.iter().map(guess).collect()
}
