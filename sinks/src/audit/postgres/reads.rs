//! Reading the trail, as the role that may.

use deadpool_postgres::ClientWrapper;
use futures::future::try_join;
use orderly_domain::audit::{Algorithm, Entry, Hash, Linked, Place};
use orderly_domain::port::audit::Extent;
use orderly_domain::{Timestamp, port};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

use super::{MIGRATIONS, VERSIONS, role};
use crate::store::postgres::error::Failure;
use crate::store::postgres::rows::{column, moment, offset, unreadable};

/// Begins a transaction as the auditor.
pub(super) async fn as_auditor(client: &ClientWrapper) -> Result<(), Failure> {
    let begun = client.batch_execute("BEGIN; SET LOCAL ROLE orderly_auditor").await;
    begun.map_err(|error| role::explained(error.into()))
}

/// See [`orderly_domain::port::Audit::scan`].
pub(super) async fn scan(client: &ClientWrapper, from: u64, entries_max: usize) -> Result<Vec<Linked>, Failure> {
    as_auditor(client).await?;
    let scan = client
        .prepare_cached(
            "SELECT seq, at_us, node, number, actor, roles, client, method, route, target, request, body_bytes, status, \
             problem, calls, algorithm, previous, hash FROM audit_entries WHERE seq >= $1 ORDER BY seq LIMIT $2",
        )
        .await?;
    let (from, most) = (from.cast_signed(), i64::try_from(entries_max).unwrap_or(i64::MAX));
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&from, &most];
    let (rows, ()) = try_join(client.query(&scan, &parameters), client.batch_execute("COMMIT")).await?;
    rows.iter().map(linked).collect()
}

/// See [`orderly_domain::port::Audit::extent`].
pub(super) async fn extent(client: &ClientWrapper) -> Result<Extent, Failure> {
    let extent = client
        .prepare_cached("SELECT start_seq, start_hash, start_at_us, head_seq, head_hash, head_at_us FROM audit_chain")
        .await?;
    let row = client.query_one(&extent, &[]).await?;
    Ok(Extent { start: place(&row, 0)?, head: place(&row, 3)? })
}

/// Checks that the schema is there, and is this program's.
pub(super) async fn check_version(client: &ClientWrapper) -> Result<(), Failure> {
    let known = MIGRATIONS.len();
    let missing = || {
        let text =
            format!("there is no audit trail of version {known} in this database; start the server once to make it");
        Failure::from(port::Error::DidNotHappen(text))
    };
    let found = client.query_one(&format!("SELECT COALESCE(MAX(version), 0) FROM {VERSIONS}"), &[]).await;
    let found = found.map_err(|error| match error.code() {
        Some(&SqlState::UNDEFINED_TABLE) => missing(),
        _ => error.into(),
    })?;
    if usize::try_from(column::<i32>(&found, 0)?) == Ok(known) { Ok(()) } else { Err(missing()) }
}

pub(super) fn place(row: &Row, index: usize) -> Result<Place, Failure> {
    Ok(Place { seq: offset(row, index)?, hash: hash(row, index + 1)?, at: moment(row, index + 2)? })
}

fn linked(row: &Row) -> Result<Linked, Failure> {
    let text = |index| column::<String>(row, index);
    let entry = Entry {
        at: Timestamp::from_micros(column(row, 1)?),
        node: text(2)?,
        number: offset(row, 3)?,
        actor: column(row, 4)?,
        roles: text(5)?,
        client: text(6)?,
        method: text(7)?,
        route: text(8)?,
        target: text(9)?,
        request: hash(row, 10)?,
        body_bytes: offset(row, 11)?,
        status: u16::try_from(column::<i32>(row, 12)?).map_err(|_| unreadable("no HTTP status"))?,
        problem: column(row, 13)?,
        calls: offset(row, 14)?,
    };
    let algorithm = Algorithm::try_from(i64::from(column::<i32>(row, 15)?));
    let algorithm = algorithm.map_err(|error| unreadable(&error.to_string()))?;
    Ok(Linked { seq: offset(row, 0)?, algorithm, previous: hash(row, 16)?, hash: hash(row, 17)?, entry })
}

fn hash(row: &Row, index: usize) -> Result<Hash, Failure> {
    Hash::try_from(column::<&[u8]>(row, index)?).map_err(|error| unreadable(&error.to_string()))
}
