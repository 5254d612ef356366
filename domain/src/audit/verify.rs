//! Checks a chain: each entry against its hash, each hash against the one before it, and all of them against anchors.

use std::collections::BTreeMap;

use super::{Anchor, Linked, Place, RETENTION_MIN};
use crate::clock::Timestamp;

/// Findings that are listed; more are counted only.
const LISTED_MAX: usize = 1_000;

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An entry does not have the hash that it is stored with: it was edited, or moved.
    Edited,
    /// An entry names another hash before it than the entry before it has: one of the two was replaced.
    Unlinked,
    /// Entries are missing between two others.
    Missing,
    /// An entry lies where there can be none: before the kept beginning, or twice.
    Misplaced,
    /// Entries are missing at the end: they were anchored.
    Truncated,
    /// An entry has another hash than was anchored: the chain up to it was written anew.
    Rewritten,
    /// Entries were taken away before their time.
    Early,
}

impl Kind {
    /// Every kind, in the order in which they are told.
    pub const ALL: [Self; 7] =
        [Self::Edited, Self::Unlinked, Self::Missing, Self::Misplaced, Self::Truncated, Self::Rewritten, Self::Early];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Edited => "edited",
            Self::Unlinked => "unlinked",
            Self::Missing => "missing",
            Self::Misplaced => "misplaced",
            Self::Truncated => "truncated",
            Self::Rewritten => "rewritten",
            Self::Early => "early",
        }
    }

    /// What it means, for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Edited => "entries have the hash of what they say",
            Self::Unlinked => "entries name the hash of the entry before them",
            Self::Missing => "no entry is missing between others",
            Self::Misplaced => "no entry lies twice, or before the beginning",
            Self::Truncated => "the last anchored entry is there",
            Self::Rewritten => "anchored entries have the anchored hash",
            Self::Early => "nothing was taken away before its time",
        }
    }
}

/// Something wrong, at the entries `from..=to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub kind: Kind,
    /// The first entry's place.
    pub from: u64,
    /// The last one's.
    pub to: u64,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.from, self.to) {
            (from, to) if from == to => write!(f, "{} {from}", self.kind.as_str()),
            (from, to) => write!(f, "{} {from} to {to}", self.kind.as_str()),
        }
    }
}

/// What a check came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Entries that were looked at.
    pub entries: u64,
    /// Anchors that an entry, or the kept beginning, was compared with.
    pub anchors: u64,
    /// Where the kept chain begins.
    pub start: Place,
    /// Its last entry; `start` when there is none.
    pub head: Place,
    /// What is wrong, the first 1,000 of it.
    pub findings: Vec<Finding>,
    /// How much is wrong in all.
    pub total: u64,
}

impl Verdict {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.total == 0
    }
}

/// Checks entry after entry.
#[derive(Debug)]
pub struct Verifier {
    verdict: Verdict,
    /// Anchors that no entry was compared with yet. A place may be anchored with several hashes; all but one are wrong.
    anchors: BTreeMap<u64, Vec<Place>>,
}

impl Verifier {
    /// For a chain that begins behind `start`, at the time `now`.
    #[must_use]
    pub fn new(start: Place, anchors: impl IntoIterator<Item = Anchor>, now: Timestamp) -> Self {
        let mut places: BTreeMap<u64, Vec<Place>> = BTreeMap::new();
        for Anchor { place, .. } in anchors {
            let known = places.entry(place.seq).or_default();
            if !known.contains(&place) {
                known.push(place);
            }
        }
        let kept = places.split_off(&start.seq);
        let verdict = Verdict { entries: 0, anchors: 0, start, head: start, findings: Vec::new(), total: 0 };
        let mut verifier = Self { verdict, anchors: kept };
        let young = now.minus(RETENTION_MIN);
        // What was forgotten in order is old. What is young and not there was taken away, and the beginning moved behind it.
        let early = || places.values().flatten().filter(|place| place.at >= young);
        if let (Some(first), Some(last)) = (early().next(), early().next_back()) {
            verifier.found(Kind::Early, first.seq, last.seq);
        }
        verifier.compare(start);
        verifier
    }

    /// Looks at the next entry, in the order of their places.
    pub fn check(&mut self, linked: &Linked) {
        self.verdict.entries += 1;
        let before = self.verdict.head;
        if linked.entry.link(linked.algorithm, linked.seq, linked.previous) != linked.hash {
            self.found(Kind::Edited, linked.seq, linked.seq);
        }
        if linked.seq <= before.seq {
            self.found(Kind::Misplaced, linked.seq, linked.seq);
            return;
        }
        if linked.seq > before.seq + 1 {
            self.found(Kind::Missing, before.seq + 1, linked.seq - 1);
        } else if linked.previous != before.hash {
            self.found(Kind::Unlinked, linked.seq, linked.seq);
        }
        self.verdict.head = linked.place();
        self.compare(linked.place());
    }

    /// The verdict on all that was looked at.
    #[must_use]
    pub fn finish(mut self) -> Verdict {
        let last = self.verdict.head.seq;
        if let Some((anchored, _)) = self.anchors.split_off(&(last + 1)).pop_last() {
            self.found(Kind::Truncated, last + 1, anchored);
        }
        self.verdict
    }

    /// Compares a place with what was anchored there.
    fn compare(&mut self, place: Place) {
        for anchored in self.anchors.remove(&place.seq).unwrap_or_default() {
            self.verdict.anchors += 1;
            if anchored.hash != place.hash {
                self.found(Kind::Rewritten, place.seq, place.seq);
            }
        }
    }

    fn found(&mut self, kind: Kind, from: u64, to: u64) {
        self.verdict.total += 1;
        if self.verdict.findings.len() < LISTED_MAX {
            self.verdict.findings.push(Finding { kind, from, to });
        }
    }
}
