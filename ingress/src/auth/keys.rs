//! The key by which tokens are verified, and, where it is ours, signed.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{DecodingKey, EncodingKey, Header};
use orderly_domain::{PatientId, Timestamp};
use serde::{Deserialize, Serialize};

use super::identity::{Identity, Role};
use super::set::{Key, KeySet};

/// How tokens are signed. One key has one algorithm: a token cannot choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// HMAC with SHA-256: a shared secret.
    HS256,
    /// RSA PKCS#1 v1.5 with SHA-256.
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::HS256 => Self::HS256,
            Algorithm::RS256 => Self::RS256,
            Algorithm::ES256 => Self::ES256,
            Algorithm::EdDSA => Self::EdDSA,
        }
    }
}

/// The names that a token must carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// `iss`: who issued it.
    pub issuer: String,
    /// `aud`: whom it is for.
    pub audience: String,
}

impl Default for Names {
    fn default() -> Self {
        Self { issuer: "orderly".into(), audience: "orderly".into() }
    }
}

/// A key or a token that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too short to be safe.
    #[error("an HS256 secret must be at least {min} bytes long, this one is {0}; make one with: head -c 48 /dev/urandom | base64", min = Keys::SECRET_BYTES_MIN)]
    ShortSecret(usize),
    /// Not readable as a key of that algorithm.
    #[error("not a PEM public key for {algorithm:?}: {cause}")]
    Pem {
        /// The algorithm.
        algorithm: Algorithm,
        /// What the reader said.
        cause: jsonwebtoken::errors::Error,
    },
    /// A shared secret is not given as PEM.
    #[error("HS256 takes a secret, not a PEM key; set the secret, or an algorithm of RS256, ES256 or EdDSA")]
    NotAsymmetric,
    /// Not a set of keys that tokens can be verified with.
    #[error("not a usable set of keys (JWKS): {0}")]
    Set(String),
    /// Only the public half is known here.
    #[error("this key can only verify; mint tokens where its private half is")]
    VerifyOnly,
    /// The token could not be signed.
    #[error("the token could not be signed: {0}")]
    Sign(jsonwebtoken::errors::Error),
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not signed by the key, with its algorithm, for these names; or not a token at all.
    #[error("the token is not valid here; get a new one")]
    Invalid,
    /// Its time is over.
    #[error("the token has expired; get a new one")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet; check the clocks")]
    TooEarly,
}

#[derive(Serialize)]
struct Minted<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    azp: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member_level: Option<&'a str>,
    iat: i64,
    nbf: i64,
    exp: i64,
}

#[derive(Clone, Deserialize)]
struct Claims {
    /// One issuer: a list of which one is ours would pass the check of the signature, too.
    iss: String,
    sub: PatientId,
    exp: i64,
    nbf: i64,
    role: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
    azp: Option<String>,
    client_id: Option<String>,
    member_level: Option<String>,
}

/// What a token is to say.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    /// `sub`: for a patient, the patient.
    pub subject: &'a PatientId,
    /// `role`.
    pub role: Role,
    /// `azp`: the program that asks for them.
    pub client: Option<&'a str>,
    /// `member_level`.
    pub level: Option<&'a str>,
}

impl<'a> Grant<'a> {
    /// A subject with a role, and nothing else.
    #[must_use]
    pub const fn plain(subject: &'a PatientId, role: Role) -> Self {
        Self { subject, role, client: None, level: None }
    }
}

/// The keys by which tokens are verified; a shared secret also signs. Copies share the keys of a set.
#[derive(Clone)]
pub struct Keys {
    verifying: Verifying,
    signing: Option<EncodingKey>,
    algorithm: Algorithm,
    names: Names,
}

#[derive(Clone)]
enum Verifying {
    One(Arc<Key>),
    /// Those of an identity provider, by the names that tokens call them by.
    Set(Arc<KeySet>),
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("algorithm", &self.algorithm).field("names", &self.names).finish_non_exhaustive()
    }
}

impl Keys {
    /// The shortest HS256 secret, in bytes (RFC 7518: not shorter than the hash).
    pub const SECRET_BYTES_MIN: usize = 32;

    /// How far clocks may differ.
    pub const LEEWAY: Duration = Duration::from_secs(5);

    /// A shared secret, HS256.
    ///
    /// # Errors
    /// When it is shorter than [`Keys::SECRET_BYTES_MIN`].
    pub fn from_secret(secret: &[u8], names: Names) -> Result<Self, Error> {
        if secret.len() < Self::SECRET_BYTES_MIN {
            return Err(Error::ShortSecret(secret.len()));
        }
        let signing = Some(EncodingKey::from_secret(secret));
        Ok(Self::one(Algorithm::HS256, DecodingKey::from_secret(secret), signing, names))
    }

