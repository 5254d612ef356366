//! Keys that sign what the program gives away and reads again, other than tickets.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 16;

/// A key that signs, and those that signed before it. Each is derived for one purpose (see [`crate::ticket::Codec::derive`]), so
/// that what is signed for one means nothing for another.
#[derive(Clone)]
pub struct Keyring {
    signing: (u8, Hmac<Sha256>),
    retired: Vec<(u8, Hmac<Sha256>)>,
}

impl Keyring {
    pub(crate) fn new(signing: (u8, [u8; 32]), retired: impl Iterator<Item = (u8, [u8; 32])>) -> Self {
        let key =
            |(id, secret): (u8, [u8; 32])| (id, Hmac::new_from_slice(&secret).expect("HMAC takes keys of any length"));
        Self { signing: key(signing), retired: retired.map(key).collect() }
    }

    /// The signature over these parts, each with its length, and the number of the key.
    #[must_use]
    pub fn sign(&self, parts: &[&[u8]]) -> (u8, [u8; SIGNATURE_BYTES]) {
        let (id, key) = &self.signing;
        let mac = over(key, parts).finalize().into_bytes();
        (*id, mac[..SIGNATURE_BYTES].try_into().expect("HMAC-SHA-256 is longer"))
    }

    /// Whether the key of that number signed these parts so.
    #[must_use]
    pub fn has_signed(&self, id: u8, parts: &[&[u8]], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        let mut keys = std::iter::once(&self.signing).chain(&self.retired);
        keys.find(|(known, _)| *known == id)
            .is_some_and(|(_, key)| over(key, parts).verify_truncated_left(signature).is_ok())
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring({})", self.signing.0)
    }
}

fn over(key: &Hmac<Sha256>, parts: &[&[u8]]) -> Hmac<Sha256> {
    parts.iter().fold(key.clone(), |mac, part| mac.chain_update((part.len() as u64).to_be_bytes()).chain_update(part))
}

#[cfg(test)]
mod tests {
    use crate::ticket::{Codec, Key};

    #[test]
    fn signs_for_one_purpose_and_survives_a_rotation() {
        let key = |id: u8| Key::new(id, &[id; 32]).expect("long enough");
        let (old, new) = (Codec::new(key(1), vec![]), Codec::new(key(2), vec![key(1)]));
        let parts: [&[u8]; 2] = [b"ann", b"east"];
        let (id, signature) = old.derive("tea").sign(&parts);
        assert_eq!(id, 1);
        assert!(old.derive("tea").has_signed(id, &parts, &signature));
        assert!(new.derive("tea").has_signed(id, &parts, &signature));
        assert!(!new.derive("coffee").has_signed(id, &parts, &signature));
        assert!(!new.derive("tea").has_signed(2, &parts, &signature));
        assert!(!new.derive("tea").has_signed(3, &parts, &signature));
        assert!(!new.derive("tea").has_signed(id, &[b"anne", b"ast"], &signature));
        assert!(!Codec::new(key(2), vec![]).derive("tea").has_signed(id, &parts, &signature));
    }
}
