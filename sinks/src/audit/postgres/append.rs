//! Appending: lock the end of the chain, link, write, move the end.

use deadpool_postgres::ClientWrapper;
use futures::future::{try_join, try_join3};
use orderly_domain::audit::{Algorithm, Entry, Linked, Place, chain};

use super::reads::place;
use super::role;
use crate::store::postgres::error::Failure;

/// See [`orderly_domain::port::Audit::append`]. With `look_from`, an earlier try may have happened.
pub(super) async fn append(
    client: &ClientWrapper,
    algorithm: Algorithm,
    entries: &[Entry],
    look_from: Option<u64>,
) -> Result<Vec<Place>, Failure> {
    let lock = client
        .prepare_cached("SELECT head_seq, head_hash, head_at_us FROM audit_chain WHERE only_row = 1 FOR UPDATE")
        .await?;
    let insert = client
        .prepare_cached(
            "INSERT INTO audit_entries (seq, at_us, node, number, actor, roles, client, method, route, target, request, \
             body_bytes, status, problem, calls, algorithm, previous, hash) \
             SELECT * FROM unnest($1::int8[], $2::int8[], $3::text[], $4::int8[], $5::text[], $6::text[], $7::text[], \
             $8::text[], $9::text[], $10::text[], $11::bytea[], $12::int8[], $13::int4[], $14::text[], $15::int8[], \
             $16::int4[], $17::bytea[], $18::bytea[])",
        )
        .await?;
    let moved = client
        .prepare_cached("UPDATE audit_chain SET head_seq = $1, head_hash = $2, head_at_us = $3 WHERE only_row = 1")
        .await?;
    let ((), head) = try_join(client.batch_execute("BEGIN"), client.query_one(&lock, &[])).await?;
    if let (Some(from), Some(first)) = (look_from, entries.first()) {
        let found = find(client, from, first, entries.len()).await?;
        if !found.is_empty() {
            client.batch_execute("ROLLBACK").await?;
            return Ok(found);
        }
    }
    let chain = chain(place(&head, 0)?, algorithm, entries);
    let Some(last) = chain.last().map(Linked::place) else {
        client.batch_execute("ROLLBACK").await?;
        return Ok(Vec::new());
    };
    let columns = Columns::of(&chain);
    let (head_seq, head_at) = (last.seq.cast_signed(), last.at.as_micros());
    let head_hash: &[u8] = last.hash.as_bytes();
    let Columns { seqs, ats, nodes, numbers, actors, roles, clients, .. } = &columns;
    let Columns { methods, routes, targets, requests, bodies, statuses, problems, .. } = &columns;
    let Columns { calls, algorithms, previous, hashes, .. } = &columns;
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 18] = [
        seqs, ats, nodes, numbers, actors, roles, clients, methods, routes, targets, requests, bodies, statuses,
        problems, calls, algorithms, previous, hashes,
    ];
    try_join3(
        client.execute(&insert, &values),
        client.execute(&moved, &[&head_seq, &head_hash, &head_at]),
        client.batch_execute("COMMIT"),
    )
    .await?;
    Ok(chain.iter().map(Linked::place).collect())
}

/// The places of an append whose first entry is that one, if it is there at `from` or behind it. The end of the chain is
/// locked, so that an earlier try is over.
async fn find(client: &ClientWrapper, from: u64, first: &Entry, count: usize) -> Result<Vec<Place>, Failure> {
    client.batch_execute("SET LOCAL ROLE orderly_auditor").await.map_err(|error| role::explained(error.into()))?;
    let rows = client
        .query(
            "SELECT seq, hash, at_us FROM audit_entries WHERE seq >= \
             (SELECT MIN(seq) FROM audit_entries WHERE seq >= $1 AND node = $2 AND number = $3) ORDER BY seq LIMIT $4",
            &[&from.cast_signed(), &first.node, &first.number.cast_signed(), &i64::try_from(count).unwrap_or(i64::MAX)],
        )
        .await?;
    client.batch_execute("RESET ROLE").await?;
    rows.iter().map(|row| place(row, 0)).collect()
}

/// Entries, column by column.
#[derive(Default)]
struct Columns<'a> {
    seqs: Vec<i64>,
    ats: Vec<i64>,
    nodes: Vec<&'a str>,
    numbers: Vec<i64>,
    actors: Vec<Option<&'a str>>,
    roles: Vec<&'a str>,
    clients: Vec<&'a str>,
    methods: Vec<&'a str>,
    routes: Vec<&'a str>,
    targets: Vec<&'a str>,
    requests: Vec<&'a [u8]>,
    bodies: Vec<i64>,
    statuses: Vec<i32>,
    problems: Vec<Option<&'a str>>,
    calls: Vec<i64>,
    algorithms: Vec<i32>,
    previous: Vec<&'a [u8]>,
    hashes: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn of(chain: &'a [Linked]) -> Self {
        let mut columns = Self::default();
        for Linked { seq, algorithm, previous, hash, entry } in chain {
            columns.seqs.push(seq.cast_signed());
            columns.ats.push(entry.at.as_micros());
            columns.nodes.push(&entry.node);
            columns.numbers.push(entry.number.cast_signed());
            columns.actors.push(entry.actor.as_deref());
            columns.roles.push(&entry.roles);
            columns.clients.push(&entry.client);
            columns.methods.push(&entry.method);
            columns.routes.push(&entry.route);
            columns.targets.push(&entry.target);
            columns.requests.push(entry.request.as_bytes());
            columns.bodies.push(entry.body_bytes.cast_signed());
            columns.statuses.push(entry.status.into());
            columns.problems.push(entry.problem.as_deref());
            columns.calls.push(entry.calls.cast_signed());
            columns.algorithms.push(algorithm.code().into());
            columns.previous.push(previous.as_bytes());
            columns.hashes.push(hash.as_bytes());
        }
        columns
    }
}
