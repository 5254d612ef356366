//! When somebody is suspicious, and how hard they are challenged then.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// When somebody is suspicious, and how hard they are challenged then. What is counted halves again and again while nothing
/// comes to it; what is beyond what is tolerated counts towards a score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = SuspicionPolicy)]
pub struct Suspicion {
    /// After how long a count is worth half, in seconds.
    pub half_life_s: f64,
    /// From which score on a booking is challenged. A booking has the score of its patient and that of its address.
    pub challenge_score: f64,
    /// How many patients, and how many addresses, are told apart. The least suspicious makes room.
    pub keys_max: u32,
    /// The challenge.
    pub work: Work,
    /// What counts against a patient.
    pub patient: OfPatient,
    /// What counts against a client address; a campus may stand behind one.
    pub address: OfAddress,
}

impl Default for Suspicion {
    fn default() -> Self {
        Self {
            half_life_s: 60.0,
            challenge_score: 10.0,
            keys_max: 65_536,
            work: Work::default(),
            patient: OfPatient::default(),
            address: OfAddress::default(),
        }
    }
}

/// How hard a challenge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = SuspicionWork)]
pub struct Work {
    /// Bits of work at the score from which on bookings are challenged. Each bit doubles the work: 14 is about 16,000 hashes.
    pub bits_min: u8,
    /// Bits of work at most. Each doubling of the score adds two.
    pub bits_max: u8,
    /// For how long a challenge can be answered, in seconds.
    pub valid_s: u32,
}

impl Default for Work {
    fn default() -> Self {
        Self { bits_min: 14, bits_max: 20, valid_s: 60 }
    }
}

/// How much of something is tolerated, and what counts beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SuspicionWeight)]
pub struct Weight {
    /// How many count nothing.
    pub tolerated: f64,
    /// What each beyond that adds to the score; 0 ignores it.
    pub weight: f64,
}

impl Weight {
    const fn of(tolerated: f64, weight: f64) -> Self {
        Self { tolerated, weight }
    }

    /// What a count adds to the score.
    #[must_use]
    pub fn points(self, count: f64) -> f64 {
        (count - self.tolerated).max(0.0) * self.weight
    }
}

/// What counts against a patient.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = SuspiciousPatient)]
pub struct OfPatient {
    /// Requests that were throttled.
    pub throttled: Weight,
    /// Calls that the token's role may not make.
    pub refused: Weight,
    /// Tickets that are not theirs or that do not exist.
    pub unknown_tickets: Weight,
    /// Bookings given back.
    pub cancellations: Weight,
    /// Different sessions that were asked for.
    pub sessions: Weight,
    /// Challenges answered wrongly.
    pub wrong_answers: Weight,
}

impl Default for OfPatient {
    fn default() -> Self {
        Self {
            throttled: Weight::of(20.0, 0.5),
            refused: Weight::of(5.0, 1.0),
            unknown_tickets: Weight::of(5.0, 1.0),
            cancellations: Weight::of(5.0, 2.0),
            sessions: Weight::of(15.0, 1.0),
            wrong_answers: Weight::of(2.0, 2.0),
        }
    }
}

/// What counts against a client address.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = SuspiciousAddress)]
pub struct OfAddress {
    /// Requests that were throttled.
    pub throttled: Weight,
    /// Tokens that were refused, and calls that a token's role may not make.
    pub refused: Weight,
    /// Tickets that are not the caller's or that do not exist.
    pub unknown_tickets: Weight,
    /// Bookings given back.
    pub cancellations: Weight,
    /// Different patients who asked for something.
    pub patients: Weight,
    /// Challenges answered wrongly.
    pub wrong_answers: Weight,
}

impl Default for OfAddress {
    fn default() -> Self {
        Self {
            throttled: Weight::of(200.0, 0.1),
            refused: Weight::of(20.0, 0.5),
            unknown_tickets: Weight::of(20.0, 0.5),
            cancellations: Weight::of(50.0, 0.5),
            patients: Weight::of(100.0, 0.2),
            wrong_answers: Weight::of(20.0, 0.5),
        }
    }
}

impl Suspicion {
    /// The bits of work that a score asks for; `None` below the score from which on bookings are challenged.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts of floats saturate")]
    pub fn bits(&self, score: f64) -> Option<u8> {
        let Work { bits_min, bits_max, .. } = self.work;
        let doublings = (score / self.challenge_score).log2();
        (score >= self.challenge_score).then(|| bits_min.saturating_add((2.0 * doublings) as u8).min(bits_max))
    }

    /// For how long a challenge can be answered.
    #[must_use]
    pub fn valid_for(&self) -> Duration {
        Duration::from_secs(self.work.valid_s.into())
    }

    /// Every weight, with its name.
    pub(super) fn weights(&self) -> [(&'static str, Weight); 12] {
        let (patient, address) = (&self.patient, &self.address);
        [
            ("patient.throttled", patient.throttled),
            ("patient.refused", patient.refused),
            ("patient.unknown_tickets", patient.unknown_tickets),
            ("patient.cancellations", patient.cancellations),
            ("patient.sessions", patient.sessions),
            ("patient.wrong_answers", patient.wrong_answers),
            ("address.throttled", address.throttled),
            ("address.refused", address.refused),
            ("address.unknown_tickets", address.unknown_tickets),
            ("address.cancellations", address.cancellations),
            ("address.patients", address.patients),
            ("address.wrong_answers", address.wrong_answers),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_grows_with_the_score_up_to_a_maximum() {
        let policy = Suspicion::default();
        let bits = [9.9, 10.0, 14.0, 14.2, 20.0, 39.0, 40.0, 1e9, f64::INFINITY].map(|score| policy.bits(score));
        assert_eq!(bits, [None, Some(14), Some(14), Some(15), Some(16), Some(17), Some(18), Some(20), Some(20)]);
    }
}
