//! What a verified token says.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use orderly_domain::{PatientId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::problem::{Problem, kind};

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Books and cancels for themselves.
    Patient,
    /// Runs the clinic: sessions, policies, the pipeline.
    Ops,
    /// Reads reports.
    Analyst,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Patient, Self::Ops, Self::Analyst];

    /// Its name in tokens.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::Ops => "ops",
            Self::Analyst => "analyst",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl std::str::FromStr for Role {
    type Err = UnknownRole;
    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == name).ok_or(UnknownRole)
    }
}

/// Not the name of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is one of: patient, ops, analyst")]
pub struct UnknownRole;

/// A set of roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    /// Whether the role is in it.
    #[must_use]
    pub const fn has(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().fold(0, |set, role| set | role.bit()))
    }
}

/// A caller, as their token names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The token's `sub`: for a patient, the patient.
    pub subject: PatientId,
    /// What they may do.
    pub roles: Roles,
    /// The program that asks for them: the token's `azp`, or `client_id`.
    pub client: Option<String>,
    /// Their member level: the token's `member_level`.
    pub level: Option<String>,
    /// From when on the token is good.
    pub not_before: Timestamp,
    /// From when on it is not.
    pub expires_at: Timestamp,
}

/// Hands a handler the caller whom the gate let in.
#[derive(Clone, Debug)]
pub struct Caller(pub Arc<Identity>);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::new(&kind::UNAUTHENTICATED))
    }
}
