//! Entries as rows.

use orderly_domain::Timestamp;
use orderly_domain::audit::{Algorithm, Entry, Hash, Linked, Place};
use orderly_domain::port::audit::Extent;
use rusqlite::{Connection, Row, params};

use crate::sqlite::bad;

const COLUMNS: &str = "seq, at_us, node, number, actor, roles, client, method, route, target, request, body_bytes, status, \
     problem, calls, algorithm, previous, hash";

pub(super) fn insert(connection: &Connection, chain: &[Linked]) -> rusqlite::Result<()> {
    let places = "?, ".repeat(17);
    let mut insert = connection.prepare_cached(&format!("INSERT INTO audit_entries ({COLUMNS}) VALUES ({places}?)"))?;
    for Linked { seq, algorithm, previous, hash, entry } in chain {
        insert.execute(params![
            seq.cast_signed(),
            entry.at.as_micros(),
            entry.node,
            entry.number.cast_signed(),
            entry.actor,
            entry.roles,
            entry.client,
            entry.method,
            entry.route,
            entry.target,
            entry.request.as_bytes(),
            entry.body_bytes.cast_signed(),
            entry.status,
            entry.problem,
            entry.calls.cast_signed(),
            algorithm.code(),
            previous.as_bytes(),
            hash.as_bytes(),
        ])?;
    }
    Ok(())
}

pub(super) fn scan(connection: &Connection, from: u64, entries_max: usize) -> rusqlite::Result<Vec<Linked>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM audit_entries WHERE seq >= ? ORDER BY seq LIMIT ?"))?
        .query_map(params![from.cast_signed(), i64::try_from(entries_max).unwrap_or(i64::MAX)], linked)?
        .collect()
}

/// The places of an append whose first entry is that one, if it is there at `from` or behind it.
pub(super) fn find(connection: &Connection, from: u64, first: &Entry, count: usize) -> rusqlite::Result<Vec<Place>> {
    connection
        .prepare_cached(
            "SELECT seq, hash, at_us FROM audit_entries WHERE seq >= \
             (SELECT seq FROM audit_entries WHERE seq >= ? AND node = ? AND number = ?) ORDER BY seq LIMIT ?",
        )?
        .query_map(
            params![
                from.cast_signed(),
                first.node,
                first.number.cast_signed(),
                i64::try_from(count).unwrap_or(i64::MAX)
            ],
            |row| place(row, 0),
        )?
        .collect()
}

pub(super) fn extent(connection: &Connection) -> rusqlite::Result<Extent> {
    connection
        .prepare_cached("SELECT start_seq, start_hash, start_at_us, head_seq, head_hash, head_at_us FROM audit_chain")?
        .query_row([], |row| Ok(Extent { start: place(row, 0)?, head: place(row, 3)? }))
}

pub(super) fn place(row: &Row<'_>, column: usize) -> rusqlite::Result<Place> {
    Ok(Place { seq: number(row, column)?, hash: hash(row, column + 1)?, at: moment(row, column + 2)? })
}

fn linked(row: &Row<'_>) -> rusqlite::Result<Linked> {
    let entry = Entry {
        at: moment(row, 1)?,
        node: row.get(2)?,
        number: number(row, 3)?,
        actor: row.get(4)?,
        roles: row.get(5)?,
        client: row.get(6)?,
        method: row.get(7)?,
        route: row.get(8)?,
        target: row.get(9)?,
        request: hash(row, 10)?,
        body_bytes: number(row, 11)?,
        status: row.get(12)?,
        problem: row.get(13)?,
        calls: number(row, 14)?,
    };
    let algorithm = Algorithm::try_from(row.get::<_, i64>(15)?).map_err(|error| bad(15, error.to_string()))?;
    Ok(Linked { seq: number(row, 0)?, algorithm, previous: hash(row, 16)?, hash: hash(row, 17)?, entry })
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.cast_unsigned())
}

fn moment(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_micros)
}

fn hash(row: &Row<'_>, column: usize) -> rusqlite::Result<Hash> {
    let bytes = row.get_ref(column)?.as_blob().map_err(|error| bad(column, error.to_string()))?;
    Hash::try_from(bytes).map_err(|error| bad(column, error.to_string()))
}
