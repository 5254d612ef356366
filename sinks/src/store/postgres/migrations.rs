//! A schema's version is in a table of its own: one row for each migration that the database has had.

use deadpool_postgres::ClientWrapper;
use orderly_domain::port;

use super::error::Failure;

/// Nodes that start at once migrate one after the other. It also keeps those apart that make or drop a day's tables.
pub(crate) const LOCK: i64 = 0x6f72_6465_726c_7901;

/// Brings a database to the newest version: runs those migrations, in order, that it has not had. `versions` is the table
/// that knows which.
pub(crate) async fn migrate(client: &ClientWrapper, versions: &str, migrations: &[&str]) -> Result<(), Failure> {
    durable(client).await?;
    // Another node's migration may take longer than a statement may.
    client.batch_execute("BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '60s'").await?;
    client.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    client
        .batch_execute(&format!(
            "CREATE TABLE IF NOT EXISTS {versions} (version int PRIMARY KEY, applied_at timestamptz NOT NULL)"
        ))
        .await?;
    let row = client.query_one(&format!("SELECT COALESCE(MAX(version), 0) FROM {versions}"), &[]).await?;
    let had = usize::try_from(super::rows::column::<i32>(&row, 0)?).unwrap_or_default();
    if had > migrations.len() {
        let known = migrations.len();
        let text = format!("its schema has version {had}, this program knows {known}; use the program that wrote it");
        return Err(port::Error::Corrupt(text).into());
    }
    for (version, migration) in (1_i32..).zip(migrations).skip(had) {
        client.batch_execute(migration).await?;
        client.execute(&format!("INSERT INTO {versions} VALUES ($1, now())"), &[&version]).await?;
    }
    client.batch_execute("COMMIT").await?;
    Ok(())
}

/// A commit that is answered must be on the disk.
async fn durable(client: &ClientWrapper) -> Result<(), Failure> {
    let row = client.query_one("SELECT current_setting('synchronous_commit')", &[]).await?;
    if super::rows::column::<&str>(&row, 0)? == "off" {
        let text =
            "synchronous_commit is off, so PostgreSQL could lose what was answered; turn it on for this database";
        return Err(port::Error::DidNotHappen(text.into()).into());
    }
    Ok(())
}
