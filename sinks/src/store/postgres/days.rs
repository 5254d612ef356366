//! The tables of days: decisions by the day of the log, appointments by the day of the session.
//!
//! A commit that needs a day without a table makes it first, in a transaction of its own, and the next day's with it, so that
//! at midnight nobody waits. Several nodes may do so at once.

use std::sync::{Mutex, PoisonError};

use deadpool_postgres::ClientWrapper;
use jiff::ToSpan as _;
use jiff::civil::Date;
use rustc_hash::FxHashSet;

use super::error::Failure;
use super::migrations::LOCK;

/// A table that has a table for each day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Daily {
    Decisions,
    Appointments,
}

impl Daily {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Decisions => "decisions",
            Self::Appointments => "appointments",
        }
    }

    /// The name of a day's table.
    pub(super) fn of_day(self, day: Date) -> String {
        format!("{}_{day}", self.name())
    }

    /// The day of a table's name.
    pub(super) fn day_of(self, name: &str) -> Option<Date> {
        name.strip_prefix(self.name())?.strip_prefix('_')?.parse().ok()
    }
}

/// The days whose tables are there, as far as this node knows.
#[derive(Debug, Default)]
pub(super) struct Days(Mutex<FxHashSet<(Daily, Date)>>);

impl Days {
    /// Those of these days of decisions that may have no table yet.
    pub(super) fn unknown_decisions(&self, days: impl IntoIterator<Item = Date>) -> Vec<Date> {
        self.unknown(Daily::Decisions, days)
    }

    /// Those of these days of appointments that may have no table yet.
    pub(super) fn unknown_appointments(&self, days: impl IntoIterator<Item = Date>) -> Vec<Date> {
        self.unknown(Daily::Appointments, days)
    }

    fn unknown(&self, daily: Daily, days: impl IntoIterator<Item = Date>) -> Vec<Date> {
        let mut days: Vec<_> = days.into_iter().collect();
        days.dedup();
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        days.retain(|day| !known.contains(&(daily, *day)));
        days.sort_unstable();
        days.dedup();
        days
    }

    /// Forgets what it knows, because a table was dropped.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Makes the tables of these days where they are missing.
    pub(super) async fn make(
        &self,
        client: &ClientWrapper,
        decisions: &[Date],
        appointments: &[Date],
    ) -> Result<(), Failure> {
        let ahead = decisions.iter().filter_map(|day| day.tomorrow().ok());
        let mut wanted: Vec<_> = decisions.iter().copied().chain(ahead).map(|day| (Daily::Decisions, day)).collect();
        wanted.extend(appointments.iter().map(|day| (Daily::Appointments, *day)));
        client.batch_execute("BEGIN").await?;
        client.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
        for (daily, day) in &wanted {
            make(client, *daily, *day).await?;
        }
        client.batch_execute("COMMIT").await?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(wanted);
        Ok(())
    }
}

/// Makes one day's table. A table that is made apart and attached holds up no commit, unlike one that is made in its place.
async fn make(client: &ClientWrapper, daily: Daily, day: Date) -> Result<(), Failure> {
    let (parent, table) = (daily.name(), daily.of_day(day));
    let attached = client
        .query_opt(
            "SELECT 1 FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid \
             WHERE i.inhparent = $1::text::regclass AND c.relname = $2",
            &[&parent, &table],
        )
        .await?;
    if attached.is_some() {
        return Ok(());
    }
    let Ok(next) = day.checked_add(1.day()) else { return Ok(()) };
    let fill = match daily {
        Daily::Decisions => "",
        // Room for appointments that end.
        Daily::Appointments => " WITH (fillfactor = 90)",
    };
    client
        .batch_execute(&format!(
            "CREATE TABLE IF NOT EXISTS \"{table}\" (LIKE {parent} INCLUDING DEFAULTS INCLUDING CONSTRAINTS){fill}; \
             ALTER TABLE {parent} ATTACH PARTITION \"{table}\" FOR VALUES FROM ('{day}') TO ('{next}')"
        ))
        .await?;
    Ok(())
}
