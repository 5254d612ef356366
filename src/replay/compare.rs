//! Compares what two stores decided of one log, record by record.

use std::collections::BTreeMap;

use orderly_domain::port::Store;
use orderly_domain::port::store::DecisionRow;
use orderly_domain::{Offset, Partition, Position, SessionId, Timestamp};

use super::Span;
use crate::bar::bar;

/// How many records that differ are written out, the first in the log; all are counted.
pub(super) const SHOWN_MAX: usize = 20;

/// Decisions of a partition that are in memory at a time, of each store.
const PAGE: usize = 4_096;

/// What was decided, as it is counted: the kind of command, the outcome or the cause of a refusal, and whether it repeats
/// that of an earlier record of the ticket.
pub(super) type Sort = (&'static str, &'static str, bool);

/// How the two compare.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// Records that were looked at.
    pub(super) records: u64,
    /// How many decisions of each sort the store has, and how many there are anew.
    pub(super) sorts: BTreeMap<Sort, [u64; 2]>,
    /// Records that were decided otherwise.
    pub(super) different: u64,
    /// The first [`SHOWN_MAX`] of them, in the order of the log.
    pub(super) first: BTreeMap<(Timestamp, Position), Difference>,
}

/// A record that was decided otherwise.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// What was asked, and of which session.
    pub(super) asked: String,
    /// What the store has.
    pub(super) told: String,
    /// What came out now.
    pub(super) anew: String,
}

/// Compares every decided record.
///
/// # Errors
/// When one of the stores cannot be read.
pub(super) async fn compare(store: &dyn Store, anew: &dyn Store, span: &Span) -> anyhow::Result<Comparison> {
    let mut comparison = Comparison::default();
    let bar = bar(span.records(), "compared")?;
    for &(partition, decided) in &span.decided {
        let mut next = 0;
        while next < decided {
            let until = decided.min(next + PAGE as Offset);
            let (told, again) =
                tokio::try_join!(store.decisions(partition, next, PAGE), anew.decisions(partition, next, PAGE))?;
            comparison.page(partition, next..until, &told, &again);
            bar.inc(until - next);
            next = until;
        }
    }
    bar.finish_and_clear();
    Ok(comparison)
}

impl Comparison {
    /// Whether every record was decided alike.
    pub(super) const fn is_same(&self) -> bool {
        self.different == 0
    }

    /// Looks at some offsets of a partition; either store may have rows beyond them, and may lack some.
    fn page(
        &mut self,
        partition: Partition,
        offsets: std::ops::Range<Offset>,
        told: &[DecisionRow],
        anew: &[DecisionRow],
    ) {
        let (mut told, mut anew) = (told.iter().peekable(), anew.iter().peekable());
        for offset in offsets {
            let at = |row: &&DecisionRow| row.decision.position.offset == offset;
            self.record(Position { partition, offset }, told.next_if(at), anew.next_if(at));
        }
    }

    fn record(&mut self, position: Position, told: Option<&DecisionRow>, anew: Option<&DecisionRow>) {
        self.records += 1;
        for (side, row) in [told, anew].into_iter().enumerate() {
            if let Some(row) = row {
                self.sorts.entry(sort(row)).or_default()[side] += 1;
            }
        }
        if let (Some(told), Some(anew)) = (told, anew)
            && content(told) == content(anew)
        {
            return;
        }
        self.different += 1;
        // A record that neither has sorts first: it is the worst.
        let either = told.or(anew);
        let logged_at = either.map_or(Timestamp::from_micros(i64::MIN), |row| row.decision.logged_at);
        self.first.insert((logged_at, position), Difference::between(told, anew));
        if self.first.len() > SHOWN_MAX {
            self.first.pop_last();
        }
    }
}

impl Difference {
    fn between(told: Option<&DecisionRow>, anew: Option<&DecisionRow>) -> Self {
        let asked = told.or(anew).map_or_else(
            || "a record".to_owned(),
            |row| {
                let session = row.decision.session_id.as_ref().map_or("no session", SessionId::as_str);
                format!("{} on {session}", row.decision.kind.as_str())
            },
        );
        let words = (in_words(told), in_words(anew));
        let (told, anew) = match (told, anew) {
            (Some(told), Some(anew)) => (words.0, format!("{}{}", words.1, others(told, anew))),
            _ => words,
        };
        Self { asked, told, anew }
    }
}

/// What must be the same of a decision: all but when and by whom it was made.
fn content(row: &DecisionRow) -> impl PartialEq {
    let decision = &row.decision;
    let asked = (decision.kind, decision.ticket, decision.session_id.as_ref(), row.patient_id.as_ref());
    (asked, decision.logged_at, decision.outcome, decision.first)
}

/// What differs beside the outcome. Patients are not named.
fn others(told: &DecisionRow, anew: &DecisionRow) -> String {
    let (one, other) = (&told.decision, &anew.decision);
    [
        ("kind", one.kind != other.kind),
        ("ticket", one.ticket != other.ticket),
        ("session", one.session_id != other.session_id),
        ("patient", told.patient_id != anew.patient_id),
        ("log time", one.logged_at != other.logged_at),
    ]
    .into_iter()
    .filter(|(_, differs)| *differs)
    .map(|(what, _)| format!(", with another {what}"))
    .collect()
}

fn sort(row: &DecisionRow) -> Sort {
    let outcome = &row.decision.outcome;
    let name = outcome.reason().map_or_else(|| outcome.as_str(), |reason| reason.as_str());
    (row.decision.kind.as_str(), name, row.decision.first.is_some())
}

fn in_words(row: Option<&DecisionRow>) -> String {
    match row.map(|row| (row.decision.outcome, row.decision.first)) {
        None => "nothing".to_owned(),
        Some((outcome, None)) => outcome.to_string(),
        Some((outcome, Some(first))) => format!("{outcome} again, as at offset {first}"),
    }
}
