//! The tables that all systems on PostgreSQL share, and the questions that more than one of them asks.

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use jiff::civil::Date;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, NoTls, Row};

use crate::booking::{Attempt, Booked, Error, Outcome, Reason, Session};

/// The rules are constraints: whatever a system gets wrong, the tables refuse. Half of a session's page stays free, so that
/// its new versions need no new page and no index (heap-only tuples).
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS sessions (
    session_id text PRIMARY KEY,
    department text NOT NULL,
    day date NOT NULL,
    capacity int NOT NULL CHECK (capacity > 0),
    remaining int NOT NULL CHECK (remaining BETWEEN 0 AND capacity),
    version bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS bookings (
    session_id text NOT NULL,
    number int NOT NULL CHECK (number > 0),
    patient_id text NOT NULL,
    department text NOT NULL,
    day date NOT NULL,
    idempotency_key text NOT NULL,
    PRIMARY KEY (session_id, number),
    CONSTRAINT one_per_day UNIQUE (patient_id, department, day),
    CONSTRAINT one_per_key UNIQUE (patient_id, idempotency_key)
)";

/// Everything that an answer depends on, in one look, without a lock.
const LOOK: &str = "
SELECT s.remaining, s.version,
    (SELECT b.number FROM bookings b WHERE b.patient_id = $2 AND b.idempotency_key = $3) AS known,
    EXISTS (SELECT FROM bookings b WHERE b.patient_id = $2 AND b.department = s.department AND b.day = s.day) AS other
FROM sessions s WHERE s.session_id = $1";

/// What a look at a session found, for one attempt.
pub(crate) struct Look {
    /// The session's free numbers.
    pub(crate) remaining: i32,
    /// How often the session has changed.
    pub(crate) version: i64,
    /// The number that an earlier attempt with this key got.
    pub(crate) known: Option<i32>,
    /// The patient has a booking in that department on that day.
    pub(crate) other: bool,
}

impl Look {
    /// The answer, if it needs no number.
    pub(crate) fn settled(&self) -> Option<Outcome> {
        match self {
            Self { known: Some(number), .. } => Some(Outcome::Booked { number: *number }),
            Self { other: true, .. } => Some(Outcome::rejected(Reason::AlreadyBooked)),
            Self { remaining: ..=0, .. } => Some(Outcome::rejected(Reason::SoldOut)),
            _ => None,
        }
    }
}

/// PostgreSQL, by a pool of connections with prepared statements.
pub(crate) struct Postgres(Pool);

impl Postgres {
    /// Connects, and makes the tables when they are missing.
    pub(crate) async fn open(url: &str, connections: usize) -> Result<Self, Error> {
        let config: Config = url.parse()?;
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_config(config, NoTls, recycling)).max_size(connections.max(1)).build();
        let pool = pool.expect("without timeouts no runtime has to be named");
        pool.get().await?.batch_execute(SCHEMA).await?;
        Ok(Self(pool))
    }

    /// A connection, once one is free.
    pub(crate) async fn get(&self) -> Result<Object, Error> {
        Ok(self.0.get().await?)
    }

    /// Opens sessions.
    pub(crate) async fn open_sessions(&self, sessions: &[Session]) -> Result<(), Error> {
        let ids: Vec<_> = sessions.iter().map(|session| session.session_id.as_str()).collect();
        let departments: Vec<_> = sessions.iter().map(|session| session.department.as_str()).collect();
        let days: Vec<_> = sessions.iter().map(|session| session.day).collect();
        let capacities: Vec<_> = sessions.iter().map(|session| session.capacity).collect();
        let insert = "INSERT INTO sessions (session_id, department, day, capacity, remaining) \
                      SELECT id, department, day, capacity, capacity \
                      FROM unnest($1::text[], $2::text[], $3::date[], $4::int[]) AS s (id, department, day, capacity)";
        self.get().await?.execute(insert, &[&ids, &departments, &days, &capacities]).await?;
        Ok(())
    }

    /// All sessions, without what has been booked.
    pub(crate) async fn sessions(&self) -> Result<Vec<Session>, Error> {
        let rows = self.get().await?.query("SELECT session_id, department, day, capacity FROM sessions", &[]).await?;
        let session = |row: &Row| {
            let day: Date = row.try_get(2)?;
            Ok(Session { session_id: row.try_get(0)?, department: row.try_get(1)?, day, capacity: row.try_get(3)? })
        };
        rows.iter().map(session).collect()
    }

    /// All bookings.
    pub(crate) async fn bookings(&self) -> Result<Vec<Booked>, Error> {
        let rows = self.get().await?.query("SELECT session_id, number, patient_id FROM bookings", &[]).await?;
        let booked = |row: &Row| {
            Ok(Booked { session_id: row.try_get(0)?, number: row.try_get(1)?, patient_id: row.try_get(2)? })
        };
        rows.iter().map(booked).collect()
    }

    /// What became of an attempt that another one got ahead of: a constraint refused it, or its session was sold out meanwhile.
    pub(crate) async fn after_violation(&self, attempt: &Attempt) -> Result<Outcome, Error> {
        let look = look(&self.get().await?, attempt).await?;
        look.settled().ok_or(Error::Busy("another attempt of the same patient is under way"))
    }
}

/// Looks at a session for an attempt.
pub(crate) async fn look(client: &Object, attempt: &Attempt) -> Result<Look, Error> {
    let statement = client.prepare_cached(LOOK).await?;
    let row = client.query_opt(&statement, &[&attempt.session_id, &attempt.patient_id, &attempt.key]).await?;
    let row = row.ok_or(Error::UnknownSession)?;
    Ok(Look {
        remaining: row.try_get("remaining")?,
        version: row.try_get("version")?,
        known: row.try_get("known")?,
        other: row.try_get("other")?,
    })
}

/// Whether a constraint refused a second booking of the same patient.
pub(crate) fn is_violation(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::UNIQUE_VIOLATION)
}
