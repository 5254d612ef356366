//! A field that nobody can read without its key.

use serde::{Deserialize, Serialize};

/// AES-256-GCM under a random nonce: how [`Sealed`] begins that was made so.
const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const HEAD_BYTES: usize = 1 + 2 + NONCE_BYTES;

/// A sealed field: the number of its key, the nonce, and what can be opened only with that key and in its place. Log, pipeline
/// and store pass it on as it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed(Box<[u8]>);

impl Sealed {
    /// The longest, in bytes.
    pub const BYTES_MAX: usize = 1_024;

    /// Puts its parts together; the tag is the end of `sealed`.
    #[must_use]
    pub fn new(key_id: u16, nonce: &[u8; NONCE_BYTES], sealed: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + sealed.len());
        bytes.push(FORMAT);
        bytes.extend(key_id.to_be_bytes());
        bytes.extend(nonce);
        bytes.extend(sealed);
        Self(bytes.into_boxed_slice())
    }

    /// From its bytes, whatever they mean: a form that is newer than this program is passed on too. `None` when it is empty or
    /// longer than [`Sealed::BYTES_MAX`].
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        (1..=Self::BYTES_MAX).contains(&bytes.len()).then(|| Self(bytes.into_boxed_slice()))
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The number of its key; `None` when its form is not known here.
    #[must_use]
    pub fn key_id(&self) -> Option<u16> {
        self.parts().map(|(key_id, ..)| key_id)
    }

    /// The number of its key, its nonce, and what is sealed with its tag; `None` when its form is not known here.
    #[must_use]
    pub fn parts(&self) -> Option<(u16, [u8; NONCE_BYTES], &[u8])> {
        let (head, sealed) = self.0.split_at_checked(HEAD_BYTES)?;
        let nonce = head[3..].try_into().ok()?;
        (head[0] == FORMAT && sealed.len() >= TAG_BYTES)
            .then(|| (u16::from_be_bytes([head[1], head[2]]), nonce, sealed))
    }
}

/// Which key and how long; the bytes are nobody's business.
impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.key_id() {
            Some(key_id) => write!(f, "Sealed(key {key_id}, {} bytes)", self.0.len()),
            None => write!(f, "Sealed({} bytes)", self.0.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_apart_as_it_was_put_together() {
        let sealed = Sealed::new(7, &[1; 12], &[2; 20]);
        assert_eq!(sealed.parts(), Some((7, [1; 12], &[2; 20][..])));
        assert_eq!(Sealed::from_bytes(sealed.as_bytes().to_vec()), Some(sealed.clone()));
        assert_eq!(format!("{sealed:?}"), "Sealed(key 7, 35 bytes)");
        for strange in [vec![9; 40], vec![FORMAT; HEAD_BYTES + TAG_BYTES - 1], vec![FORMAT]] {
            assert_eq!(Sealed::from_bytes(strange).expect("passed on").key_id(), None);
        }
        assert_eq!(Sealed::from_bytes(vec![]), None);
        assert_eq!(Sealed::from_bytes(vec![1; Sealed::BYTES_MAX + 1]), None);
    }
}
