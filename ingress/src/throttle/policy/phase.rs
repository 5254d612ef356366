//! Where a session stands with its release.

use std::time::Duration;

use orderly_domain::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Limits;

/// Where a session stands with its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is not released.
    Before,
    /// It was released just now: the rush.
    Rush,
    /// It was released long ago.
    After,
}

impl Phase {
    pub(in crate::throttle) const COUNT: usize = 3;

    pub(in crate::throttle) const fn index(self) -> usize {
        self as usize
    }
}

/// Limits by where the session that is asked for stands with its release. A kind that a phase leaves out keeps its limit;
/// the global limit is the same in all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Phases {
    /// How long the rush lasts from the release on, in seconds.
    pub rush_s: u32,
    /// Before the release.
    pub before: Limits,
    /// For `rush_s` from the release on.
    pub rush: Limits,
    /// Afterwards.
    pub after: Limits,
}

impl Default for Phases {
    fn default() -> Self {
        Self { rush_s: 600, before: Limits::default(), rush: Limits::default(), after: Limits::default() }
    }
}

impl Phases {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub(in crate::throttle) const fn get(&self, phase: Phase) -> &Limits {
        match phase {
            Phase::Before => &self.before,
            Phase::Rush => &self.rush,
            Phase::After => &self.after,
        }
    }

    /// The phase of a session that is released at `release_at`.
    #[must_use]
    pub fn of(&self, release_at: Timestamp, now: Timestamp) -> Phase {
        if now < release_at {
            Phase::Before
        } else if now < release_at.plus(Duration::from_secs(u64::from(self.rush_s))) {
            Phase::Rush
        } else {
            Phase::After
        }
    }
}
