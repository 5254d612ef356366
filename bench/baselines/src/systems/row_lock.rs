//! The textbook: lock the session's row, look, insert, commit. Those who come too late are told so by a look without a lock;
//! the others wait in PostgreSQL's queue for the row. Under the lock there are two round trips.

use async_trait::async_trait;
use futures::future::join;
use tokio_postgres::types::ToSql;

use super::System;
use crate::booking::{Attempt, Booked, Error, Outcome, Session};
use crate::postgres::{Postgres, is_violation, look};

/// Only a row with something left is locked: whoever waited in vain finds none.
const LOCK: &str = "SELECT capacity - remaining + 1 AS number FROM sessions WHERE session_id = $1 AND remaining > 0 \
                    FOR UPDATE";
/// The insert and the count in one round trip.
const BOOK: &str = "
WITH taken AS (
    UPDATE sessions SET remaining = remaining - 1 WHERE session_id = $1 RETURNING department, day
)
INSERT INTO bookings (session_id, number, patient_id, department, day, idempotency_key)
SELECT $1, $4, $2, department, day, $3 FROM taken";

/// Bookings under a lock of the session's row.
pub(super) struct RowLock(Postgres);

impl RowLock {
    pub(super) const fn new(postgres: Postgres) -> Self {
        Self(postgres)
    }

    /// `None` when somebody else took the last number, or the patient got one by another attempt.
    async fn locked(&self, attempt: &Attempt) -> Result<Option<i32>, Error> {
        let client = self.0.get().await?;
        let (lock, book) = (client.prepare_cached(LOCK).await?, client.prepare_cached(BOOK).await?);
        let session: [&(dyn ToSql + Sync); 1] = [&attempt.session_id];
        // Sent together: both are polled once, in this order, before either is waited for.
        let (begun, row) = join(client.batch_execute("BEGIN"), client.query_opt(&lock, &session)).await;
        begun?;
        let number = match row {
            Ok(Some(row)) => row.try_get("number")?,
            other => {
                client.batch_execute("ROLLBACK").await?;
                other?;
                return Ok(None);
            }
        };
        let booking: [&(dyn ToSql + Sync); 4] = [&attempt.session_id, &attempt.patient_id, &attempt.key, &number];
        // After a failed insert the commit is a rollback.
        let (made, committed) = join(client.execute(&book, &booking), client.batch_execute("COMMIT")).await;
        match made {
            Err(error) if is_violation(&error) => return Ok(None),
            made => made?,
        };
        committed?;
        Ok(Some(number))
    }
}

#[async_trait]
impl System for RowLock {
    async fn open(&self, sessions: Vec<Session>) -> Result<(), Error> {
        self.0.open_sessions(&sessions).await
    }

    async fn book(&self, attempt: Attempt) -> Result<Outcome, Error> {
        // The connection goes back before the next is taken: who holds one never waits for another.
        let first = look(&self.0.get().await?, &attempt).await?;
        if let Some(outcome) = first.settled() {
            return Ok(outcome);
        }
        match self.locked(&attempt).await? {
            Some(number) => Ok(Outcome::Booked { number }),
            None => self.0.after_violation(&attempt).await,
        }
    }

    async fn record(&self) -> Result<Vec<Booked>, Error> {
        self.0.bookings().await
    }
}
