//! The writer's side: takeovers, published marks and policies. Commits are in [`super::commit`].

use orderly_domain::port::store::{Claim, PolicyVersion};
use orderly_domain::{Fence, Offset, Partition, port};
use rusqlite::{Connection, TransactionBehavior, params};

use super::sessions::Sessions;
use crate::sqlite::{Failure, commit};
use crate::store::metrics::Metrics;

/// What the writer's thread owns.
#[derive(Debug)]
pub(super) struct Writes {
    pub(super) connection: Connection,
    pub(super) sessions: Sessions,
    pub(super) metrics: Metrics,
}

impl Writes {
    /// See [`port::Store::claim`].
    pub(super) fn claim(&mut self, partitions: &[Partition], owner: &str) -> Result<Vec<Claim>, Failure> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut claims = Vec::with_capacity(partitions.len());
        for &partition in partitions {
            let mut take = transaction.prepare_cached(
                "INSERT INTO partitions (partition, fence, owner, next_offset, published_offset) \
                 VALUES (?, 1, ?, 0, 0) \
                 ON CONFLICT (partition) DO UPDATE SET fence = fence + 1, owner = excluded.owner \
                 RETURNING fence, next_offset, published_offset",
            )?;
            claims.push(take.query_row(params![partition, owner], |row| {
                Ok(Claim {
                    partition,
                    fence: row.get::<_, i64>(0)?.cast_unsigned(),
                    next_offset: row.get::<_, i64>(1)?.cast_unsigned(),
                    published_offset: row.get::<_, i64>(2)?.cast_unsigned(),
                })
            })?);
        }
        commit(transaction)?;
        // Whoever had a partition before may have changed its sessions from another process.
        self.sessions.forget();
        Ok(claims)
    }

    /// See [`port::Store::mark_published`].
    pub(super) fn mark_published(&mut self, marks: &[(Partition, Fence, Offset)]) -> Result<(), Failure> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for &(partition, fence, offset) in marks {
            let mut mark = transaction.prepare_cached(
                "UPDATE partitions SET published_offset = MAX(published_offset, ?) WHERE partition = ? AND fence = ?",
            )?;
            if mark.execute(params![offset.cast_signed(), partition, fence.cast_signed()])? == 0 {
                return Err(port::Error::Fenced { partition }.into());
            }
        }
        Ok(commit(transaction)?)
    }

    /// See [`port::Store::save_policy`].
    pub(super) fn save_policy(&mut self, policy: &PolicyVersion) -> Result<(), Failure> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let newest: i64 =
            transaction.query_row("SELECT COALESCE(MAX(version), 0) FROM policies", [], |row| row.get(0))?;
        let found = newest.cast_unsigned();
        if policy.version != found + 1 {
            return Err(port::Error::Conflict { expected: policy.version.saturating_sub(1), found }.into());
        }
        transaction.execute(
            "INSERT INTO policies (version, document, author, reason, set_at_us) VALUES (?, ?, ?, ?, ?)",
            params![
                policy.version.cast_signed(),
                policy.document,
                policy.author,
                policy.reason,
                policy.set_at.as_micros()
            ],
        )?;
        Ok(commit(transaction)?)
    }
}