    /// A public key in PEM, for RS256, ES256 or EdDSA.
    ///
    /// # Errors
    /// When it is not such a key.
    pub fn from_pem(algorithm: Algorithm, pem: &[u8], names: Names) -> Result<Self, Error> {
        let verifying = match algorithm {
            Algorithm::HS256 => return Err(Error::NotAsymmetric),
            Algorithm::RS256 => DecodingKey::from_rsa_pem(pem),
            Algorithm::ES256 => DecodingKey::from_ec_pem(pem),
            Algorithm::EdDSA => DecodingKey::from_ed_pem(pem),
        };
        let verifying = verifying.map_err(|cause| Error::Pem { algorithm, cause })?;
        Ok(Self::one(algorithm, verifying, None, names))
    }

    /// The keys of an identity provider, none of which is known yet: see [`Keys::replace`].
    #[must_use]
    pub fn of_provider(names: Names) -> Self {
        let verifying = Verifying::Set(Arc::new(KeySet::new(names.clone())));
        Self { verifying, signing: None, algorithm: Algorithm::EdDSA, names }
    }

    fn one(algorithm: Algorithm, verifying: DecodingKey, signing: Option<EncodingKey>, names: Names) -> Self {
        let key = Key::new(algorithm, verifying, &names);
        Self { verifying: Verifying::One(Arc::new(key)), signing, algorithm, names }
    }

    /// Takes the provider's keys as they are now (RFC 7517, JSON); answers with how many can be used. Tokens of keys that
    /// are not among them are refused from then on.
    ///
    /// # Errors
    /// When it is no set of keys, or none of them can be used; then those before stay.
    pub fn replace(&self, document: &str) -> Result<usize, Error> {
        match &self.verifying {
            Verifying::One(_) => Err(Error::Set("there is one fixed key here".into())),
            Verifying::Set(set) => set.replace(document),
        }
    }

    /// Waits until a token names a key that is not known, so that it is worth asking the provider again.
    pub async fn wanted(&self) {
        match &self.verifying {
            Verifying::One(_) => std::future::pending().await,
            Verifying::Set(set) => set.wanted().await,
        }
    }

    /// Rises whenever the keys are replaced: what was verified before has to be verified again.
    pub(super) fn generation(&self) -> u64 {
        match &self.verifying {
            Verifying::One(_) => 0,
            Verifying::Set(set) => set.generation(),
        }
    }

    /// Whether tokens can be minted with it.
    #[must_use]
    pub const fn can_sign(&self) -> bool {
        self.signing.is_some()
    }

    /// A token, good from `now` for `ttl`.
    ///
    /// # Errors
    /// [`Error::VerifyOnly`] when only a public key is known.
    pub fn mint(&self, grant: Grant<'_>, now: Timestamp, ttl: Duration) -> Result<String, Error> {
        let key = self.signing.as_ref().ok_or(Error::VerifyOnly)?;
        let issued_at = now.as_millis().div_euclid(1_000);
        let claims = Minted {
            iss: &self.names.issuer,
            aud: &self.names.audience,
            sub: grant.subject.as_str(),
            role: grant.role.as_str(),
            azp: grant.client,
            member_level: grant.level,
            iat: issued_at,
            nbf: issued_at,
            exp: issued_at.saturating_add(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)),
        };
        jsonwebtoken::encode(&Header::new(self.algorithm.into()), &claims, key).map_err(Error::Sign)
    }

    /// Reads a token: checks signature, algorithm, `iss`, `aud`, `sub`, and that `exp` and `nbf` are there. Call
    /// [`Identity::check_time`] before it is used.
    ///
    /// # Errors
    /// [`Refused::Invalid`], without saying which check failed.
    pub fn read(&self, token: &str) -> Result<Identity, Refused> {
        let key = match &self.verifying {
            Verifying::One(key) => Arc::clone(key),
            Verifying::Set(set) => set.key_of(token).ok_or(Refused::Invalid)?,
        };
        let claims: Claims = key.claims(token).ok_or(Refused::Invalid)?;
        if claims.iss != self.names.issuer {
            return Err(Refused::Invalid);
        }
        let roles = claims.role.iter().chain(&claims.roles).filter_map(|name| name.parse().ok()).collect();
        let moment = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1_000));
        Ok(Identity {
            subject: claims.sub,
            roles,
            client: claims.azp.or(claims.client_id),
            level: claims.member_level,
            not_before: moment(claims.nbf),
            expires_at: moment(claims.exp),
        })
    }
}

impl Identity {
    /// Whether the token's time is now, give or take [`Keys::LEEWAY`].
    ///
    /// # Errors
    /// [`Refused::Expired`] and [`Refused::TooEarly`].
    pub fn check_time(&self, now: Timestamp) -> Result<(), Refused> {
        if now >= self.expires_at.plus(Keys::LEEWAY) {
            return Err(Refused::Expired);
        }
        if now.plus(Keys::LEEWAY) < self.not_before {
            return Err(Refused::TooEarly);
        }
        Ok(())
    }
}
