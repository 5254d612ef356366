//! Analytics: every decision, for people who ask questions of many.

use async_trait::async_trait;
use serde::Serialize;

use super::Result;
use crate::clock::Timestamp;
use crate::command::Kind;
use crate::decision::Outcome;
use crate::id::SessionId;
use crate::position::{Offset, Partition, Position};
use crate::session::Session;

/// One row of the analytics table `decisions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The record's place; the row's key.
    pub position: Position,
    /// When the log took it.
    pub logged_at: Timestamp,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// What was asked.
    pub kind: Kind,
    /// What stands for the patient who asked: always the same for one, and nobody without the key can tell whose it is. `None`
    /// for what was not asked by a patient.
    pub patient: Option<String>,
    /// What came of it; never a repeat.
    pub outcome: Outcome,
    /// Whether it repeats an earlier record's ticket.
    pub repeat: bool,
    /// The session's id, when it was readable.
    pub session_id: Option<SessionId>,
    /// The session, when it is known.
    pub session: Option<Session>,
}

/// A report's answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Which report.
    pub name: String,
    /// What it tells.
    pub purpose: String,
    /// Names of the columns, units last.
    pub columns: Vec<String>,
    /// Rows of values, in column order.
    pub rows: Vec<Vec<serde_json::Value>>,
    /// The SQL that made it.
    pub sql: String,
}

/// A report that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ReportInfo {
    /// Its name.
    pub name: &'static str,
    /// What it tells, in a sentence.
    pub purpose: &'static str,
}

/// Where committed decisions are carried to, beside the patients: a database, a topic. It keeps its own place.
#[async_trait]
pub trait Feed: Send + Sync + 'static {
    /// Its name, in metrics and logs.
    fn name(&self) -> &'static str;

    /// The first offset of each partition that has not arrived; partitions without rows are left out.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn next_offsets(&self) -> Result<Vec<(Partition, Offset)>>;

    /// Adds the rows of one partition, ascending and without gaps. Adding a row again changes nothing.
    ///
    /// # Errors
    /// When it cannot be written; add the same rows again.
    async fn append(&self, rows: &[Row]) -> Result<()>;

    /// Lets the rows of a partition go on at `offset`: the store has forgotten those before it. A place beyond it stays.
    ///
    /// # Errors
    /// When the feed cannot be asked where it is.
    async fn skip_to(&self, partition: Partition, offset: Offset) -> Result<()>;
}

/// What analytics hold of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The partition.
    pub partition: Partition,
    /// The first offset that is there.
    pub first: Offset,
    /// The first offset that has not arrived.
    pub next: Offset,
    /// How many distinct decisions are there.
    pub rows: u64,
}

/// The analytics database.
#[async_trait]
pub trait Analytics: Feed {
    /// How many distinct decisions it has.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn count(&self) -> Result<u64>;

    /// What it has of each partition, ascending; partitions without rows are left out.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn held(&self) -> Result<Vec<Held>>;

    /// The reports it knows.
    fn reports(&self) -> &'static [ReportInfo];

    /// A report over the decisions of records that the log took in `from..to`; `None` when there is no such report.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn report(&self, name: &str, from: Timestamp, to: Timestamp) -> Result<Option<Report>>;
}
