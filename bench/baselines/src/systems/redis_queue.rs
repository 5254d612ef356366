//! The flash sale's recipe: a script in Redis decides and queues the booking in one step, the patient is answered, and a
//! worker writes to PostgreSQL in batches. Whatever Redis forgets before it is written was promised and is lost.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dashmap::DashMap;
use redis::aio::MultiplexedConnection;
use redis::streams::StreamReadReply;
use redis::{AsyncConnectionConfig, Client, Script};
use tokio::time::Instant;

use super::System;
use crate::booking::{Attempt, Booked, Error, Outcome, Reason, Session};
use crate::postgres::Postgres;

/// KEYS: session, idempotency key, patient's day, queue. ARGV: session, patient, key.
/// Answers with a number, or 0 for sold out, -1 for already booked, -2 for an unknown session.
const BOOK: &str = "
local known = redis.call('GET', KEYS[2])
if known then return tonumber(known) end
local session = redis.call('HMGET', KEYS[1], 'capacity', 'remaining')
if not session[1] then return -2 end
if redis.call('EXISTS', KEYS[3]) == 1 then return -1 end
if tonumber(session[2]) <= 0 then return 0 end
local number = session[1] - redis.call('HINCRBY', KEYS[1], 'remaining', -1)
redis.call('SET', KEYS[2], number)
redis.call('SET', KEYS[3], number)
redis.call('XADD', KEYS[4], '*', 's', ARGV[1], 'n', number, 'p', ARGV[2], 'k', ARGV[3])
return number";

const QUEUE: &str = "bookings";
const GROUP: &str = "writers";
/// Bookings that are written by one transaction, at most.
const BATCH: usize = 1_000;
/// How long the worker waits for the first of a batch.
const BLOCK_MS: usize = 100;
/// The worker's pause after a failure.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a record is waited for that is on its way.
const SETTLE_MAX: Duration = Duration::from_secs(60);
const SETTLE_STEP: Duration = Duration::from_millis(5);

const WRITE: &str = "
INSERT INTO bookings (session_id, number, patient_id, department, day, idempotency_key)
SELECT b.session_id, b.number, b.patient_id, s.department, s.day, b.key
FROM unnest($1::text[], $2::int[], $3::text[], $4::text[]) AS b (session_id, number, patient_id, key)
JOIN sessions s USING (session_id)
ON CONFLICT DO NOTHING";

/// Bookings by a script in Redis.
pub(super) struct RedisQueue {
    postgres: Postgres,
    redis: MultiplexedConnection,
    book: Script,
    /// By session: its department and day, as a key's end.
    days: DashMap<String, String>,
}

impl RedisQueue {
    /// Starts the worker too; it ends with the process.
    pub(super) async fn open(postgres: Postgres, url: &str) -> Result<Arc<Self>, Error> {
        let redis = connect(url).await?;
        let queue = Arc::new(Self { postgres, redis, book: Script::new(BOOK), days: DashMap::new() });
        for session in queue.postgres.sessions().await? {
            queue.remember(&session);
        }
        let make = redis::cmd("XGROUP").arg("CREATE").arg(QUEUE).arg(GROUP).arg("0").arg("MKSTREAM").to_owned();
        match make.query_async::<()>(&mut queue.redis.clone()).await {
            Err(error) if error.code() != Some("BUSYGROUP") => return Err(error.into()),
            _ => {}
        }
        // A connection of its own: a wait for the queue holds up whatever comes after it.
        let reader = connect(url).await?;
        tokio::spawn(work(Arc::downgrade(&queue), reader));
        Ok(queue)
    }

    fn remember(&self, session: &Session) {
        self.days.insert(session.session_id.clone(), format!("{}:{}", session.department, session.day));
    }

