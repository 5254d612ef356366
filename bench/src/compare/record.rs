//! What the systems of record hold.

use std::path::Path;

use anyhow::ensure;
use orderly_baselines::Booked;
use rusqlite::OpenFlags;
use tokio_postgres::NoTls;

use super::system::{ANSWER_MAX, DATABASE};
use crate::limits::servers::Servers;

/// The active appointments, in SQLite and in PostgreSQL.
const RECORD: &str = "SELECT s.session_id, a.number, a.patient_id FROM appointments a \
                      JOIN sessions s ON s.session_key = a.session_key WHERE a.status = 0";

/// What a baseline's system of record holds, once nothing is on its way to it.
pub(super) async fn baseline_record(url: &str) -> anyhow::Result<Vec<Booked>> {
    let answer = reqwest::Client::new().get(format!("{url}/bookings")).timeout(ANSWER_MAX).send().await?;
    ensure!(answer.status().is_success(), "the record could not be read: {}", answer.text().await?);
    Ok(answer.json().await?)
}

/// What the embedded profile's store holds.
pub(super) fn embedded_record(data: &Path) -> anyhow::Result<Vec<Booked>> {
    let store = data.join(orderly_sinks::store::sqlite::FILE);
    let store = rusqlite::Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut select = store.prepare(RECORD)?;
    let booked =
        |row: &rusqlite::Row<'_>| Ok(Booked { session_id: row.get(0)?, number: row.get(1)?, patient_id: row.get(2)? });
    Ok(select.query_map([], booked)?.collect::<Result<_, _>>()?)
}

/// What the distributed profile's store holds.
pub(super) async fn distributed_record(servers: &Servers) -> anyhow::Result<Vec<Booked>> {
    record(&servers.postgres.url(DATABASE), RECORD).await
}

/// What is written in a baseline's tables, whatever is on its way to them.
pub(super) async fn written(url: &str) -> anyhow::Result<Vec<Booked>> {
    record(url, "SELECT session_id, number, patient_id FROM bookings").await
}

async fn record(url: &str, select: &str) -> anyhow::Result<Vec<Booked>> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let connection = tokio::spawn(connection);
    let rows = client.query(select, &[]).await?;
    drop(client);
    connection.await??;
    let booked = |row: &tokio_postgres::Row| {
        Ok(Booked { session_id: row.try_get(0)?, number: row.try_get(1)?, patient_id: row.try_get(2)? })
    };
    rows.iter().map(booked).collect()
}
