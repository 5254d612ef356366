//! The keys that seal and open: AES-256-GCM, a random nonce for each field.
//!
//! A field is bound to table, column and row: what was sealed for one patient's phone opens as nothing else. The row is the
//! booking's ticket, because it is known before the log says where the booking lies.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use orderly_domain::personal::{Clear, Field, Sealed, TABLE};
use orderly_domain::ticket;

/// A key, with the number by which sealed fields name it.
#[derive(Debug)]
pub struct Key {
    id: u16,
    key: RandomizedNonceKey,
}

impl Key {
    /// Bytes of a key.
    pub const BYTES: usize = 32;

    /// The key of that number; `None` when the secret has not [`Key::BYTES`].
    #[must_use]
    pub fn new(id: u16, secret: &[u8]) -> Option<Self> {
        RandomizedNonceKey::new(&AES_256_GCM, secret).ok().map(|key| Self { id, key })
    }

    /// Its number.
    #[must_use]
    pub const fn id(&self) -> u16 {
        self.id
    }
}

/// A field could not be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random numbers")]
pub struct Unsealed;

/// A sealed field that cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// Its key is not here.
    #[error("it is sealed with key {0}, which is not in this node's keys file")]
    UnknownKey(u16),
    /// Its form is newer than this program.
    #[error("it is sealed in a form that this program does not know")]
    UnknownForm,
    /// It was changed, or it is not where it was sealed for.
    #[error("it was sealed with another key {0}, or for another place, or was changed since")]
    Broken(u16),
}

/// Keys: the first seals, all open.
#[derive(Debug)]
pub struct Ring {
    sealing: Key,
    retired: Vec<Key>,
}

impl Ring {
    /// Seals with one key, and opens also what retired ones sealed.
    #[must_use]
    pub const fn new(sealing: Key, retired: Vec<Key>) -> Self {
        Self { sealing, retired }
    }

    /// The number of the key that seals.
    #[must_use]
    pub const fn sealing_id(&self) -> u16 {
        self.sealing.id
    }

    /// Seals a field of a booking's patient.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn seal(&self, field: Field, ticket: ticket::Id, clear: &Clear) -> Result<Sealed, Unsealed> {
        let mut bytes = clear.expose().as_bytes().to_vec();
        let place = Aad::from(place(self.sealing.id, field, ticket));
        let nonce = self.sealing.key.seal_in_place_append_tag(place, &mut bytes).map_err(|_| Unsealed)?;
        Ok(Sealed::new(self.sealing.id, nonce.as_ref(), &bytes))
    }

    /// Opens a field of a booking's patient.
    ///
    /// # Errors
    /// When its key is not here, or it is not what was sealed there.
    pub fn open(&self, field: Field, ticket: ticket::Id, sealed: &Sealed) -> Result<Clear, Unopened> {
        let (id, nonce, bytes) = sealed.parts().ok_or(Unopened::UnknownForm)?;
        let mut keys = std::iter::once(&self.sealing).chain(&self.retired);
        let key = keys.find(|key| key.id == id).ok_or(Unopened::UnknownKey(id))?;
        let mut bytes = bytes.to_vec();
        let (place, nonce) = (Aad::from(place(id, field, ticket)), Nonce::assume_unique_for_key(nonce));
        let opened = key.key.open_in_place(nonce, place, &mut bytes).map_err(|_| Unopened::Broken(id))?;
        let text = String::from_utf8(opened.to_vec()).map_err(|_| Unopened::Broken(id))?;
        Ok(Clear::opened(text))
    }
}

/// What a field is bound to: its key's number, table, column and row, each with its length where that may vary.
fn place(key_id: u16, field: Field, ticket: ticket::Id) -> Vec<u8> {
    let mut place = b"orderly.personal.v1".to_vec();
    place.extend(key_id.to_be_bytes());
    for part in [TABLE, field.as_str()] {
        place.extend((part.len() as u64).to_be_bytes());
        place.extend(part.as_bytes());
    }
    place.extend(ticket.as_bytes());
    place
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(id: u16, byte: u8) -> Key {
        Key::new(id, &[byte; Key::BYTES]).expect("long enough")
    }

    fn ring(id: u16) -> Ring {
        Ring::new(key(id, 1), vec![])
    }

    fn ticket(byte: u8) -> ticket::Id {
        ticket::Id::from_bytes([byte; 16])
    }

    fn phone() -> Clear {
        Clear::new(Field::Phone, "13812341234".into()).expect("valid")
    }

    #[test]
    fn opens_only_in_its_place_with_its_key() {
        let sealed = ring(1).seal(Field::Phone, ticket(1), &phone()).expect("random numbers");
        assert_eq!(sealed.key_id(), Some(1));
        assert_eq!(ring(1).open(Field::Phone, ticket(1), &sealed), Ok(phone()));
        assert_eq!(ring(1).open(Field::Name, ticket(1), &sealed), Err(Unopened::Broken(1)), "another column");
        assert_eq!(ring(1).open(Field::Phone, ticket(2), &sealed), Err(Unopened::Broken(1)), "another row");
        let other = Ring::new(key(1, 2), vec![]);
        assert_eq!(other.open(Field::Phone, ticket(1), &sealed), Err(Unopened::Broken(1)), "another key");
        assert_eq!(ring(2).open(Field::Phone, ticket(1), &sealed), Err(Unopened::UnknownKey(1)));
        let strange = Sealed::from_bytes(vec![9; 40]).expect("short enough");
        assert_eq!(ring(1).open(Field::Phone, ticket(1), &strange), Err(Unopened::UnknownForm));
        assert!(Key::new(1, &[1; 31]).is_none() && Key::new(1, &[1; 33]).is_none());
    }

    #[test]
    fn a_rotation_keeps_what_was_sealed_before() {
        let before = ring(1).seal(Field::Phone, ticket(1), &phone()).expect("random numbers");
        let rotated = Ring::new(key(2, 2), vec![key(1, 1)]);
        assert_eq!(rotated.open(Field::Phone, ticket(1), &before), Ok(phone()));
        let after = rotated.seal(Field::Phone, ticket(1), &phone()).expect("random numbers");
        assert_eq!((after.key_id(), rotated.open(Field::Phone, ticket(1), &after)), (Some(2), Ok(phone())));
    }

    #[test]
    fn the_same_text_is_never_sealed_the_same() {
        let seals: std::collections::HashSet<_> = (0..1_000)
            .map(|_| ring(1).seal(Field::Phone, ticket(1), &phone()).expect("random numbers").as_bytes().to_vec())
            .collect();
        assert_eq!(seals.len(), 1_000);
    }

    proptest! {
        /// No bit can be changed, and no byte be cut off, unnoticed. What names another key is not opened either.
        #[test]
        fn any_change_is_noticed(at in any::<prop::sample::Index>(), bit in 0_u8..8, cut in any::<prop::sample::Index>()) {
            let sealed = ring(1).seal(Field::Phone, ticket(1), &phone()).expect("random numbers");
            let mut bytes = sealed.as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let changed = Sealed::from_bytes(bytes).expect("short enough");
            prop_assert!(ring(1).open(Field::Phone, ticket(1), &changed).is_err());
            let shorter = &sealed.as_bytes()[..1 + cut.index(sealed.as_bytes().len() - 1)];
            let shorter = Sealed::from_bytes(shorter.to_vec()).expect("not empty");
            prop_assert!(ring(1).open(Field::Phone, ticket(1), &shorter).is_err());
        }
    }
}
