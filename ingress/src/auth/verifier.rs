//! Verifies tokens, each only once.

use std::sync::Arc;

use orderly_domain::Timestamp;
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::identity::{Caller, Identity};
use super::keys::{Keys, Refused};

/// Longer tokens are refused unread.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Verifies tokens with the keys of this server. A patient sends the same token with every call, so verified ones are
/// remembered by their hash; their times are checked on every call.
pub(crate) struct Verifier {
    keys: Keys,
    /// With the generation of the keys that they were verified by.
    verified: Cache<[u8; 32], (u64, Arc<Identity>)>,
}

impl Verifier {
    pub(crate) fn new(keys: Keys, cached_max: usize) -> Self {
        Self { keys, verified: Cache::new(cached_max) }
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(crate) fn verify(&self, token: &str, now: Timestamp) -> Result<Caller, Refused> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refused::Invalid);
        }
        let digest: [u8; 32] = Sha256::digest(token).into();
        // Before the look at the keys: what is verified while they are replaced is verified again.
        let generation = self.keys.generation();
        let identity = match self.verified.get(&digest) {
            Some((of, identity)) if of == generation => identity,
            _ => {
                let identity = Arc::new(self.keys.read(token)?);
                self.verified.insert(digest, (generation, Arc::clone(&identity)));
                identity
            }
        };
        identity.check_time(now)?;
        Ok(Caller(identity))
    }
}
