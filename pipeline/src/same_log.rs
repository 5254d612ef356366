//! Whether a log is the one that a store was decided from.
//!
//! A log that was lost and made anew gives the offsets of decided records to others, which nobody would ever decide. It shows
//! where it ends before what is decided; once it has grown past that, by the time of the last record that is decided.

use orderly_domain::port::{Error, IntentLog, Result, Store};
use orderly_domain::{Position, Timestamp};

/// What is to be done about a log that is another.
const ADVICE: &str = "the log was lost or replaced after it was decided from: stop all processes and bring the log back as it \
                      was, or begin anew with an empty log, store and ledger (docs/ops/runbooks.md, A lost log)";

/// Checks that the log is the one whose records the store has decided.
///
/// # Errors
/// `Corrupt` when it is not; as for the port when log or store cannot be read.
pub async fn same_log(log: &dyn IntentLog, store: &dyn Store) -> Result<()> {
    // First what is decided, then where the log ends: what is decided in between lies below that.
    let progress = store.progress().await?;
    let extents = log.extents().await?;
    let mut last = Vec::new();
    for progress in progress.iter().filter(|progress| progress.next_offset > 0) {
        let (partition, next) = (progress.partition, progress.next_offset);
        let end = extents.get(usize::from(partition)).map_or(0, |extent| extent.end);
        if end < next {
            return Err(Error::Corrupt(format!(
                "the log of partition {partition} ends before offset {end}, and the store has decided what lay before {next}; \
                 {ADVICE}"
            )));
        }
        let row = store.decisions(partition, next - 1, 1).await?;
        last.extend(row.first().map(|row| (row.decision.position, row.decision.logged_at)));
    }
    has_taken(log, &last).await
}

/// Checks that these records were logged at these times, as far as they are still there.
///
/// # Errors
/// `Corrupt` when one was not; as for the port when the log cannot be read.
pub(crate) async fn has_taken(log: &dyn IntentLog, decided: &[(Position, Timestamp)]) -> Result<()> {
    let places: Vec<_> = decided.iter().map(|(position, _)| *position).collect();
    let found = log.logged_at(&places).await?;
    for ((position, decided_of), found) in decided.iter().zip(found) {
        if let Some(found) = found
            && found != *decided_of
        {
            return Err(Error::Corrupt(format!(
                "record {position} was logged at {found}, and the store has decided one that was logged at {decided_of}; {ADVICE}"
            )));
        }
    }
    Ok(())
}
