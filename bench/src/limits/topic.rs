//! From a topic that lies there full to committed rows in PostgreSQL, beside a binary COPY of the same rows.

use std::pin::pin;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use futures::{SinkExt as _, TryStreamExt as _};
use prometheus::Registry;
use tokio_postgres::{Client, NoTls};

use super::decide::{CAPACITY, as_in_the_server, decide_all};
use super::hospital::{APPENDS, Hospital};
use super::median;
use super::report::Ratio;
use super::servers::Servers;

const PIECE_BYTES: usize = 64 * 1024;
/// A table like the store's, with one partition as a day's decisions have it.
const MAKE_COPY: &str = "CREATE TABLE copied (LIKE decisions INCLUDING ALL) PARTITION BY RANGE (day); \
                         CREATE TABLE copied_rows PARTITION OF copied DEFAULT";

/// Decisions a second from a filled topic to committed rows, and rows a second of a COPY into a table like theirs: in turns,
/// each with a topic and a database of its own. Medians count.
pub(super) fn measure(servers: &Servers, intents: u32, rounds: usize) -> anyhow::Result<Ratio> {
    let (mut decided, mut copied) = (Vec::with_capacity(rounds), Vec::with_capacity(rounds));
    for round in 1..=rounds {
        let name = format!("decided_{round}");
        decided.push(as_in_the_server(async {
            let registry = Registry::new();
            let ports = servers.ports(&name, &registry).await?;
            let records = Hospital::new(CAPACITY)?.fill(&ports.log, intents, APPENDS).await?;
            decide_all(ports, records, &registry).await
        })?);
        copied.push(as_in_the_server(copy_again(&servers.postgres.url(&name)))?);
    }
    let (value, limit) = (median(decided)?, median(copied)?);
    let (what, beside) = ("decisions a second, from a topic to committed", "binary COPY");
    Ok(Ratio { what, value, beside, limit, goal: Some(0.4) })
}

async fn copy_again(url: &str) -> anyhow::Result<f64> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let connection = tokio::spawn(connection);
    client.batch_execute(MAKE_COPY).await?;
    let rows = decided_rows(&client).await?;
    // What was written before is on the disk, so that a checkpoint of it does not meet the copy.
    client.batch_execute("CHECKPOINT").await?;
    let start = Instant::now();
    let mut sink = pin!(client.copy_in("COPY copied FROM STDIN (FORMAT binary)").await?);
    for piece in &rows {
        sink.feed(piece.clone()).await?;
    }
    let count = sink.finish().await?;
    let rate = count as f64 / start.elapsed().as_secs_f64();
    drop(client);
    connection.await??;
    Ok(rate)
}

/// The decided rows, in the order in which they were committed, as PostgreSQL's own binary format, in pieces of
/// [`PIECE_BYTES`]: the server gives them row by row, which is not the way to send them fast.
async fn decided_rows(client: &Client) -> anyhow::Result<Vec<Bytes>> {
    let select =
        "COPY (SELECT * FROM decisions ORDER BY decided_at_us, partition, log_offset) TO STDOUT (FORMAT binary)";
    let mut rows = pin!(client.copy_out(select).await?);
    let (mut pieces, mut piece) = (Vec::new(), BytesMut::with_capacity(PIECE_BYTES));
    while let Some(row) = rows.try_next().await? {
        piece.extend_from_slice(&row);
        if piece.len() >= PIECE_BYTES {
            pieces.push(std::mem::replace(&mut piece, BytesMut::with_capacity(PIECE_BYTES)).freeze());
        }
    }
    pieces.push(piece.freeze());
    Ok(pieces)
}
