//! Hashes of the trail.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sm3::Sm3;

/// How hashes are made. Both give 32 bytes; each entry says which made its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// SM3, GB/T 32905-2016.
    #[default]
    Sm3,
    /// SHA-256, FIPS 180-4.
    Sha256,
}

impl Algorithm {
    /// Its number in encodings and tables.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Sm3 => 1,
            Self::Sha256 => 2,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sm3 => "sm3",
            Self::Sha256 => "sha256",
        }
    }
}

/// Not the number of an algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no hash algorithm {0}; 1 is SM3, 2 is SHA-256")]
pub struct UnknownAlgorithm(pub i64);

impl TryFrom<i64> for Algorithm {
    type Error = UnknownAlgorithm;
    fn try_from(code: i64) -> Result<Self, UnknownAlgorithm> {
        let known = [Self::Sm3, Self::Sha256].into_iter().find(|known| i64::from(known.code()) == code);
        known.ok_or(UnknownAlgorithm(code))
    }
}

/// A hash: 32 bytes, in text 64 hexadecimal digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash([u8; 32]);

/// Not a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hash has 32 bytes, written as 64 hexadecimal digits")]
pub struct NotAHash;

impl Hash {
    /// What stands before the first entry.
    pub const ZERO: Self = Self([0; 32]);

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TryFrom<&[u8]> for Hash {
    type Error = NotAHash;
    fn try_from(bytes: &[u8]) -> Result<Self, NotAHash> {
        bytes.try_into().map(Self).map_err(|_| NotAHash)
    }
}

impl std::str::FromStr for Hash {
    type Err = NotAHash;
    fn from_str(text: &str) -> Result<Self, NotAHash> {
        if text.len() != 64 || !text.is_ascii() {
            return Err(NotAHash);
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| NotAHash)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Hash {
    type Error = NotAHash;
    fn try_from(text: String) -> Result<Self, NotAHash> {
        text.parse()
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Makes a hash piece by piece.
#[derive(Clone, Debug)]
pub struct Hasher(State);

#[derive(Clone, Debug)]
enum State {
    Sm3(Sm3),
    Sha256(Sha256),
}

impl Hasher {
    /// Nothing is hashed yet.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sm3 => State::Sm3(Sm3::new()),
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
        })
    }

    /// Adds bytes as they are.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sm3(state) => state.update(bytes),
            State::Sha256(state) => state.update(bytes),
        }
    }

    /// Adds a text with its length before it.
    pub fn text(&mut self, text: &str) {
        self.update(&(text.len() as u64).to_be_bytes());
        self.update(text.as_bytes());
    }

    /// Adds a text that may be missing, which is not the same as an empty one.
    pub fn maybe_text(&mut self, text: Option<&str>) {
        self.update(&[u8::from(text.is_some())]);
        if let Some(text) = text {
            self.text(text);
        }
    }

    /// The hash of what was added.
    #[must_use]
    pub fn finish(self) -> Hash {
        match self.0 {
            State::Sm3(state) => Hash(state.finalize().into()),
            State::Sha256(state) => Hash(state.finalize().into()),
        }
    }
}

/// Begins the hash of a request; its body follows as it is. Whoever has the request can make the same:
/// `orderly.request.v1`, then method, path and query with the length of each before it in 8 bytes, big end first, then the
/// body.
#[must_use]
pub fn request_hash(algorithm: Algorithm, method: &str, path: &str, query: &str) -> Hasher {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(b"orderly.request.v1");
    for text in [method, path, query] {
        hasher.text(text);
    }
    hasher
}

/// What stands for a ticket in the trail: whoever has the ticket can find its entries, and nobody gets it from them.
#[must_use]
pub fn ticket_hash(algorithm: Algorithm, ticket: &str) -> Hash {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(b"orderly.ticket.v1");
    hasher.text(ticket);
    hasher.finish()
}
