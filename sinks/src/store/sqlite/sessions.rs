//! Session rows, and the writer's copy of those it touched lately.

use orderly_domain::port::store::SessionState;
use orderly_domain::{Partition, Position, Session, SessionId, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use rustc_hash::FxHashMap;

use crate::sqlite::{bad, parsed, text};
use crate::store::codes;

/// A session's row.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) key: i64,
    /// The partition of its doctor's records.
    pub(super) partition: Partition,
    pub(super) state: SessionState,
}

/// The query for [`row`], with what follows `FROM sessions`.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT session_key, partition, session_id, doctor_id, doctor_name, department, campus, day, start_time, ",
            "end_time, timezone, capacity, release_at_us, ends_at_us, exclusivity, closed, booked, changed_partition, ",
            "changed_offset FROM sessions ",
            $rest
        )
    };
}

fn row(row: &Row<'_>) -> rusqlite::Result<Known> {
    let session = Session {
        session_id: text(row, 2)?,
        doctor_id: text(row, 3)?,
        doctor_name: row.get(4)?,
        department: text(row, 5)?,
        campus: text(row, 6)?,
        day: parsed(row, 7)?,
        start: parsed(row, 8)?,
        end: parsed(row, 9)?,
        timezone: row.get(10)?,
        capacity: row.get(11)?,
        release_at: Timestamp::from_micros(row.get(12)?),
        ends_at: Timestamp::from_micros(row.get(13)?),
        exclusivity: codes::exclusivity_of(row.get(14)?).ok_or_else(|| bad(14, "no such exclusivity"))?,
    };
    let changed_at = Position { partition: row.get(17)?, offset: row.get::<_, i64>(18)?.cast_unsigned() };
    let state = SessionState { session, closed: row.get(15)?, booked: row.get(16)?, changed_at };
    Ok(Known { key: row.get(0)?, partition: row.get(1)?, state })
}

/// One session.
pub(super) fn find(connection: &Connection, id: &SessionId) -> rusqlite::Result<Option<Known>> {
    connection.prepare_cached(select!("WHERE session_id = ?"))?.query_row([id.as_str()], row).optional()
}

/// The sessions of a day, written as in the table, and later.
pub(super) fn since(connection: &Connection, day: &str) -> rusqlite::Result<Vec<Known>> {
    connection.prepare_cached(select!("WHERE day >= ? ORDER BY session_key"))?.query_map([day], row)?.collect()
}

/// Adds a session and gives it its key.
fn insert(connection: &Connection, partition: Partition, state: &SessionState) -> rusqlite::Result<i64> {
    let session = &state.session;
    let mut statement = connection.prepare_cached(
        "INSERT INTO sessions (session_id, doctor_id, doctor_name, department, campus, day, start_time, end_time, \
         timezone, capacity, release_at_us, ends_at_us, exclusivity, closed, booked, partition, changed_partition, \
         changed_offset) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    statement.insert(params![
        session.session_id.as_str(),
        session.doctor_id.as_str(),
        session.doctor_name,
        session.department.as_str(),
        session.campus.as_str(),
        session.day.to_string(),
        session.start.to_string(),
        session.end.to_string(),
        session.timezone,
        session.capacity,
        session.release_at.as_micros(),
        session.ends_at.as_micros(),
        codes::exclusivity(session.exclusivity),
        state.closed,
        state.booked,
        partition,
        state.changed_at.partition,
        state.changed_at.offset.cast_signed(),
    ])
}

/// Writes everything that can change of a session.
fn update(connection: &Connection, known: &Known) -> rusqlite::Result<usize> {
    let Known { key, state, .. } = known;
    let session = &state.session;
    let mut statement = connection.prepare_cached(
        "UPDATE sessions SET doctor_name = ?, campus = ?, start_time = ?, end_time = ?, timezone = ?, capacity = ?, \
         release_at_us = ?, ends_at_us = ?, closed = ?, booked = ?, changed_partition = ?, changed_offset = ? \
         WHERE session_key = ?",
    )?;
    statement.execute(params![
        session.doctor_name,
        session.campus.as_str(),
        session.start.to_string(),
        session.end.to_string(),
        session.timezone,
        session.capacity,
        session.release_at.as_micros(),
        session.ends_at.as_micros(),
        state.closed,
        state.booked,
        state.changed_at.partition,
        state.changed_at.offset.cast_signed(),
        key,
    ])
}

/// Where a session lies in [`Sessions`], until they are forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(usize);

/// The sessions that the writer touched lately. Each is written once a transaction, however many decisions change it.
#[derive(Debug)]
pub(super) struct Sessions {
    places: FxHashMap<SessionId, Place>,
    known: Vec<Known>,
    touched: Vec<bool>,
    max: usize,
    utc_day: i64,
}

impl Sessions {
    /// Starts anew when it holds more than `max`, or when a day has passed, so that past sessions leave it.
    pub(super) fn new(max: usize) -> Self {
        Self { places: FxHashMap::default(), known: Vec::new(), touched: Vec::new(), max, utc_day: i64::MIN }
    }

    /// Before a transaction whose newest record the log took at `logged_at`.
    pub(super) fn begin(&mut self, logged_at: Timestamp) {
        if self.known.len() > self.max || self.utc_day != logged_at.utc_day() {
            self.forget();
            self.utc_day = logged_at.utc_day();
        }
    }

    /// After a transaction that was rolled back: what is here may not be what is in the table.
    pub(super) fn forget(&mut self) {
        self.places.clear();
        self.known.clear();
        self.touched.clear();
    }

    /// Finds a session here or in its table.
    pub(super) fn find(&mut self, connection: &Connection, id: &SessionId) -> rusqlite::Result<Option<Place>> {
        if let Some(place) = self.places.get(id) {
            return Ok(Some(*place));
        }
        Ok(find(connection, id)?.map(|known| self.keep(known)))
    }

    /// Adds a session that is in no table yet.
    pub(super) fn open(
        &mut self,
        connection: &Connection,
        partition: Partition,
        state: SessionState,
    ) -> rusqlite::Result<Place> {
        let key = insert(connection, partition, &state)?;
        Ok(self.keep(Known { key, partition, state }))
    }

    fn keep(&mut self, known: Known) -> Place {
        let place = Place(self.known.len());
        self.places.insert(known.state.session.session_id.clone(), place);
        self.known.push(known);
        self.touched.push(false);
        place
    }

    pub(super) fn get(&self, place: Place) -> &Known {
        &self.known[place.0]
    }

    /// The state, to be changed by the record at `position`.
    pub(super) fn change(&mut self, place: Place, position: Position) -> &mut SessionState {
        self.touched[place.0] = true;
        let state = &mut self.known[place.0].state;
        state.changed_at = position;
        state
    }

    /// Writes those that changed.
    pub(super) fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        for (known, touched) in self.known.iter().zip(&mut self.touched) {
            if std::mem::take(touched) {
                update(connection, known)?;
            }
        }
        Ok(())
    }
}
