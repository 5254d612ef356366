//! What stands for a patient where nobody has to know them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::id::PatientId;

/// Bytes of a pseudonym: two patients of a billion have the same one with a chance of 1 in 10^20.
const BYTES: usize = 16;

/// Gives each patient a pseudonym, always the same: HMAC-SHA-256 under a secret key, of which the first 128 bits. Without the key
/// it cannot be told whose it is, not even by trying all identifiers that there are.
#[derive(Clone)]
pub struct Pseudonyms(Hmac<Sha256>);

impl Pseudonyms {
    /// The shortest key, in bytes.
    pub const KEY_BYTES_MIN: usize = 32;

    /// Pseudonyms under that key; `None` when it is shorter than [`Pseudonyms::KEY_BYTES_MIN`].
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        if key.len() < Self::KEY_BYTES_MIN {
            return None;
        }
        let mac = Hmac::new_from_slice(key).ok()?;
        Some(Self(mac.chain_update(b"orderly.patient.v1")))
    }

    /// A patient's pseudonym: 22 characters of `[A-Za-z0-9_-]`.
    #[must_use]
    pub fn of(&self, patient: &PatientId) -> String {
        let mac = self.0.clone().chain_update(patient.as_str()).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode(&mac[..BYTES])
    }
}

impl std::fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pseudonyms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_with_the_patient_and_the_key() {
        let (one, other) = (Pseudonyms::new(&[1; 32]).expect("long"), Pseudonyms::new(&[2; 32]).expect("long"));
        let patient = |name: &str| name.parse::<PatientId>().expect("valid");
        let ann = one.of(&patient("ann"));
        assert_eq!((ann.len(), &ann), (22, &one.of(&patient("ann"))));
        assert_ne!(ann, one.of(&patient("anna")));
        assert_ne!(ann, other.of(&patient("ann")));
        assert!(Pseudonyms::new(&[1; 31]).is_none());
        assert_eq!(format!("{one:?}"), "Pseudonyms");
    }
}
