//! The policy: how much of what is let in. A document that ops edit, as TOML in a file or as JSON over the API.

mod phase;
mod rules;
mod schedule;
mod suspicion;

use std::num::NonZeroU32;
use std::time::Duration;

use governor::Quota;
use orderly_domain::SessionId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use phase::{Phase, Phases};
pub use rules::{BURST, KEYS_MAX, LANES_SHARE_MAX, RATE_PER_S};
pub use schedule::{Day, Scheduled};
pub use suspicion::{OfAddress, OfPatient, Suspicion, Weight, Work};

/// How much is let in, and how many clients are told apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Policy)]
pub struct Policy {
    /// How many keys each limit tells apart. Those beyond it share [`super::SHARED_CELLS`] allowances.
    #[serde(default = "keys_max")]
    pub keys_max: u32,
    /// Sessions that take no new bookings while they are here: what was booked stays, and can be cancelled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub frozen: Vec<SessionId>,
    /// The limits. One that is left out does not limit.
    pub limits: Limits,
    /// Other limits for sessions before, soon after and long after their release.
    #[serde(default, skip_serializing_if = "Phases::is_default")]
    pub phases: Phases,
    /// When to turn intents away early because the line is too long; left out, `ingress.shed_wait_max_ms` and
    /// `ingress.undecided_max` of each node's configuration hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shed: Option<Shed>,
    /// When somebody is suspicious, and how hard they are challenged then; left out, nobody is watched or challenged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspicion: Option<Suspicion>,
    /// Other limits for a single doctor, campus, patient, …: they hold instead of all others of their kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<Exception>,
    /// Shares of the global limit that are kept for members.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<Lane>,
    /// Other limits, lanes and bounds at some times of the day. Where several hold at once, the last one wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<Scheduled>,
}

/// What a limit counts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LimitKind)]
pub enum Kind {
    /// A patient.
    Patient,
    /// A client's address.
    Address,
    /// A doctor.
    Doctor,
    /// A department.
    Department,
    /// A campus.
    Campus,
    /// An API client: the `azp` or `client_id` of the token.
    Client,
    /// Everything together.
    Global,
}

impl Kind {
    /// Every kind that has keys, from the narrowest to the widest, as they are measured.
    pub const KEYED: [Self; 6] =
        [Self::Patient, Self::Address, Self::Doctor, Self::Department, Self::Campus, Self::Client];

    /// Its name in policies, problems and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::Address => "address",
            Self::Doctor => "doctor",
            Self::Department => "department",
            Self::Campus => "campus",
            Self::Client => "client",
            Self::Global => "global",
        }
    }

    /// Whether its numbers hold for all ingress nodes together. The others are about one client, who talks to few of them.
    #[must_use]
    pub const fn is_shared(self) -> bool {
        matches!(self, Self::Doctor | Self::Department | Self::Campus | Self::Client | Self::Global)
    }
}

/// The limits, from the widest to the narrowest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Of all requests together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub global: Option<Rate>,
    /// Of one API client, over all its patients: the `azp` or `client_id` of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Rate>,
    /// Of one campus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campus: Option<Rate>,
    /// Of one department.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub department: Option<Rate>,
    /// Of one doctor, over all patients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doctor: Option<Rate>,
    /// Of one client address; of one /64 for IPv6. A campus may stand behind one address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Rate>,
    /// Of one patient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<Rate>,
}

impl Limits {
    /// Whether nothing is limited.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The limit of a kind.
    #[must_use]
    pub const fn get(&self, kind: Kind) -> Option<Rate> {
        match kind {
            Kind::Patient => self.patient,
            Kind::Address => self.address,
            Kind::Doctor => self.doctor,
            Kind::Department => self.department,
            Kind::Campus => self.campus,
            Kind::Client => self.client,
            Kind::Global => self.global,
        }
    }

    /// These limits, with those of `over` in place of their own where it has any.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        Self {
            global: over.global.or(self.global),
            client: over.client.or(self.client),
            campus: over.campus.or(self.campus),
            department: over.department.or(self.department),
            doctor: over.doctor.or(self.doctor),
            address: over.address.or(self.address),
            patient: over.patient.or(self.patient),
        }
    }
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

/// Another limit for one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LimitException)]
pub struct Exception {
    /// What the key is of; not `global`, and not `address`.
    pub limit: Kind,
    /// The id of a doctor, department, campus, patient or API client.
    pub key: String,
    /// Requests a second that it refills by; fractions are allowed.
    pub rate_per_s: f64,
    /// Requests that may come at once after a pause.
    pub burst: u32,
}

impl Exception {
    /// Its allowance.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        Rate { rate_per_s: self.rate_per_s, burst: self.burst }
    }
}

/// A share of the global limit that is kept for members. They draw on it first, and on what is everybody's when it is used
/// up; what they leave unused goes back to everybody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Lane {
    /// Its name: a lane that keeps it keeps what its members had left when the policy changes.
    pub name: String,
    /// The member levels that it is for: the `member_level` of the token.
    pub levels: Vec<String>,
    /// How much of the global limit it keeps, 0.01 to 0.5; all lanes together at most half.
    pub share: f64,
}

/// When the line counts as too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Shed {
    /// The longest expected wait for an outcome, in milliseconds, with which an intent is still taken.
    pub wait_max_ms: u64,
    /// Intents without a decision that one ingress node has under way at once, whatever their wait.
    pub undecided_max: u64,
}

const fn keys_max() -> u32 {
    200_000
}

impl Default for Policy {
    /// A hospital's: patients are slowed to what a person can do, everything else only where the machine ends.
    fn default() -> Self {
        let rate = |rate_per_s, burst| Some(Rate { rate_per_s, burst });
        let limits = Limits {
            global: rate(50_000.0, 100_000),
            address: rate(20_000.0, 40_000),
            doctor: rate(10_000.0, 20_000),
            patient: rate(2.0, 10),
            ..Limits::default()
        };
        Self::of(limits)
    }
}

impl Policy {
    /// A policy of these limits alone.
    #[must_use]
    pub fn of(limits: Limits) -> Self {
        Self {
            keys_max: keys_max(),
            frozen: Vec::new(),
            limits,
            phases: Phases::default(),
            shed: None,
            suspicion: None,
            exceptions: Vec::new(),
            lanes: Vec::new(),
            schedule: Vec::new(),
        }
    }

    /// Whether a part of the global limit is kept for members, at some time of the day at least.
    #[must_use]
    pub fn has_lanes(&self) -> bool {
        let scheduled = self.schedule.iter().filter_map(|entry| entry.lanes.as_ref());
        std::iter::once(&self.lanes).chain(scheduled).any(|lanes| !lanes.is_empty())
    }

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
}

impl Rate {
    /// As governor counts it, in `units` to a request; `None` outside the ranges that [`Policy::validate`] allows.
    pub(super) fn quota(self, units: u32) -> Option<Quota> {
        let burst = NonZeroU32::new(self.burst.saturating_mul(units))?;
        let period = Duration::try_from_secs_f64((self.rate_per_s * f64::from(units)).recip()).ok()?;
        Some(Quota::with_period(period)?.allow_burst(burst))
    }

    /// A part of it.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a u32 is one")]
    pub(super) fn part(self, share: f64) -> Self {
        let burst = (f64::from(self.burst) * share).round() as u32;
        Self { rate_per_s: self.rate_per_s * share, burst: burst.max(1) }
    }
}
