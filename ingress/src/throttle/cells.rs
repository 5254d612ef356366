//! Where a limit keeps the allowances of its keys: in bounded space, and so that no client can reset its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use governor::nanos::Nanos;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use prometheus::{IntCounter, IntGauge};

use super::succession::Succession;

/// How many allowances are shared by the keys beyond `keys_max`, each key using always the same one. Enough that a flood
/// of new keys slows some strangers, not all of them.
pub const SHARED_CELLS: usize = 1_024;

/// A store of allowances that two owners hold: governor, which draws on them, and the limit, which gives back.
///
/// A key's allowance is dropped only when it is full again, which is no different from a new one. While there are
/// `keys_max`, a new key draws on a shared allowance, and takes that one's state along when it gets its own. It takes along
/// too what it owes to the limits that this one replaces.
#[derive(Clone)]
pub(super) struct Cells(Arc<Inner>);

struct Inner {
    own: DashMap<u64, InMemoryState>,
    /// How many of `own` are taken; counted apart because asking the map locks all of it.
    taken: AtomicUsize,
    keys_max: usize,
    shared: Box<[InMemoryState]>,
    /// When the allowance of a key that is not known anywhere is full.
    strangers_full_at: Nanos,
    /// What is replaced, while somebody may owe to it.
    before: ArcSwapOption<Succession>,
    keys: IntGauge,
    overflowed: IntCounter,
}

impl Cells {
    pub(super) fn new(keys_max: usize, before: Option<Succession>, keys: IntGauge, overflowed: IntCounter) -> Self {
        Self(Arc::new(Inner {
            own: DashMap::new(),
            taken: AtomicUsize::new(0),
            keys_max,
            shared: std::iter::repeat_with(InMemoryState::default).take(SHARED_CELLS).collect(),
            strangers_full_at: before.as_ref().map_or(Nanos::default(), Succession::strangers_full_at),
            before: ArcSwapOption::from_pointee(before),
            keys,
            overflowed,
        }))
    }

    /// Gives back what one admitted request drew, which is `interval` of refilling.
    pub(super) fn give_back(&self, key: u64, interval: Nanos) {
        let give = |cell: &InMemoryState| {
            let full_at = |at: Option<Nanos>| at.map(|at| ((), at.saturating_sub(interval))).ok_or(());
            // A cell that was never drawn on has nothing to be given back.
            cell.measure_and_replace(&NotKeyed::NonKey, full_at).ok();
        };
        match self.0.own.get(&key) {
            Some(cell) => give(&cell),
            None => give(self.0.shared_cell(key)),
        }
    }

    /// When the allowance of a key is full.
    pub(super) fn full_at(&self, key: u64) -> Nanos {
        let own = self.0.own.get(&key).map(|cell| full_at(&cell));
        own.unwrap_or_else(|| self.0.full_at_without_own(key))
    }

    /// When the allowance of a key that is not known anywhere is full.
    pub(super) fn strangers_full_at(&self) -> Nanos {
        self.0.strangers_full_at
    }

    /// When a shared allowance is full.
    pub(super) fn shared_full_at(&self, index: usize) -> Nanos {
        let before = self.0.before.load();
        let before = before.as_ref().map_or(self.0.strangers_full_at, |before| before.shared_full_at(index));
        before.max(full_at(&self.0.shared[index]))
    }

    /// Lets the allowance of a key be full at that moment, or later.
    pub(super) fn owe(&self, key: u64, at: Nanos) {
        self.0.draw_on(key, |cell| owe(cell, at));
    }

    /// The keys that have an allowance of their own.
    pub(super) fn known(&self) -> Vec<u64> {
        self.0.own.iter().map(|cell| *cell.key()).collect()
    }

    /// Takes over at once what is still owed to the limits before, and lets go of them.
    pub(super) fn settle(&self, now: Nanos) {
        let Some(before) = self.0.before.load_full() else { return };
        for key in before.known() {
            let at = before.full_at(key);
            if at > now {
                self.owe(key, at);
            }
        }
        // After those, who owe nothing of what strangers share.
        for (index, shared) in self.0.shared.iter().enumerate() {
            owe(shared, before.shared_full_at(index));
        }
        self.0.before.store(None);
    }

    /// Lets go of the limits before, if whatever is owed to them is refilled.
    pub(super) fn let_go(&self, now: Nanos) {
        if self.0.before.load().as_ref().is_some_and(|before| before.is_over(now)) {
            self.0.before.store(None);
        }
    }
}

impl Inner {
    /// Uses the cell that a key draws on, and says whether that is a shared one.
    fn draw_on<T>(&self, key: u64, measure: impl FnOnce(&InMemoryState) -> T) -> (T, bool) {
        if let Some(cell) = self.own.get(&key) {
            return (measure(&cell), false);
        }
        // Asked before the entry is locked: no lock is waited for under another one.
        let owed = self.full_at_without_own(key);
        match self.own.entry(key) {
            Entry::Occupied(cell) => (measure(cell.get()), false),
            Entry::Vacant(place) if self.reserve() => {
                let cell = InMemoryState::default();
                owe(&cell, owed);
                self.keys.inc();
                (measure(&place.insert(cell)), false)
            }
            Entry::Vacant(place) => {
                drop(place);
                let shared = self.shared_cell(key);
                owe(shared, owed);
                (measure(shared), true)
            }
        }
    }

    /// When the allowance of a key is full that has none of its own.
    fn full_at_without_own(&self, key: u64) -> Nanos {
        let before = self.before.load().as_ref().map_or(self.strangers_full_at, |before| before.full_at(key));
        before.max(full_at(self.shared_cell(key)))
    }

    fn shared_cell(&self, key: u64) -> &InMemoryState {
        let index = key % self.shared.len() as u64;
        &self.shared[usize::try_from(index).expect("an index of a slice fits in usize")]
    }

    fn reserve(&self) -> bool {
        let next = |taken| (taken < self.keys_max).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

/// When a cell's allowance is full again; the beginning of time when it was never drawn on.
fn full_at(cell: &InMemoryState) -> Nanos {
    cell.measure_and_replace(&NotKeyed::NonKey, Err::<((), Nanos), _>).err().flatten().unwrap_or_default()
}

/// Lets a cell's allowance be full at that moment, or later.
fn owe(cell: &InMemoryState, at: Nanos) {
    let later = |before: Option<Nanos>| (before.unwrap_or_default() < at).then_some(((), at)).ok_or(());
    cell.measure_and_replace(&NotKeyed::NonKey, later).ok();
}

impl StateStore for Cells {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (measured, overflowed) = self.0.draw_on(*key, |cell| cell.measure_and_replace(&NotKeyed::NonKey, f));
        if overflowed {
            self.0.overflowed.inc();
        }
        measured
    }
}

impl ShrinkableKeyedStateStore<u64> for Cells {
    fn retain_recent(&self, drop_below: Nanos) {
        let cells = &*self.0;
        let mut dropped = 0;
        cells.own.retain(|_, cell| {
            let recent = full_at(cell) > drop_below;
            dropped += usize::from(!recent);
            recent
        });
        let kept = cells.taken.fetch_sub(dropped, Ordering::Relaxed) - dropped;
        cells.keys.sub(i64::try_from(dropped).unwrap_or(i64::MAX));
        if dropped > kept {
            cells.own.shrink_to_fit();
        }
    }

    fn len(&self) -> usize {
        self.0.taken.load(Ordering::Relaxed)
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.keys.sub(i64::try_from(*self.taken.get_mut()).unwrap_or(i64::MAX));
    }
}
