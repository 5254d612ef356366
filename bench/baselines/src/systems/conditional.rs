//! The strong simple one: a single statement takes a number where one is left and inserts the booking. One round trip, and
//! no lock for those who come too late.

use async_trait::async_trait;
use tokio_postgres::types::ToSql;

use super::System;
use crate::booking::{Attempt, Booked, Error, Outcome, Reason, Session};
use crate::postgres::{Postgres, is_violation};

/// What is known before is looked up in the statement's snapshot; what happens meanwhile is caught by the constraints, which
/// undo the whole statement.
const BOOK: &str = "
WITH known AS MATERIALIZED (
    SELECT number FROM bookings WHERE patient_id = $2 AND idempotency_key = $3
), session AS MATERIALIZED (
    SELECT EXISTS (
        SELECT FROM bookings b WHERE b.patient_id = $2 AND b.department = s.department AND b.day = s.day
    ) AS other, s.remaining > 0 AS was_open
    FROM sessions s WHERE s.session_id = $1
), taken AS (
    UPDATE sessions SET remaining = remaining - 1
    WHERE session_id = $1 AND remaining > 0
        AND NOT EXISTS (SELECT FROM known) AND NOT (SELECT other FROM session)
    RETURNING capacity - remaining AS number, department, day
), made AS (
    INSERT INTO bookings (session_id, number, patient_id, department, day, idempotency_key)
    SELECT $1, number, $2, department, day, $3 FROM taken
    RETURNING number
)
SELECT coalesce((SELECT number FROM known), (SELECT number FROM made)) AS number, other, was_open FROM session";

/// Bookings by one statement each.
pub(super) struct Conditional(Postgres);

impl Conditional {
    pub(super) const fn new(postgres: Postgres) -> Self {
        Self(postgres)
    }
}

#[async_trait]
impl System for Conditional {
    async fn open(&self, sessions: Vec<Session>) -> Result<(), Error> {
        self.0.open_sessions(&sessions).await
    }

    async fn book(&self, attempt: Attempt) -> Result<Outcome, Error> {
        let client = self.0.get().await?;
        let statement = client.prepare_cached(BOOK).await?;
        let parameters: [&(dyn ToSql + Sync); 3] = [&attempt.session_id, &attempt.patient_id, &attempt.key];
        let row = match client.query_opt(&statement, &parameters).await {
            Ok(row) => row.ok_or(Error::UnknownSession)?,
            Err(error) if is_violation(&error) => {
                drop(client);
                return self.0.after_violation(&attempt).await;
            }
            Err(error) => return Err(error.into()),
        };
        match (row.try_get::<_, Option<i32>>("number")?, row.try_get("other")?) {
            (Some(number), _) => Ok(Outcome::Booked { number }),
            (None, true) => Ok(Outcome::rejected(Reason::AlreadyBooked)),
            // Whoever took the last number since may be this very attempt, sent twice.
            (None, false) if row.try_get("was_open")? => {
                drop(client);
                self.0.after_violation(&attempt).await
            }
            (None, false) => Ok(Outcome::rejected(Reason::SoldOut)),
        }
    }

    async fn record(&self) -> Result<Vec<Booked>, Error> {
        self.0.bookings().await
    }
}
