//! Writes apart from commits: takeovers, published marks and policies.

use std::collections::BTreeMap;

use deadpool_postgres::ClientWrapper;
use futures::future::try_join;
use orderly_domain::port::store::{Claim, PolicyVersion};
use orderly_domain::{Fence, Offset, Partition, port};
use tokio_postgres::error::SqlState;

use super::error::Failure;
use super::probe::{LOCK_PARTITIONS, Standing, standing};
use super::rows::{column, offset, partition};

/// See [`port::Store::claim`].
pub(super) async fn claim(
    client: &ClientWrapper,
    partitions: &[Partition],
    owner: &str,
) -> Result<Vec<Claim>, Failure> {
    let mut wanted: Vec<i32> = partitions.iter().map(|partition| i32::from(*partition)).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let take = client
        .prepare_cached(
            "INSERT INTO partitions (partition, fence, owner, next_offset, published_offset) \
             SELECT wanted.partition, 1, $2, 0, 0 FROM unnest($1::int4[]) AS wanted (partition) \
             ON CONFLICT (partition) DO UPDATE SET fence = partitions.fence + 1, owner = excluded.owner \
             RETURNING partition, fence, next_offset, published_offset",
        )
        .await?;
    let mut claims = BTreeMap::new();
    for row in client.query(&take, &[&wanted, &owner]).await? {
        let partition = partition(&row, 0)?;
        let claim = Claim {
            partition,
            fence: offset(&row, 1)?,
            next_offset: offset(&row, 2)?,
            published_offset: offset(&row, 3)?,
        };
        claims.insert(partition, claim);
    }
    Ok(partitions.iter().filter_map(|partition| claims.get(partition).copied()).collect())
}

/// See [`port::Store::mark_published`].
pub(super) async fn mark_published(
    client: &ClientWrapper,
    marks: &[(Partition, Fence, Offset)],
) -> Result<(), Failure> {
    let partitions: Vec<i32> = marks.iter().map(|mark| i32::from(mark.0)).collect();
    let offsets: Vec<i64> = marks.iter().map(|mark| mark.2.cast_signed()).collect();
    let lock = client.prepare_cached(LOCK_PARTITIONS).await?;
    let mark = client
        .prepare_cached(
            "UPDATE partitions AS p SET published_offset = GREATEST(p.published_offset, mark.log_offset) \
             FROM (SELECT m.partition, MAX(m.log_offset) AS log_offset \
             FROM unnest($1::int4[], $2::int8[]) AS m (partition, log_offset) GROUP BY m.partition) AS mark \
             WHERE p.partition = mark.partition",
        )
        .await?;
    let ((), rows) = try_join(client.batch_execute("BEGIN"), client.query(&lock, &[&partitions])).await?;
    let standings = rows.iter().map(standing).collect::<Result<BTreeMap<Partition, Standing>, _>>()?;
    for &(partition, fence, _) in marks {
        if standings.get(&partition).is_none_or(|standing| standing.fence != fence) {
            return Err(port::Error::Fenced { partition }.into());
        }
    }
    try_join(client.execute(&mark, &[&partitions, &offsets]), client.batch_execute("COMMIT")).await?;
    Ok(())
}

/// See [`port::Store::save_policy`].
pub(super) async fn save_policy(client: &ClientWrapper, policy: &PolicyVersion) -> Result<(), Failure> {
    let version = policy.version.cast_signed();
    let add = client
        .prepare_cached(
            "INSERT INTO policies (version, document, author, reason, set_at_us) \
             SELECT $1, $2, $3, $4, $5 WHERE $1 = (SELECT COALESCE(MAX(version), 0) + 1 FROM policies)",
        )
        .await?;
    let at = policy.set_at.as_micros();
    let added = client.execute(&add, &[&version, &policy.document, &policy.author, &policy.reason, &at]).await;
    match added {
        Ok(1) => return Ok(()),
        // Another node was faster.
        Err(error) if error.code() != Some(&SqlState::UNIQUE_VIOLATION) => return Err(error.into()),
        _ => {}
    }
    let row = client.query_one("SELECT COALESCE(MAX(version), 0) FROM policies", &[]).await?;
    let found = column::<i64>(&row, 0)?.cast_unsigned();
    Err(port::Error::Conflict { expected: policy.version.saturating_sub(1), found }.into())
}