    /// Writes what was read, and then takes it from the queue: in this order, so that a crash writes twice rather than never.
    async fn write(&self, reply: StreamReadReply) -> Result<usize, Error> {
        let (mut ids, mut rows) = (Vec::new(), (Vec::new(), Vec::new(), Vec::new(), Vec::new()));
        for entry in reply.keys.into_iter().flat_map(|stream| stream.ids) {
            let text = |name| entry.get::<String>(name).unwrap_or_default();
            rows.0.push(text("s"));
            rows.1.push(entry.get::<i32>("n").unwrap_or_default());
            rows.2.push(text("p"));
            rows.3.push(text("k"));
            ids.push(entry.id);
        }
        if ids.is_empty() {
            return Ok(0);
        }
        let client = self.postgres.get().await?;
        let statement = client.prepare_cached(WRITE).await?;
        client.execute(&statement, &[&rows.0, &rows.1, &rows.2, &rows.3]).await?;
        let mut done = redis::pipe();
        done.atomic().cmd("XACK").arg(QUEUE).arg(GROUP).arg(&ids).ignore().cmd("XDEL").arg(QUEUE).arg(&ids).ignore();
        done.query_async::<()>(&mut self.redis.clone()).await?;
        Ok(ids.len())
    }
}

/// Connects to Redis; answers may take as long as they take.
pub(super) async fn connect(url: &str) -> Result<MultiplexedConnection, Error> {
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    Ok(Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await?)
}

/// First what an earlier worker read and did not write (from 0), then what is new (from >).
async fn work(queue: std::sync::Weak<RedisQueue>, mut reader: MultiplexedConnection) {
    let mut from = "0";
    loop {
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg("1").arg("COUNT").arg(BATCH).arg("BLOCK").arg(BLOCK_MS);
        read.arg("STREAMS").arg(QUEUE).arg(from);
        let reply = read.query_async::<Option<StreamReadReply>>(&mut reader).await;
        let Some(queue) = queue.upgrade() else { return };
        let written = match reply {
            Ok(reply) => queue.write(reply.unwrap_or_default()).await,
            Err(error) => Err(error.into()),
        };
        match written {
            Ok(0) => from = ">",
            Ok(_) => {}
            Err(_) => {
                from = "0";
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

#[async_trait]
impl System for RedisQueue {
    async fn open(&self, sessions: Vec<Session>) -> Result<(), Error> {
        self.postgres.open_sessions(&sessions).await?;
        let mut pipe = redis::pipe();
        for session in &sessions {
            let mut set = redis::cmd("HSET");
            set.arg(format!("session:{}", session.session_id));
            set.arg("capacity").arg(session.capacity).arg("remaining").arg(session.capacity);
            pipe.add_command(set).ignore();
            self.remember(session);
        }
        Ok(pipe.query_async(&mut self.redis.clone()).await?)
    }

    async fn book(&self, attempt: Attempt) -> Result<Outcome, Error> {
        let Attempt { session_id, patient_id, key } = &attempt;
        let day = self.days.get(session_id).ok_or(Error::UnknownSession)?.clone();
        let mut call = self.book.prepare_invoke();
        call.key(format!("session:{session_id}")).key(format!("key:{patient_id}:{key}"));
        call.key(format!("day:{patient_id}:{day}")).key(QUEUE);
        call.arg(session_id).arg(patient_id).arg(key);
        match call.invoke_async(&mut self.redis.clone()).await? {
            0 => Ok(Outcome::rejected(Reason::SoldOut)),
            -1 => Ok(Outcome::rejected(Reason::AlreadyBooked)),
            -2 => Err(Error::UnknownSession),
            number => Ok(Outcome::Booked { number }),
        }
    }

    async fn record(&self) -> Result<Vec<Booked>, Error> {
        let deadline = Instant::now() + SETTLE_MAX;
        let waiting = redis::cmd("XLEN").arg(QUEUE).to_owned();
        while waiting.query_async::<u64>(&mut self.redis.clone()).await? > 0 {
            if Instant::now() > deadline {
                return Err(Error::Busy("bookings wait in Redis for PostgreSQL"));
            }
            tokio::time::sleep(SETTLE_STEP).await;
        }
        self.postgres.bookings().await
    }
}
