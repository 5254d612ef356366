//! The audit trail: who did what, from where, when, and what came of it, as a chain of hashes in which no entry can be
//! changed, taken out or moved without being found.

mod hash;
#[cfg(test)]
mod tests;
mod verify;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use hash::{Algorithm, Hash, Hasher, NotAHash, UnknownAlgorithm, request_hash, ticket_hash};
pub use verify::{Finding, Kind, Verdict, Verifier};

use crate::clock::Timestamp;

/// The least time that entries are kept.
pub const RETENTION_MIN: Duration = Duration::from_secs(180 * 24 * 60 * 60);

/// What starts an entry's encoding. Another encoding gets another one.
const DOMAIN: &[u8] = b"orderly.audit.v1";

/// The method of an entry that stands for several calls, and of what the program does by itself.
pub const SYSTEM_METHOD: &str = "-";

/// One call, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When the call came.
    pub at: Timestamp,
    /// The process that took it.
    pub node: String,
    /// Its number among the entries of that process: with `node`, it tells whether an entry is there already.
    pub number: u64,
    /// Who called: the subject of a valid token; `None` without one.
    pub actor: Option<String>,
    /// The roles in that token, separated by spaces.
    pub roles: String,
    /// The address from which it came; empty for what the program does by itself.
    pub client: String,
    /// The HTTP method, or [`SYSTEM_METHOD`].
    pub method: String,
    /// The address as the API describes it, with its parameters' names.
    pub route: String,
    /// The parameters' values. A ticket is named by [`ticket_hash`] only.
    pub target: String,
    /// The hash of method, path, query and body: see [`request_hash`].
    pub request: Hash,
    /// How many bytes of the body were read, and are in that hash.
    pub body_bytes: u64,
    /// The answer's HTTP status; 0 for what the program does by itself.
    pub status: u16,
    /// The problem's kind, when the answer was one.
    pub problem: Option<String>,
    /// How many calls the entry stands for: 1, except where a flood of refused ones is told by its number.
    pub calls: u64,
}

impl Entry {
    /// An entry on what the program did by itself.
    #[must_use]
    pub fn system(at: Timestamp, route: &str, target: String, calls: u64) -> Self {
        Self {
            at,
            node: String::new(),
            number: 0,
            actor: None,
            roles: String::new(),
            client: String::new(),
            method: SYSTEM_METHOD.to_owned(),
            route: route.to_owned(),
            target,
            request: Hash::ZERO,
            body_bytes: 0,
            status: 0,
            problem: None,
            calls,
        }
    }

    /// Its hash at a place in the chain: over everything in it, the place, and the hash before it.
    #[must_use]
    pub fn link(&self, algorithm: Algorithm, seq: u64, previous: Hash) -> Hash {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(DOMAIN);
        hasher.update(&[algorithm.code()]);
        hasher.update(&seq.to_be_bytes());
        hasher.update(previous.as_bytes());
        hasher.update(&self.at.as_micros().to_be_bytes());
        hasher.text(&self.node);
        hasher.update(&self.number.to_be_bytes());
        hasher.maybe_text(self.actor.as_deref());
        for text in [&self.roles, &self.client, &self.method, &self.route, &self.target] {
            hasher.text(text);
        }
        hasher.update(self.request.as_bytes());
        hasher.update(&self.body_bytes.to_be_bytes());
        hasher.update(&self.status.to_be_bytes());
        hasher.maybe_text(self.problem.as_deref());
        hasher.update(&self.calls.to_be_bytes());
        hasher.finish()
    }
}

/// A place in the chain: the entry there, by its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// 1, 2, 3, …; 0 stands for the beginning, before the first entry.
    pub seq: u64,
    /// The hash of the entry there; [`Hash::ZERO`] at the beginning.
    pub hash: Hash,
    /// When that entry's call came.
    pub at: Timestamp,
}

impl Place {
    /// Before the first entry.
    pub const BEGINNING: Self = Self { seq: 0, hash: Hash::ZERO, at: Timestamp::from_micros(0) };
}

/// An entry in the chain, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Linked {
    /// Its place: 1, 2, 3, …
    pub seq: u64,
    /// How its hash is made.
    pub algorithm: Algorithm,
    /// The hash of the entry before it.
    pub previous: Hash,
    /// Its own.
    pub hash: Hash,
    /// What it says.
    #[serde(flatten)]
    pub entry: Entry,
}

impl Linked {
    /// An entry behind that place.
    #[must_use]
    pub fn after(place: Place, algorithm: Algorithm, entry: Entry) -> Self {
        let seq = place.seq + 1;
        let hash = entry.link(algorithm, seq, place.hash);
        Self { seq, algorithm, previous: place.hash, hash, entry }
    }

    /// Its place.
    #[must_use]
    pub const fn place(&self) -> Place {
        Place { seq: self.seq, hash: self.hash, at: self.entry.at }
    }
}

/// Entries behind one another, from `place` on.
#[must_use]
pub fn chain(mut place: Place, algorithm: Algorithm, entries: &[Entry]) -> Vec<Linked> {
    let link = |entry: &Entry| {
        let linked = Linked::after(place, algorithm, entry.clone());
        place = linked.place();
        linked
    };
    entries.iter().map(link).collect()
}

/// What is kept outside the store: the head of the chain at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// The head then.
    #[serde(flatten)]
    pub place: Place,
    /// When it was written down.
    pub anchored_at: Timestamp,
    /// The process that wrote it.
    pub node: String,
}
