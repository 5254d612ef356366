//! Forgetting: the beginning of the chain moves, and what lies before it goes.

use deadpool_postgres::ClientWrapper;
use orderly_domain::Timestamp;
use orderly_domain::audit::{Place, RETENTION_MIN};

use super::reads::{as_auditor, place};
use crate::audit::too_young;
use crate::store::postgres::error::Failure;
use crate::store::postgres::rows::column;

/// Entries that one transaction forgets.
pub(super) const STEP: u64 = 2_000;

/// Forgets at most [`STEP`] entries; tells how many. The newest entry always stays.
pub(super) async fn step(client: &ClientWrapper, before: Timestamp) -> Result<u64, Failure> {
    let (before_us, step) = (before.as_micros(), STEP.cast_signed());
    let kept_s = RETENTION_MIN.as_secs() as f64;
    let old = "SELECT $1 <= ((extract(epoch FROM now())::float8 - $2) * 1000000)::int8";
    if !column::<bool>(&client.query_one(old, &[&before_us, &kept_s]).await?, 0)? {
        return Err(too_young().into());
    }
    as_auditor(client).await?;
    let start = "SELECT start_seq, start_hash, start_at_us FROM audit_chain WHERE only_row = 1";
    let start = place(&client.query_one(start, &[]).await?, 0)?;
    let last = client
        .query_opt(
            "SELECT seq, hash, at_us FROM audit_entries WHERE seq <= $1::int8 + $2::int8 AND seq < \
             COALESCE((SELECT seq FROM audit_entries WHERE seq > $1 AND at_us >= $3 ORDER BY seq LIMIT 1), \
             (SELECT head_seq FROM audit_chain)) ORDER BY seq DESC LIMIT 1",
            &[&start.seq.cast_signed(), &step, &before_us],
        )
        .await?;
    client.batch_execute("RESET ROLE").await?;
    let last = last.map(|row| place(&row, 0)).transpose()?.filter(|last| last.seq > start.seq);
    let Some(Place { seq, hash, at }) = last else {
        client.batch_execute("COMMIT").await?;
        return Ok(0);
    };
    let hash: &[u8] = hash.as_bytes();
    // One that prunes at the same time waits here, and finds that it is done.
    let moved = client
        .execute(
            "UPDATE audit_chain SET start_seq = $1, start_hash = $2, start_at_us = $3 \
             WHERE only_row = 1 AND start_seq < $1",
            &[&seq.cast_signed(), &hash, &at.as_micros()],
        )
        .await?;
    let gone = client.execute("DELETE FROM audit_entries WHERE seq <= $1", &[&seq.cast_signed()]).await?;
    client.batch_execute("COMMIT").await?;
    Ok(if moved == 1 { gone } else { 0 })
}
