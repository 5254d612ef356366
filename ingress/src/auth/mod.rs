//! Who asks: bearer tokens (JWT), their keys and their roles.

mod identity;
mod keys;
mod verifier;

pub use identity::{Caller, Identity, Role, Roles};
pub use keys::{Algorithm, Error, Grant, Keys, Names, Refused};
pub(crate) use verifier::Verifier;
