//! The systems, each in a file of its own.

mod conditional;
mod memory;
mod optimistic;
mod redis_lock;
mod redis_queue;
mod row_lock;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::booking::{Attempt, Booked, Error, Outcome, Session};
use crate::postgres::Postgres;

/// Decides bookings.
#[async_trait]
pub trait System: Send + Sync {
    /// Opens sessions that nobody opened before.
    ///
    /// # Errors
    /// When a server behind it fails.
    async fn open(&self, sessions: Vec<Session>) -> Result<(), Error>;

    /// Decides an attempt, or finds its repetition's outcome.
    ///
    /// # Errors
    /// When there is no final answer.
    async fn book(&self, attempt: Attempt) -> Result<Outcome, Error>;

    /// What the system of record holds, once nothing is on its way to it.
    ///
    /// # Errors
    /// When a server behind it fails, or something is on its way for more than a minute.
    async fn record(&self) -> Result<Vec<Booked>, Error>;
}

/// Which system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Kind {
    /// PostgreSQL: `SELECT … FOR UPDATE` on the session's row, then an insert
    RowLock,
    /// PostgreSQL: a version column, compared and raised; the loser tries again
    Optimistic,
    /// PostgreSQL: one `UPDATE … WHERE remaining > 0` with its insert, in one statement
    Conditional,
    /// A lock in Redis around the transaction in PostgreSQL
    RedisLock,
    /// Redis decides and answers; PostgreSQL is written later, from a queue
    RedisQueue,
    /// Compare-and-swap in memory; nothing is kept
    Memory,
}

impl Kind {
    /// Every one.
    pub const ALL: [Self; 6] =
        [Self::RowLock, Self::Optimistic, Self::Conditional, Self::RedisLock, Self::RedisQueue, Self::Memory];
}

/// What a system is started with.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// PostgreSQL as postgres://USER@HOST:PORT/DATABASE
    #[arg(long, default_value = "postgres://orderly@127.0.0.1:5432/orderly")]
    pub postgres: String,
    /// Redis as redis://HOST:PORT
    #[arg(long, default_value = "redis://127.0.0.1:6379")]
    pub redis: String,
    /// Connections to PostgreSQL
    #[arg(long, default_value_t = 32)]
    pub pool: usize,
    /// How often an optimistic attempt is made before it is answered 503
    #[arg(long, default_value_t = 20)]
    pub attempts_max: u32,
    /// Milliseconds that an attempt waits for the lock in Redis before it is answered 503
    #[arg(long, default_value_t = 10_000)]
    pub lock_wait_ms: u64,
}

/// Starts a system; its tables are made when they are missing.
///
/// # Errors
/// When PostgreSQL or Redis, where the system has it, cannot be reached.
pub async fn start(kind: Kind, options: &Options) -> Result<Arc<dyn System>, Error> {
    let postgres = async || Postgres::open(&options.postgres, options.pool).await;
    Ok(match kind {
        Kind::RowLock => Arc::new(row_lock::RowLock::new(postgres().await?)),
        Kind::Optimistic => Arc::new(optimistic::Optimistic::new(postgres().await?, options.attempts_max)),
        Kind::Conditional => Arc::new(conditional::Conditional::new(postgres().await?)),
        Kind::RedisLock => {
            let wait = Duration::from_millis(options.lock_wait_ms);
            Arc::new(redis_lock::RedisLock::open(postgres().await?, &options.redis, wait).await?)
        }
        Kind::RedisQueue => redis_queue::RedisQueue::open(postgres().await?, &options.redis).await?,
        Kind::Memory => Arc::new(memory::Memory::default()),
    })
}
