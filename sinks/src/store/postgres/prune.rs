//! Retention: old days are dropped whole.

use std::collections::{BTreeMap, BTreeSet};

use deadpool_postgres::ClientWrapper;
use jiff::civil::Date;
use orderly_domain::{Offset, Partition};

use super::days::Daily;
use super::error::Failure;
use super::migrations::LOCK;
use super::rows::{column, known_day, maybe_offset, offset, partition};

/// Forgets what [`orderly_domain::port::Store::prune`] says, by whole days, and tells how many decisions.
pub(super) async fn prune(client: &ClientWrapper, before: Date, below: &[(Partition, Offset)]) -> Result<u64, Failure> {
    // Whoever has it makes or drops a day's tables; it outlives the transactions below.
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await?;
    let forgotten = forget(client, known_day(before), below).await;
    client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await?;
    forgotten
}

/// See [`orderly_domain::port::Store::kept_since`].
pub(super) async fn kept_since(client: &ClientWrapper) -> Result<Option<Date>, Failure> {
    let select = client.prepare_cached("SELECT kept_since FROM retention").await?;
    client.query_opt(&select, &[]).await?.map(|row| column(&row, 0)).transpose()
}

async fn forget(client: &ClientWrapper, before: Date, below: &[(Partition, Offset)]) -> Result<u64, Failure> {
    // First, so that nobody takes what is missing for lost.
    client
        .execute(
            "INSERT INTO retention (kept_since) VALUES ($1) ON CONFLICT (only_row) DO UPDATE \
             SET kept_since = GREATEST(retention.kept_since, excluded.kept_since)",
            &[&before],
        )
        .await?;
    for (table, attached) in days(client, Daily::Appointments, |day| day < before).await? {
        let forget_tickets =
            format!("DELETE FROM tickets USING \"{table}\" AS a WHERE tickets.ticket_id = a.ticket_id");
        client.batch_execute(&forget_tickets).await?;
        drop_table(client, Daily::Appointments, &table, attached).await?;
    }
    client.execute("DELETE FROM patient_details WHERE day < $1", &[&before]).await?;
    let plan = Plan::of(client, before, below).await?;
    plan.forget_rows(client).await?;
    for (table, attached) in days(client, Daily::Decisions, |day| day < before && !plan.held.contains(&day)).await? {
        drop_table(client, Daily::Decisions, &table, attached).await?;
    }
    Ok(plan.going.iter().map(|span| span.end - span.first).sum())
}

/// A partition's decisions on one day.
#[derive(Clone, Copy, Debug)]
struct Span {
    day: Date,
    partition: Partition,
    first: Offset,
    end: Offset,
}

/// Which decisions go.
#[derive(Debug, Default)]
struct Plan {
    going: Vec<Span>,
    /// Days of which some partition's decisions stay: the newest of one that has rested since, or those up to a booking
    /// whose appointment is kept.
    held: BTreeSet<Date>,
}

impl Plan {
    async fn of(client: &ClientWrapper, before: Date, below: &[(Partition, Offset)]) -> Result<Self, Failure> {
        let mut floors: BTreeMap<Partition, Offset> = below.iter().copied().collect();
        let first_bookings = client
            .query(
                "SELECT p.partition, \
                 (SELECT MIN(a.log_offset) FROM appointments AS a WHERE a.partition = p.partition) FROM partitions AS p",
                &[],
            )
            .await?;
        for row in &first_bookings {
            if let (Some(floor), Some(booking)) = (floors.get_mut(&partition(row, 0)?), maybe_offset(row, 1)?) {
                *floor = booking.min(*floor);
            }
        }
        // Within a partition, days ascend with the offsets. The newest has no end yet, and stays.
        let rows = client
            .query(
                "SELECT partition, day, first_offset, \
                 LEAD(first_offset) OVER (PARTITION BY partition ORDER BY first_offset) FROM decision_days \
                 ORDER BY partition, first_offset",
                &[],
            )
            .await?;
        let mut plan = Self::default();
        for row in &rows {
            let (partition, day, first) = (partition(row, 0)?, column(row, 1)?, offset(row, 2)?);
            let floor = floors.get(&partition).copied().unwrap_or(0);
            match maybe_offset(row, 3)? {
                Some(end) if end <= floor && day < before => plan.going.push(Span { day, partition, first, end }),
                _ => {
                    plan.held.insert(day);
                }
            }
        }
        Ok(plan)
    }

    /// Takes what goes out of sight, and out of the tables that stay.
    async fn forget_rows(&self, client: &ClientWrapper) -> Result<(), Failure> {
        client.batch_execute("BEGIN").await?;
        for Span { day, partition, first, .. } in &self.going {
            let (partition, first) = (i32::from(*partition), first.cast_signed());
            let forget = "DELETE FROM decision_days WHERE partition = $1 AND first_offset = $2";
            client.execute(forget, &[&partition, &first]).await?;
            if self.held.contains(day) {
                let table = Daily::Decisions.of_day(*day);
                client.execute(&format!("DELETE FROM \"{table}\" WHERE partition = $1"), &[&partition]).await?;
            }
        }
        Ok(client.batch_execute("COMMIT").await?)
    }
}

/// The tables of those days, oldest first, and whether each is attached: one that was interrupted may have left some that
/// are not.
async fn days(
    client: &ClientWrapper,
    daily: Daily,
    of: impl Fn(Date) -> bool,
) -> Result<BTreeSet<(String, bool)>, Failure> {
    let rows = client
        .query(
            "SELECT c.relname::text, COALESCE(i.inhparent = $1::text::regclass, FALSE) FROM pg_class AS c \
             LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid \
             WHERE c.relkind = 'r' AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = $1::text::regclass)",
            &[&daily.name()],
        )
        .await?;
    let mut days = BTreeSet::new();
    for row in &rows {
        let table = column::<String>(row, 0)?;
        if daily.day_of(&table).is_some_and(&of) {
            days.insert((table, column(row, 1)?));
        }
    }
    Ok(days)
}

async fn drop_table(client: &ClientWrapper, daily: Daily, table: &str, attached: bool) -> Result<(), Failure> {
    if attached {
        detach(client, daily, table).await?;
    }
    Ok(client.batch_execute(&format!("DROP TABLE \"{table}\"")).await?)
}

/// Takes a table out without holding up commits. One that was begun and interrupted is ended.
async fn detach(client: &ClientWrapper, daily: Daily, table: &str) -> Result<(), Failure> {
    let pending = client
        .query_one(
            "SELECT EXISTS (SELECT 1 FROM pg_inherits WHERE inhrelid = quote_ident($1::text)::regclass AND inhdetachpending)",
            &[&table],
        )
        .await?;
    let how = if column(&pending, 0)? { "FINALIZE" } else { "CONCURRENTLY" };
    client.batch_execute(&format!("ALTER TABLE {} DETACH PARTITION \"{table}\" {how}", daily.name())).await?;
    Ok(())
}
