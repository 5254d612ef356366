//! From a topic that lies there full to committed rows in PostgreSQL, beside a binary COPY of the same rows.

use std::pin::pin;
use std::time::Instant;

use bytes::Bytes;
use futures::{SinkExt as _, TryStreamExt as _};
use prometheus::Registry;
use tokio_postgres::{Client, NoTls};

use super::decide::{CAPACITY, decide_all};
use super::hospital::Hospital;
use super::report::Ratio;
use super::servers::Servers;

const DATABASE: &str = "decided";
/// A table like the store's, with one partition as a day's decisions have it.
const MAKE_COPY: &str = "CREATE TABLE copied (LIKE decisions INCLUDING ALL) PARTITION BY RANGE (day); \
                         CREATE TABLE copied_rows PARTITION OF copied DEFAULT";

/// Decisions a second from a filled topic to committed rows, and rows a second of a COPY into a table like theirs.
pub(super) async fn measure(servers: &Servers, intents: u32) -> anyhow::Result<Ratio> {
    let registry = Registry::new();
    let ports = servers.ports(DATABASE, &registry).await?;
    let records = Hospital::new(CAPACITY)?.fill(&ports.log, intents).await?;
    let value = decide_all(ports, records, &registry).await?;
    let limit = copy_again(&servers.postgres.url(DATABASE)).await?;
    let (what, beside) = ("decisions a second, from a topic to committed", "binary COPY");
    Ok(Ratio { what, value, beside, limit, goal: Some(0.4) })
}

async fn copy_again(url: &str) -> anyhow::Result<f64> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let connection = tokio::spawn(connection);
    client.batch_execute(MAKE_COPY).await?;
    let rows = decided_rows(&client).await?;
    let start = Instant::now();
    let mut sink = pin!(client.copy_in("COPY copied FROM STDIN (FORMAT binary)").await?);
    for piece in rows {
        sink.send(piece).await?;
    }
    let count = sink.finish().await?;
    let rate = count as f64 / start.elapsed().as_secs_f64();
    drop(client);
    connection.await??;
    Ok(rate)
}

/// The decided rows, in the order in which they were committed, as PostgreSQL's own binary format.
async fn decided_rows(client: &Client) -> anyhow::Result<Vec<Bytes>> {
    let select =
        "COPY (SELECT * FROM decisions ORDER BY decided_at_us, partition, log_offset) TO STDOUT (FORMAT binary)";
    Ok(client.copy_out(select).await?.try_collect().await?)
}
