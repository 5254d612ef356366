//! No lock: read the session with its version, and book if the version is still that. The loser reads again, after a pause
//! that grows and is drawn by lot, a bounded number of times.

use std::time::Duration;

use async_trait::async_trait;
use rand::RngExt as _;
use tokio_postgres::types::ToSql;

use super::System;
use crate::booking::{Attempt, Booked, Error, Outcome, Session};
use crate::postgres::{Postgres, is_violation, look};

const BOOK: &str = "
WITH taken AS (
    UPDATE sessions SET remaining = remaining - 1, version = version + 1
    WHERE session_id = $1 AND version = $4 AND remaining > 0
    RETURNING capacity - remaining AS number, department, day
)
INSERT INTO bookings (session_id, number, patient_id, department, day, idempotency_key)
SELECT $1, number, $2, department, day, $3 FROM taken
RETURNING number";

/// The longest pause after the first defeat; it doubles up to 64 times that.
const PAUSE_MS: u64 = 2;
const DOUBLINGS_MAX: u32 = 6;

/// Bookings by a version that has not changed.
pub(super) struct Optimistic {
    postgres: Postgres,
    attempts_max: u32,
}

impl Optimistic {
    pub(super) const fn new(postgres: Postgres, attempts_max: u32) -> Self {
        Self { postgres, attempts_max }
    }

    /// `None` when somebody else was faster.
    async fn attempt(&self, attempt: &Attempt) -> Result<Option<Outcome>, Error> {
        let client = self.postgres.get().await?;
        let found = look(&client, attempt).await?;
        if let Some(outcome) = found.settled() {
            return Ok(Some(outcome));
        }
        let statement = client.prepare_cached(BOOK).await?;
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&attempt.session_id, &attempt.patient_id, &attempt.key, &found.version];
        match client.query_opt(&statement, &parameters).await {
            Ok(Some(row)) => Ok(Some(Outcome::Booked { number: row.try_get("number")? })),
            Ok(None) => Ok(None),
            Err(error) if is_violation(&error) => {
                drop(client);
                self.postgres.after_violation(attempt).await.map(Some)
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[async_trait]
impl System for Optimistic {
    async fn open(&self, sessions: Vec<Session>) -> Result<(), Error> {
        self.postgres.open_sessions(&sessions).await
    }

    async fn book(&self, attempt: Attempt) -> Result<Outcome, Error> {
        for defeats in 0..self.attempts_max {
            if let Some(outcome) = self.attempt(&attempt).await? {
                return Ok(outcome);
            }
            let longest_us = (PAUSE_MS * 1_000) << defeats.min(DOUBLINGS_MAX);
            let pause = Duration::from_micros(rand::rng().random_range(0..longest_us));
            tokio::time::sleep(pause).await;
        }
        Err(Error::Busy("every try met another"))
    }

    async fn record(&self) -> Result<Vec<Booked>, Error> {
        self.postgres.bookings().await
    }
}
