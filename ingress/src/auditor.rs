//! What an auditor beside this system found, for ops to see.

use orderly_domain::Timestamp;
use serde::{Deserialize, Serialize};

/// What was heard of the auditor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = Auditor)]
pub struct Auditor {
    /// When it answered last; `null` when it never did.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub heard_at: Option<Timestamp>,
    /// Why it could not be asked the last time; `null` when it could.
    pub cause: Option<String>,
    /// What it answered last; `null` when it never did.
    pub report: Option<Report>,
}

/// An auditor's report, as `orderly audit-run` serves it, with the first of its rows and sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AuditorReport)]
pub struct Report {
    /// Whether it could read log and store the last time; `false` also until it has read them once.
    pub up: bool,
    /// Records of the log that were not decided then.
    pub in_flight: u64,
    /// What it compares.
    pub invariants: Vec<Invariant>,
    /// Sessions in which something is wrong: the first 100.
    pub suspects: Vec<String>,
    /// How many there are.
    #[serde(default)]
    pub suspects_total: usize,
}

/// Something that must be true.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AuditorInvariant)]
pub struct Invariant {
    /// Which, such as `no_oversell`.
    pub invariant: String,
    /// What is counted, such as `sessions`.
    pub unit: String,
    /// How many were looked at.
    pub checked: u64,
    /// How many of them break it.
    pub violations: u64,
    /// The first five that do, in words.
    pub rows: Vec<String>,
    /// Why it was not looked at, or not wholly; `null` when it was.
    pub skipped: Option<String>,
}
