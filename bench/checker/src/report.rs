//! What a check found.

use std::collections::{BTreeMap, BTreeSet};

use orderly_domain::SessionId;
use serde::Serialize;

/// How many violations of one invariant are written out; all are counted.
pub const VIOLATIONS_SHOWN_MAX: usize = 20;

/// Something that must be true, and shows in the log, the store, the analytics or what clients were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Invariant {
    /// Active appointments never exceed the capacity; their numbers are distinct and lie in 1..=capacity.
    NoOversell,
    /// Every record below a partition's progress has a decision.
    NoLoss,
    /// Decisions mirror the log one to one, and each takes effect once.
    ExactlyOnce,
    /// A patient holds at most one active appointment in the scope of a session's rule.
    OnePerPatient,
    /// Numbers go out in the order of the log; nobody is told "full" while one is free.
    InOrder,
    /// A partition's next offset says exactly how far its decisions are, and nothing unpublished lies beyond it.
    AtomicProgress,
    /// What a session counts as booked is what its appointments hold.
    Conserved,
    /// Analytics hold every decision.
    AnalyticsAgree,
    /// Deciding the log again gives the same decisions.
    Deterministic,
    /// What clients were told is what was decided.
    ClientsAgree,
}

impl Invariant {
    /// Every one that a running system shows by itself, in the blueprint's order. [`Self::ClientsAgree`] takes a history of what
    /// clients were told.
    pub const ALL: [Self; 9] = [
        Self::NoOversell,
        Self::NoLoss,
        Self::ExactlyOnce,
        Self::OnePerPatient,
        Self::InOrder,
        Self::AtomicProgress,
        Self::Conserved,
        Self::AnalyticsAgree,
        Self::Deterministic,
    ];

    /// Its number in the blueprint, which has twelve.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::NoOversell => 1,
            Self::NoLoss => 2,
            Self::ExactlyOnce => 3,
            Self::OnePerPatient => 4,
            Self::InOrder => 5,
            Self::AtomicProgress => 6,
            Self::Conserved => 9,
            Self::AnalyticsAgree => 10,
            Self::Deterministic => 12,
            Self::ClientsAgree => 13,
        }
    }

    /// What it says, in a few words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::NoOversell => "no oversell",
            Self::NoLoss => "no loss",
            Self::ExactlyOnce => "exactly once",
            Self::OnePerPatient => "one per patient",
            Self::InOrder => "in order",
            Self::AtomicProgress => "atomic progress",
            Self::Conserved => "conserved",
            Self::AnalyticsAgree => "analytics agree",
            Self::Deterministic => "deterministic",
            Self::ClientsAgree => "clients agree",
        }
    }

    /// What is counted as checked.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::NoOversell | Self::Conserved => "sessions",
            Self::NoLoss | Self::Deterministic => "records",
            Self::ExactlyOnce | Self::AnalyticsAgree => "decisions",
            Self::OnePerPatient => "appointments",
            Self::InOrder => "bookings",
            Self::AtomicProgress => "partitions",
            Self::ClientsAgree => "calls",
        }
    }
}

/// What was found of one invariant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How many things were looked at; [`Invariant::unit`] says what.
    pub checked: u64,
    /// How many break it.
    pub violations: u64,
    /// The first [`VIOLATIONS_SHOWN_MAX`] that do.
    pub rows: Vec<String>,
    /// Why it was not checked, or not wholly.
    pub skipped: Option<String>,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// By invariant; one that was not looked at is missing.
    pub findings: BTreeMap<Invariant, Finding>,
    /// Records that are in the log and not decided yet.
    pub in_flight: u64,
    /// Sessions that violations were found in, as far as they lie in one.
    pub suspects: BTreeSet<SessionId>,
}

impl Report {
    /// Whether nothing was found that breaks an invariant.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.findings.values().all(|finding| finding.violations == 0)
    }

    /// The invariants that are broken.
    pub fn broken(&self) -> impl Iterator<Item = Invariant> {
        self.findings.iter().filter(|(_, finding)| finding.violations > 0).map(|(invariant, _)| *invariant)
    }

    /// How often an invariant is broken.
    #[must_use]
    pub fn violations(&self, invariant: Invariant) -> u64 {
        self.findings.get(&invariant).map_or(0, |finding| finding.violations)
    }

    /// How often any is.
    #[must_use]
    pub fn violations_in_all(&self) -> u64 {
        self.findings.values().map(|finding| finding.violations).sum()
    }

    /// Adds what another check found.
    pub fn add(&mut self, other: &Self) {
        for (&invariant, found) in &other.findings {
            let finding = self.findings.entry(invariant).or_default();
            finding.checked += found.checked;
            finding.violations += found.violations;
            let room = VIOLATIONS_SHOWN_MAX.saturating_sub(finding.rows.len());
            finding.rows.extend(found.rows.iter().take(room).cloned());
            if finding.skipped.is_none() {
                finding.skipped.clone_from(&found.skipped);
            }
        }
        self.in_flight += other.in_flight;
        self.suspects.extend(other.suspects.iter().cloned());
    }

    /// How many things were looked at for an invariant.
    #[must_use]
    pub fn checked(&self, invariant: Invariant) -> u64 {
        self.findings.get(&invariant).map_or(0, |finding| finding.checked)
    }

    pub(crate) fn looked_at(&mut self, invariant: Invariant, count: u64) {
        self.findings.entry(invariant).or_default().checked += count;
    }

    pub(crate) fn violated(&mut self, invariant: Invariant, row: String) {
        let finding = self.findings.entry(invariant).or_default();
        finding.violations += 1;
        if finding.rows.len() < VIOLATIONS_SHOWN_MAX {
            finding.rows.push(row);
        }
    }

    /// Lays what was violated to a session's charge.
    pub(crate) fn accuse(&mut self, session_id: &SessionId) {
        self.suspects.insert(session_id.clone());
    }

    /// Lays what was violated since there were only so many violations to a session's charge.
    pub(crate) fn accuse_if_more_than(&mut self, violations: u64, session_id: &SessionId) {
        if self.violations_in_all() > violations {
            self.accuse(session_id);
        }
    }

    pub(crate) fn skip(&mut self, invariant: Invariant, cause: &str) {
        self.findings.entry(invariant).or_default().skipped = Some(cause.to_owned());
    }
}
