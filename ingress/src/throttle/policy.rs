//! The policy: how much of what is let in. A document that ops edit, as TOML in a file or as JSON over the API.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::Quota;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The lowest and highest rate of a limit, in requests a second.
pub const RATE_PER_S: std::ops::RangeInclusive<f64> = 0.001..=1_000_000.0;

/// The smallest and largest burst of a limit, in requests.
pub const BURST: std::ops::RangeInclusive<u32> = 1..=1_000_000;

/// The smallest and largest number of keys that a limit remembers.
pub const KEYS_MAX: std::ops::RangeInclusive<u32> = 1..=10_000_000;

/// How much is let in, and how many clients are told apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The limits. One that is left out does not limit.
    pub limits: Limits,
    /// How many addresses, patients and doctors are told apart, each. Those beyond it share
    /// [`super::SHARED_CELLS`] allowances.
    #[serde(default = "keys_max")]
    pub keys_max: u32,
}

/// The limits, from the widest to the narrowest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Of all requests together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global: Option<Rate>,
    /// Of one client address; of one /64 for IPv6. A campus may stand behind one address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Rate>,
    /// Of one doctor, over all patients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doctor: Option<Rate>,
    /// Of one patient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<Rate>,
}

/// An allowance that refills steadily.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Requests a second that it refills by; fractions are allowed.
    pub rate_per_s: f64,
    /// Requests that may come at once after a pause.
    pub burst: u32,
}

const fn keys_max() -> u32 {
    200_000
}

impl Default for Policy {
    /// A hospital's: patients are slowed to what a person can do, everything else only where the machine ends.
    fn default() -> Self {
        let rate = |rate_per_s, burst| Some(Rate { rate_per_s, burst });
        Self {
            limits: Limits {
                global: rate(50_000.0, 100_000),
                address: rate(20_000.0, 40_000),
                doctor: rate(10_000.0, 20_000),
                patient: rate(2.0, 10),
            },
            keys_max: keys_max(),
        }
    }
}

impl Policy {
    /// Reads a TOML document and validates it.
    ///
    /// # Errors
    /// What is wrong with it, each with what to do.
    pub fn from_toml(document: &str) -> Result<Self, Vec<String>> {
        let policy: Self = toml::from_str(document).map_err(|error| vec![error.to_string()])?;
        policy.validate().map(|()| policy)
    }

    /// Reads a JSON document and validates it.
    ///
    /// # Errors
    /// What is wrong with it, each with what to do.
    pub fn from_json(document: &str) -> Result<Self, Vec<String>> {
        let policy: Self = serde_json::from_str(document).map_err(|error| vec![error.to_string()])?;
        policy.validate().map(|()| policy)
    }

    /// Checks what types alone cannot.
    ///
    /// # Errors
    /// Every rule that is broken, with what to do.
    pub fn validate(&self) -> Result<(), Vec<String>> {
        let Limits { global, address, doctor, patient } = self.limits;
        let mut problems = Vec::new();
        for (name, rate) in [("global", global), ("address", address), ("doctor", doctor), ("patient", patient)] {
            let Some(Rate { rate_per_s, burst }) = rate else { continue };
            if !RATE_PER_S.contains(&rate_per_s) {
                problems.push(format!(
                    "limits.{name}.rate_per_s is {rate_per_s}; set {} to {} requests a second, or leave limits.{name} out \
                     to lift the limit",
                    RATE_PER_S.start(),
                    RATE_PER_S.end(),
                ));
            }
            if !BURST.contains(&burst) {
                problems.push(format!(
                    "limits.{name}.burst is {burst}; set {} to {} requests, or leave limits.{name} out to lift the limit",
                    BURST.start(),
                    BURST.end(),
                ));
            }
        }
        if !KEYS_MAX.contains(&self.keys_max) {
            problems.push(format!(
                "keys_max is {}; set {} to {} keys",
                self.keys_max,
                KEYS_MAX.start(),
                KEYS_MAX.end()
            ));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

impl Rate {
    /// As governor counts it; `None` outside the ranges that [`Policy::validate`] allows.
    pub(super) fn quota(self) -> Option<Quota> {
        let burst = NonZeroU32::new(self.burst)?;
        let period = Duration::try_from_secs_f64(self.rate_per_s.recip()).ok()?;
        Some(Quota::with_period(period)?.allow_burst(burst))
    }
}
