//! What the keys of a limit have left when another limit takes its place.
//!
//! A change of policy gives nobody anything: what a key has left, it keeps, up to the new burst; the rest of a larger burst
//! fills at the new rate. So over any number of changes nobody is let in more often than one burst and what refills.

use governor::nanos::Nanos;

use super::cells::Cells;

/// A bucket, in the time that it takes to fill.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// How long one unit takes to refill.
    pub(super) interval: Nanos,
    /// Units that it holds.
    pub(super) burst: u32,
}

impl Bucket {
    /// How long it takes to refill when it is empty.
    pub(super) fn filled_in(self) -> Nanos {
        self.interval * u64::from(self.burst)
    }

    /// How long the bucket that takes the place of this one is from being full, when this one is `missing` from it.
    fn handed_to(self, next: Self, missing: Nanos) -> Nanos {
        let left = u128::from(self.filled_in().saturating_sub(missing).as_u64());
        let left = left * u128::from(next.interval.as_u64()) / u128::from(self.interval.as_u64().max(1));
        next.filled_in().saturating_sub(u64::try_from(left).unwrap_or(u64::MAX).into())
    }
}

/// A limit that is replaced.
pub(super) struct Replaced {
    pub(super) cells: Cells,
    pub(super) bucket: Bucket,
    /// When, on its own clock.
    pub(super) at: Nanos,
}

impl Replaced {
    /// How long from now a key is from a full allowance in the limit that takes over.
    pub(super) fn handed_to(&self, next: Bucket, key: u64) -> Nanos {
        self.bucket.handed_to(next, self.cells.full_at(key).saturating_sub(self.at))
    }
}

/// The limits that a new one takes the place of: more than one where it joins what was told apart by phases.
pub(super) struct Succession {
    replaced: Vec<Replaced>,
    next: Bucket,
}

impl Succession {
    /// `None` when nothing is replaced.
    pub(super) fn of(replaced: Vec<Replaced>, next: Bucket) -> Option<Self> {
        (!replaced.is_empty()).then_some(Self { replaced, next })
    }

    /// When a key's allowance is full, on the new limit's clock, which began with the change.
    pub(super) fn full_at(&self, key: u64) -> Nanos {
        let owed = self.replaced.iter().map(|replaced| replaced.handed_to(self.next, key));
        owed.max().unwrap_or_default()
    }

    /// The same of a key that none of them knew.
    pub(super) fn strangers_full_at(&self) -> Nanos {
        let owed = self.replaced.iter().map(|replaced| {
            let missing = replaced.cells.strangers_full_at().saturating_sub(replaced.at);
            replaced.bucket.handed_to(self.next, missing)
        });
        owed.max().unwrap_or_default()
    }

    /// The same of an allowance that keys share.
    pub(super) fn shared_full_at(&self, index: usize) -> Nanos {
        let owed = self.replaced.iter().map(|replaced| {
            let missing = replaced.cells.shared_full_at(index).saturating_sub(replaced.at);
            replaced.bucket.handed_to(self.next, missing)
        });
        owed.max().unwrap_or_default()
    }

    /// The keys that one of them knew.
    pub(super) fn known(&self) -> Vec<u64> {
        self.replaced.iter().flat_map(|replaced| replaced.cells.known()).collect()
    }

    /// Whether it is so long ago that every allowance is full, whatever was owed.
    pub(super) fn is_over(&self, now: Nanos) -> bool {
        now > self.next.filled_in()
    }
}
