//! Commit: makes decisions true, in one transaction with the progress of their partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use orderly_domain::port::store::{self, Advance, Committed, Store};
use orderly_domain::port::{self, Ledger};
use orderly_domain::{Clock, Decision, Partition};

use crate::admit::SessionMemory;
use crate::marks::PublishedMarks;
use crate::operator::{AsyncOperator, Error};
use crate::retry::Retry;

/// The operator. The store has the last word: what it refuses goes back to the ledger before anything else is committed.
pub struct Commit {
    store: Arc<dyn Store>,
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    memory: SessionMemory,
    marks: PublishedMarks,
    retry: Retry,
}

impl Commit {
    /// Commits to `store`; `marks` are written down on the way.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
        memory: SessionMemory,
        marks: PublishedMarks,
        retry: Retry,
    ) -> Self {
        Self { store, ledger, clock, memory, marks, retry }
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
        }
        Ok(advances.into_values().collect())
    }

    async fn undo(&self, committed: &[Committed], decisions: Vec<Decision>) -> Result<(), Error> {
        let refused: Vec<_> = decisions
            .into_iter()
            .zip(committed)
            .filter(|(_, row)| row.corrected)
            .map(|(decision, _)| decision)
            .collect();
        if !refused.is_empty() {
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
        let advances = self.advances(&batch)?;
        let commit = store::Commit { decided_at: self.clock.now(), advances, decisions: batch };
        let committed = self.retry.until_final("store", || self.store.commit(&commit)).await?;
        self.undo(&committed, commit.decisions).await?;
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
