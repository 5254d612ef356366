//! One key, and the keys of an identity provider.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{DecodingKey, Validation};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use super::keys::{Algorithm, Error, Names};

/// A key with the one algorithm it is for.
pub(super) struct Key {
    verifying: DecodingKey,
    validation: Validation,
}

impl Key {
    pub(super) fn new(algorithm: Algorithm, verifying: DecodingKey, names: &Names) -> Self {
        let mut validation = Validation::new(algorithm.into());
        validation.set_issuer(&[&names.issuer]);
        validation.set_audience(&[&names.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "exp", "nbf", "sub"]);
        // Times are checked on every call, against the injected clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self { verifying, validation }
    }

    /// What a token says, if this key has signed it, by this algorithm, for these names.
    pub(super) fn claims<T: DeserializeOwned + Clone>(&self, token: &str) -> Option<T> {
        jsonwebtoken::decode::<T>(token, &self.verifying, &self.validation).ok().map(|data| data.claims)
    }
}

/// A set of keys, as it is told.
#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

/// The keys of an identity provider, by their `kid`.
pub(super) struct KeySet {
    names: Names,
    keys: ArcSwap<HashMap<String, Arc<Key>>>,
    /// What they were read from: the same again changes nothing.
    document: ArcSwap<String>,
    generation: AtomicU64,
    wanted: Notify,
}

impl KeySet {
    pub(super) fn new(names: Names) -> Self {
        Self {
            names,
            keys: ArcSwap::default(),
            document: ArcSwap::default(),
            generation: AtomicU64::new(0),
            wanted: Notify::new(),
        }
    }

    pub(super) fn replace(&self, document: &str) -> Result<usize, Error> {
        if *self.document.load_full() == document {
            return Ok(self.keys.load().len());
        }
        let set: Document = serde_json::from_str(document).map_err(|error| Error::Set(error.to_string()))?;
        // One by one: a key of a kind that is not known here is none of ours, and takes no other with it.
        let known = set.keys.iter().filter_map(|key| Jwk::deserialize(key).ok());
        let keys: HashMap<_, _> = known.filter_map(|key| self.usable(&key)).collect();
        if keys.is_empty() {
            return Err(Error::Set(format!(
                "of its {} keys none has a kid and is for RS256, ES256 or EdDSA signatures",
                set.keys.len()
            )));
        }
        let count = keys.len();
        self.keys.store(Arc::new(keys));
        self.document.store(Arc::new(document.to_owned()));
        self.generation.fetch_add(1, Ordering::Release);
        Ok(count)
    }

    fn usable(&self, key: &Jwk) -> Option<(String, Arc<Key>)> {
        let name = key.common.key_id.clone()?;
        if key.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
            return None;
        }
        // The kind of key says what it is for: a token, or a set that was tampered with, cannot choose a weaker way.
        let algorithm = match (&key.algorithm, key.common.key_algorithm) {
            (AlgorithmParameters::RSA(_), None | Some(KeyAlgorithm::RS256)) => Algorithm::RS256,
            (AlgorithmParameters::EllipticCurve(curve), None | Some(KeyAlgorithm::ES256))
                if curve.curve == EllipticCurve::P256 =>
            {
                Algorithm::ES256
            }
            (AlgorithmParameters::OctetKeyPair(curve), None | Some(KeyAlgorithm::EdDSA))
                if curve.curve == EllipticCurve::Ed25519 =>
            {
                Algorithm::EdDSA
            }
            _ => return None,
        };
        let verifying = DecodingKey::from_jwk(key).ok()?;
        Some((name, Arc::new(Key::new(algorithm, verifying, &self.names))))
    }

    /// The key that a token names. Where it is not known, it is wanted.
    pub(super) fn key_of(&self, token: &str) -> Option<Arc<Key>> {
        let name = jsonwebtoken::decode_header(token).ok()?.kid?;
        let key = self.keys.load().get(&name).cloned();
        if key.is_none() {
            self.wanted.notify_one();
        }
        key
    }

    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}
