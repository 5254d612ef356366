//! Copies a log into an embedded one: every record keeps its place and its time.

use std::path::Path;

use orderly_domain::port::IntentLog;
use orderly_domain::port::log::Delivery;
use orderly_sinks::log::sqlite::Import;

use super::Span;
use crate::bar::bar;

/// Records of one transaction.
const BATCH: usize = 8_192;

/// Copies what of the log is decided. Only for a runtime of many threads: it writes on the caller's.
///
/// # Errors
/// When the log cannot be read, or the folder cannot be written or is in use.
pub(super) async fn copy(log: &dyn IntentLog, span: &Span, folder: &Path) -> anyhow::Result<()> {
    let mut import = Import::begin(folder, log.partitions())?;
    let starts: Vec<_> = span.decided.iter().map(|(partition, _)| (*partition, 0)).collect();
    let mut ends = vec![0; usize::from(log.partitions())];
    for (partition, decided) in &span.decided {
        ends[usize::from(*partition)] = *decided;
    }
    let mut reader = log.scan(&starts).await?;
    let bar = bar(span.records(), "copied")?;
    let mut missing = span.records();
    while missing > 0 {
        // A scan is not told of assignments.
        let Delivery::Records(mut records) = reader.next(BATCH).await? else { continue };
        records.retain(|record| record.position.offset < ends[usize::from(record.position.partition)]);
        tokio::task::block_in_place(|| import.add(&records))?;
        missing -= records.len() as u64;
        bar.inc(records.len() as u64);
    }
    bar.finish_and_clear();
    Ok(())
}
