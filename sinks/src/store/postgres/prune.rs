//! Retention: old days are dropped whole.

use deadpool_postgres::ClientWrapper;
use jiff::civil::Date;

use super::days::Daily;
use super::error::Failure;
use super::migrations::LOCK;
use super::rows::column;

/// Drops the tables of days before that day, and tells how many.
///
/// Sessions stay: they are few, and decisions that are kept name them.
pub(super) async fn prune(client: &ClientWrapper, before: Date) -> Result<usize, Failure> {
    // Whoever has it makes or drops a day's tables; it outlives the transactions below.
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await?;
    let dropped = drop_days(client, before).await;
    client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await?;
    dropped
}

async fn drop_days(client: &ClientWrapper, before: Date) -> Result<usize, Failure> {
    let mut dropped = 0;
    for daily in Daily::ALL {
        for (table, day, attached) in days(client, daily).await? {
            if day >= before {
                continue;
            }
            if attached {
                detach(client, daily, &table).await?;
            }
            if daily == Daily::Appointments {
                client
                    .batch_execute(&format!(
                        "DELETE FROM tickets USING \"{table}\" AS a WHERE tickets.ticket_id = a.ticket_id"
                    ))
                    .await?;
            }
            client.batch_execute(&format!("DROP TABLE \"{table}\"")).await?;
            dropped += 1;
        }
    }
    client.execute("DELETE FROM decision_days WHERE day < $1", &[&before]).await?;
    Ok(dropped)
}

/// The tables of days, whether they are attached or were left detached by one that was interrupted, oldest first.
async fn days(client: &ClientWrapper, daily: Daily) -> Result<Vec<(String, Date, bool)>, Failure> {
    let rows = client
        .query(
            "SELECT c.relname::text, COALESCE(i.inhparent = $1::text::regclass, FALSE) FROM pg_class AS c \
             LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid \
             WHERE c.relkind = 'r' AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = $1::text::regclass)",
            &[&daily.name()],
        )
        .await?;
    let mut days = Vec::new();
    for row in &rows {
        let table = column::<String>(row, 0)?;
        if let Some(day) = daily.day_of(&table) {
            days.push((table, day, column(row, 1)?));
        }
    }
    days.sort_unstable_by_key(|(_, day, _)| *day);
    Ok(days)
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
