//! Challenges: what a booking costs whom the policy finds suspicious. People notice nothing or little; a program that books by
//! the thousand pays for each.

mod used;
mod work;

use std::fmt::Debug;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{HeaderMap, HeaderName};
use orderly_domain::{PatientId, Timestamp, ticket};
use serde_json::Value;

use crate::problem::{Problem, kind};
use crate::state::State;
use crate::suspicion::Signal;

pub(crate) use work::PURPOSE;
pub use work::ProofOfWork;

/// The header that answers a challenge.
pub(crate) const RESPONSE: HeaderName = HeaderName::from_static("challenge-response");

/// The longest answer that is looked at, in bytes.
const RESPONSE_BYTES_MAX: usize = 4_096;

/// The booking that is challenged. An answer for one is none for another.
#[derive(Clone, Copy, Debug)]
pub struct Booking<'a> {
    /// Who books.
    pub patient: &'a PatientId,
    /// From where.
    pub address: IpAddr,
    /// The ticket that the booking would have: its patient and Idempotency-Key.
    pub ticket: ticket::Id,
}

/// How hard a challenge is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// About 2 to the power of this many tries for a program; a challenge of another kind makes of it what it can.
    pub bits: u8,
    /// For how long it can be answered.
    pub valid_for: Duration,
}

/// Why an answer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It answers no challenge of this booking.
    #[error("The answer is not to a challenge of this booking, from here: answer the one in this problem.")]
    Foreign,
    /// The challenge is too old.
    #[error("The challenge that was answered is too old: answer the one in this problem.")]
    Stale,
    /// It is not the answer.
    #[error("The answer is wrong: answer the challenge in this problem.")]
    Wrong,
    /// It was taken before.
    #[error("The answer was taken before: answer the challenge in this problem.")]
    Used,
    /// It cannot be told whether it is the answer.
    #[error("The answer cannot be checked at the moment: answer the challenge in this problem.")]
    Unavailable,
}

impl Refused {
    /// Its name in problems and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Stale => "stale",
            Self::Wrong => "wrong",
            Self::Used => "used",
            Self::Unavailable => "unavailable",
        }
    }
}

/// A kind of challenge. Every node must be able to check what another one asked.
#[async_trait]
pub trait Challenge: Debug + Send + Sync + 'static {
    /// What a client needs to answer it, as the member `challenge` of the problem; its member `scheme` names the kind.
    fn issue(&self, booking: &Booking<'_>, demand: Demand, now: Timestamp) -> Value;

    /// Checks what the client sent in the header `Challenge-Response`. What was taken once is not taken again.
    ///
    /// # Errors
    /// Why it is not taken.
    async fn verify(&self, booking: &Booking<'_>, response: &str, now: Timestamp) -> Result<(), Refused>;
}

/// Lets a booking pass of which nothing is demanded, or that has answered.
pub(crate) async fn pass(
    state: &State,
    demand: Option<Demand>,
    booking: Booking<'_>,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    let Some(demand) = demand else { return Ok(()) };
    let (now, metrics) = (state.ports.clock.now(), &state.policy.suspicion.metrics);
    let mut problem = Problem::new(&kind::CHALLENGE_REQUIRED).detail(
        "Answer the challenge, and send the same request with the same Idempotency-Key and the answer in the header \
         Challenge-Response. Nothing was taken.",
    );
    if let Some(response) = headers.get(RESPONSE) {
        let readable = response.to_str().ok().filter(|response| response.len() <= RESPONSE_BYTES_MAX);
        let verified = match readable {
            Some(response) => state.challenge.verify(&booking, response, now).await,
            None => Err(Refused::Foreign),
        };
        let Err(refused) = verified else {
            metrics.challenge("passed");
            return Ok(());
        };
        metrics.challenge(refused.as_str());
        // Who changes networks answers for the address before, and who retries has answered: people do both.
        if matches!(refused, Refused::Wrong) {
            state.policy.suspicion.note(Signal::WrongAnswer, Some(booking.patient), Some(booking.address), now);
        }
        problem = problem.detail(refused.to_string()).member("refused", refused.as_str());
    }
    metrics.challenge("issued");
    Err(problem.member("challenge", state.challenge.issue(&booking, demand, now)))
}
