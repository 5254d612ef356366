//! Tickets: what a patient holds on one intent.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::clock::Timestamp;
use crate::id::{PatientId, SessionId};
use crate::keyring::Keyring;
use crate::position::Position;

/// A ticket's identity, derived from (patient, Idempotency-Key): a retry is the same ticket, on whichever node it lands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Id([u8; 16]);

impl Id {
    /// The identity of a patient's request with that key: the first 16 bytes of SHA-256 over both, each with its length.
    #[must_use]
    pub fn derive(patient: &PatientId, idempotency_key: &str) -> Self {
        let mut hash = Sha256::new_with_prefix(b"orderly.ticket.v1");
        for part in [patient.as_str(), idempotency_key] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        Self(digest[..16].try_into().expect("SHA-256 is longer than 16 bytes"))
    }

    /// From its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// What a ticket says. Any node can answer "queued, position n" from it without a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// Which ticket it is.
    pub id: Id,
    /// Where its intent lies in the log.
    pub position: Position,
    /// When the log took it.
    pub logged_at: Timestamp,
    /// The session it asks for.
    pub session_id: SessionId,
}

/// A string that is not a ticket of this patient, signed with a key that is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such ticket")]
pub struct Unknown;

/// A signing key; its number is in every ticket it signed, so that keys can be rotated.
#[derive(Clone)]
pub struct Key {
    id: u8,
    mac: Hmac<Sha256>,
}

impl Key {
    /// The shortest secret, in bytes.
    pub const BYTES_MIN: usize = 32;

    /// A key of that number; `None` when the secret is shorter than [`Key::BYTES_MIN`].
    #[must_use]
    pub fn new(id: u8, secret: &[u8]) -> Option<Self> {
        if secret.len() < Self::BYTES_MIN {
            return None;
        }
        Hmac::new_from_slice(secret).ok().map(|mac| Self { id, mac })
    }

    /// Its number.
    #[must_use]
    pub const fn id(&self) -> u8 {
        self.id
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

/// Turns handles into the opaque, url-safe strings that patients hold, and back. The signature covers the patient too: in
/// another's hands a ticket is unknown.
#[derive(Clone, Debug)]
pub struct Codec {
    signing: Key,
    retired: Vec<Key>,
}

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 1 + 1 + 2 + 8 + 8 + 16;
const MAC_BYTES: usize = 16;

impl Codec {
    /// Signs with one key and still accepts the tickets of retired ones.
    #[must_use]
    pub const fn new(signing: Key, retired: Vec<Key>) -> Self {
        Self { signing, retired }
    }

    /// Keys for something else than tickets, made of the same secrets: every node has the same.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Keyring {
        let of = |key: &Key| (key.id, key.mac.clone().chain_update(purpose).finalize().into_bytes().into());
        Keyring::new(of(&self.signing), self.retired.iter().map(of))
    }

    /// The patient's string for a handle: at most 215 characters of `[A-Za-z0-9_-]`.
    #[must_use]
    pub fn encode(&self, handle: &Handle, patient: &PatientId) -> String {
        let session = handle.session_id.as_str().as_bytes();
        let mut bytes = Vec::with_capacity(HEAD_BYTES + session.len() + MAC_BYTES);
        bytes.extend([VERSION, self.signing.id]);
        bytes.extend(handle.position.partition.to_be_bytes());
        bytes.extend(handle.position.offset.to_be_bytes());
        bytes.extend(handle.logged_at.as_micros().to_be_bytes());
        bytes.extend(handle.id.as_bytes());
        bytes.extend(session);
        let signature = sign(&self.signing, &bytes, patient).finalize().into_bytes();
        bytes.extend(&signature[..MAC_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a string that this patient presents.
    ///
    /// # Errors
    /// [`Unknown`] for everything that was not signed for this patient with a key that is known here. It does not say
    /// more, so that tickets cannot be probed.
    pub fn decode(&self, ticket: &str, patient: &PatientId) -> Result<Handle, Unknown> {
        let bytes = URL_SAFE_NO_PAD.decode(ticket).map_err(|_| Unknown)?;
        let signed = bytes.len().checked_sub(MAC_BYTES).ok_or(Unknown)?;
        let (body, signature) = bytes.split_at(signed);
        let (head, session) = body.split_at_checked(HEAD_BYTES).ok_or(Unknown)?;
        if head[0] != VERSION {
            return Err(Unknown);
        }
        let key = std::iter::once(&self.signing).chain(&self.retired).find(|key| key.id == head[1]).ok_or(Unknown)?;
        sign(key, body, patient).verify_truncated_left(signature).map_err(|_| Unknown)?;
        let session_id = std::str::from_utf8(session).ok().and_then(|id| id.parse().ok()).ok_or(Unknown)?;
        Ok(Handle {
            id: Id(head[20..36].try_into().map_err(|_| Unknown)?),
            position: Position {
                partition: u16::from_be_bytes([head[2], head[3]]),
                offset: u64::from_be_bytes(head[4..12].try_into().map_err(|_| Unknown)?),
            },
            logged_at: Timestamp::from_micros(i64::from_be_bytes(head[12..20].try_into().map_err(|_| Unknown)?)),
            session_id,
        })
    }
}

fn sign(key: &Key, body: &[u8], patient: &PatientId) -> Hmac<Sha256> {
    key.mac.clone().chain_update((body.len() as u64).to_be_bytes()).chain_update(body).chain_update(patient.as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(id: u8) -> Key {
        Key::new(id, &[id; 32]).expect("long enough")
    }

    fn patient(name: &str) -> PatientId {
        name.parse().expect("valid")
    }

    proptest! {
        #[test]
        fn only_its_owner_can_read_it(
            partition in any::<u16>(), offset in any::<u64>(), at in any::<i64>(), id in any::<[u8; 16]>(),
            session in "[a-z0-9-]{1,96}", flip in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(),
        ) {
            let handle = Handle {
                id: Id(id), position: Position { partition, offset }, logged_at: Timestamp::from_micros(at),
                session_id: session.parse().expect("valid"),
            };
            let old = Codec::new(key(1), vec![]);
            let rotated = Codec::new(key(2), vec![key(1)]);
            let ticket = old.encode(&handle, &patient("ann"));
            prop_assert!(ticket.len() <= 215 && ticket.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            prop_assert_eq!(rotated.decode(&ticket, &patient("ann")), Ok(handle));
            prop_assert_eq!(rotated.decode(&ticket, &patient("bob")), Err(Unknown));
            prop_assert_eq!(Codec::new(key(2), vec![]).decode(&ticket, &patient("ann")), Err(Unknown));
            prop_assert_eq!(old.decode(&ticket[..cut.index(ticket.len())], &patient("ann")), Err(Unknown));
            let mut forged = URL_SAFE_NO_PAD.decode(&ticket).expect("base64");
            let at = flip.index(forged.len());
            forged[at] ^= 1;
            prop_assert_eq!(old.decode(&URL_SAFE_NO_PAD.encode(forged), &patient("ann")), Err(Unknown));
        }

        #[test]
        fn any_text_is_refused(text in ".{0,300}") {
            prop_assert_eq!(Codec::new(key(1), vec![]).decode(&text, &patient("ann")), Err(Unknown));
        }
    }

    #[test]
    fn identity_keeps_patient_and_key_apart() {
        assert_eq!(Id::derive(&patient("ann"), "k"), Id::derive(&patient("ann"), "k"));
        assert_ne!(Id::derive(&patient("ann"), "k"), Id::derive(&patient("an"), "nk"));
    }
}
