//! Verifies, from the intent log and the store alone, what must be true of a hospital's bookings.
//!
//! It shares no code with what decides: the rules are written down a second time, plainly and one record after the
//! other, and the whole log is decided again. Only the words, the codecs and the ports come from `orderly-domain`.
//! Fencing, the ledger's rebuild and the bounds of queues leave no trace in either place; tests elsewhere cover them.
//!
//! A server may go on deciding meanwhile. Whatever is checked lies below the progress that was read before it, and the
//! tables of sessions and appointments are judged only when no decision was committed while they were read.
//!
//! Memory grows with the tickets in the log (about 100 bytes each) and with the bookings (about 300 bytes each); the log
//! and the decisions themselves are streamed.

mod analytics;
mod auditor;
mod books;
mod clients;
mod history;
mod judge;
mod ledger;
mod report;
mod rules;

use std::time::Duration;

use orderly_domain::port::{self, IntentLog, Store};
use orderly_domain::{Position, envelope};

pub use analytics::check as check_analytics;
pub use auditor::{Auditor, Judged};
pub use clients::{Clients, check as check_clients};
pub use ledger::{LedgerWatch, check as check_ledger};
pub use report::{Finding, Invariant, Report, VIOLATIONS_SHOWN_MAX};

/// How often the tables are read again when decisions were committed meanwhile.
const ATTEMPTS_MAX: usize = 8;

/// What to expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Nothing may be in flight: every record of the log must be decided.
    pub idle: bool,
    /// For how many records of its partition a refused ticket is remembered for sure. Later it may be decided afresh.
    pub repeats_known_records: u64,
    /// For how long, in the log's time, it is remembered for sure.
    pub repeats_known_for: Duration,
    /// Log and store are in the process that decides. That log orders records over its partitions: without it, what two of
    /// them contend for (one appointment per patient, department and day) may have gone to either. That store may lose its
    /// newest commits with the power, which are then decided again from the log. All else is judged as strictly.
    pub embedded: bool,
    /// Analytics drop old rows by themselves.
    pub analytics_forget: bool,
}

impl Default for Options {
    /// What a server remembers unless it is configured otherwise.
    fn default() -> Self {
        Self {
            idle: false,
            repeats_known_records: 32_768,
            repeats_known_for: Duration::from_secs(24 * 3600),
            embedded: true,
            analytics_forget: false,
        }
    }
}

/// Why the check could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log or the store could not be read.
    #[error(transparent)]
    Port(#[from] port::Error),
    /// A record that only a newer program understands was decided.
    #[error("cannot judge record {position}: {source}")]
    TooNew {
        /// The record.
        position: Position,
        /// What it asks for.
        source: envelope::Error,
    },
    /// A history of what clients were told could not be read.
    #[error("cannot read line {line} of {name}: {cause}")]
    History {
        /// The history.
        name: String,
        /// The line, from 1.
        line: usize,
        /// Why not.
        cause: String,
    },
}

/// Checks a log and the store that its decisions went to. Reads only.
///
/// # Errors
/// When either cannot be read, or holds records of a newer version. What is wrong with their content is in the report.
pub async fn check(log: &dyn IntentLog, store: &dyn Store, options: Options) -> Result<Report, Error> {
    let mut auditor = Auditor::begin(log, store, options).await?;
    for _ in 0..ATTEMPTS_MAX {
        let progress = store.progress().await?;
        auditor.follow(&progress).await?;
        let report = auditor.at_rest(&progress).await?;
        if store.progress().await? == progress {
            return Ok(report);
        }
    }
    let mut report = auditor.into_report();
    let cause = "decisions were being committed all the time; check again when it is quieter";
    for invariant in [Invariant::OnePerPatient, Invariant::AtomicProgress, Invariant::Conserved] {
        report.skip(invariant, cause);
    }
    Ok(report)
}
