//! This node's share of what the policy gives all ingress nodes together.

use std::sync::atomic::{AtomicU32, Ordering};

/// Units that one request costs where this node has everything to itself. Limits that are shared between nodes count in
/// units: with half a share, a request costs twice as many.
pub(super) const UNITS: u32 = 100;

/// The smallest share: a node that hears of nobody asking still lets a first one in.
const SHARE_MIN: f64 = 0.01;

/// What a request costs here, in units.
#[derive(Debug)]
pub(super) struct Share(AtomicU32);

impl Default for Share {
    fn default() -> Self {
        Self(AtomicU32::new(UNITS))
    }
}

impl Share {
    pub(super) fn cost(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets the share, 0 to 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between UNITS and a hundred times that"
    )]
    pub(super) fn set(&self, share: f64) {
        let share = if share.is_finite() { share.clamp(SHARE_MIN, 1.0) } else { 1.0 };
        self.0.store((f64::from(UNITS) / share).round() as u32, Ordering::Relaxed);
    }
}
