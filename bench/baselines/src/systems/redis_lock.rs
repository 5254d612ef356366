//! A lock in Redis around the transaction: `SET NX PX` with a token, released by a script that compares the token. Inside a
//! process its own waiters queue first, so that only one of them at a time asks Redis for a session's lock.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dashmap::DashMap;
use rand::RngExt as _;
use redis::Script;
use redis::aio::MultiplexedConnection;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_postgres::types::ToSql;

use super::System;
use crate::booking::{Attempt, Booked, Error, Outcome, Session};
use crate::postgres::{Postgres, is_violation, look};

/// Releases the lock if it is still this holder's.
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";
/// How long a lock outlives a holder that died. The tables' constraints hold when a slow holder loses its lock to another.
const HELD_MAX_MS: u64 = 10_000;
/// The longest pause between two asks, in microseconds.
const POLL_US: u64 = 2_000;

const BOOK: &str = "
WITH taken AS (
    UPDATE sessions SET remaining = remaining - 1 WHERE session_id = $1 AND remaining > 0
    RETURNING capacity - remaining AS number, department, day
)
INSERT INTO bookings (session_id, number, patient_id, department, day, idempotency_key)
SELECT $1, number, $2, department, day, $3 FROM taken
RETURNING number";

/// Bookings under a lock in Redis.
pub(super) struct RedisLock {
    postgres: Postgres,
    redis: MultiplexedConnection,
    release: Script,
    /// By session: this process's own queue.
    queues: DashMap<String, Arc<Mutex<()>>>,
    wait: Duration,
}

impl RedisLock {
    pub(super) async fn open(postgres: Postgres, redis: &str, wait: Duration) -> Result<Self, Error> {
        let redis = super::redis_queue::connect(redis).await?;
        Ok(Self { postgres, redis, release: Script::new(RELEASE), queues: DashMap::new(), wait })
    }

    async fn lock(&self, name: &str, token: u64) -> Result<(), Error> {
        let deadline = Instant::now() + self.wait;
        let mut redis = self.redis.clone();
        loop {
            let mut ask = redis::cmd("SET");
            ask.arg(name).arg(token).arg("NX").arg("PX").arg(HELD_MAX_MS);
            if ask.query_async::<Option<String>>(&mut redis).await?.is_some() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::Busy("the lock was not free in time"));
            }
            let pause = Duration::from_micros(rand::rng().random_range(POLL_US / 4..POLL_US));
            tokio::time::sleep(pause).await;
        }
    }

    /// `None` when nothing is left.
    async fn booked(&self, attempt: &Attempt) -> Result<Option<Outcome>, Error> {
        let client = self.postgres.get().await?;
        let statement = client.prepare_cached(BOOK).await?;
        let parameters: [&(dyn ToSql + Sync); 3] = [&attempt.session_id, &attempt.patient_id, &attempt.key];
        match client.query_opt(&statement, &parameters).await {
            Ok(Some(row)) => Ok(Some(Outcome::Booked { number: row.try_get("number")? })),
            Ok(None) => Ok(None),
            Err(error) if is_violation(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[async_trait]
impl System for RedisLock {
    async fn open(&self, sessions: Vec<Session>) -> Result<(), Error> {
        self.postgres.open_sessions(&sessions).await
    }

    async fn book(&self, attempt: Attempt) -> Result<Outcome, Error> {
        let first = look(&self.postgres.get().await?, &attempt).await?;
        if let Some(outcome) = first.settled() {
            return Ok(outcome);
        }
        let queue = Arc::clone(&self.queues.entry(attempt.session_id.clone()).or_default());
        let turn = tokio::time::timeout(self.wait, queue.lock()).await;
        let _turn = turn.map_err(|_| Error::Busy("the turn did not come in time"))?;
        let name = format!("lock:{}", attempt.session_id);
        let token: u64 = rand::rng().random();
        self.lock(&name, token).await?;
        let booked = self.booked(&attempt).await;
        let released: Result<i64, _> = self.release.key(&name).arg(token).invoke_async(&mut self.redis.clone()).await;
        let booked = booked?;
        released?;
        match booked {
            Some(outcome) => Ok(outcome),
            None => self.postgres.after_violation(&attempt).await,
        }
    }

    async fn record(&self) -> Result<Vec<Booked>, Error> {
        self.postgres.bookings().await
    }
}
