//! Where a limit keeps the allowances of its keys: in bounded space, and so that no client can reset its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use governor::nanos::Nanos;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use prometheus::{IntCounter, IntGauge};

/// How many allowances are shared by the keys beyond `keys_max`, each key using always the same one. Enough that a flood
/// of new keys slows some strangers, not all of them.
pub const SHARED_CELLS: usize = 1_024;

/// A store of allowances that two owners hold: governor, which draws on them, and the limit, which gives back.
///
/// A key's allowance is dropped only when it is full again, which is no different from a new one. While there are
/// `keys_max`, a new key draws on a shared allowance, and takes that one's state along when it gets its own.
#[derive(Clone)]
pub(super) struct Cells(Arc<Inner>);

struct Inner {
    own: DashMap<u64, InMemoryState>,
    /// How many of `own` are taken; counted apart because asking the map locks all of it.
    taken: AtomicUsize,
    keys_max: usize,
    shared: Box<[InMemoryState]>,
    keys: IntGauge,
    overflowed: IntCounter,
}

impl Cells {
    pub(super) fn new(keys_max: usize, keys: IntGauge, overflowed: IntCounter) -> Self {
        Self(Arc::new(Inner {
            own: DashMap::new(),
            taken: AtomicUsize::new(0),
            keys_max,
            shared: std::iter::repeat_with(InMemoryState::default).take(SHARED_CELLS).collect(),
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
}

impl Inner {
    fn shared_cell(&self, key: u64) -> &InMemoryState {
        let index = key % self.shared.len() as u64;
        &self.shared[usize::try_from(index).expect("an index of a slice fits in usize")]
    }

    fn reserve(&self) -> bool {
        let next = |taken| (taken < self.keys_max).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

/// When a cell's allowance is full again; `None` when it was never drawn on.
fn full_at(cell: &InMemoryState) -> Option<Nanos> {
    cell.measure_and_replace(&NotKeyed::NonKey, Err::<((), Nanos), _>).err().flatten()
}

impl StateStore for Cells {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let cells = &*self.0;
        if let Some(cell) = cells.own.get(key) {
            return cell.measure_and_replace(&NotKeyed::NonKey, f);
        }
        let shared = cells.shared_cell(*key);
        match cells.own.entry(*key) {
            Entry::Occupied(cell) => cell.get().measure_and_replace(&NotKeyed::NonKey, f),
            Entry::Vacant(place) if cells.reserve() => {
                let cell = InMemoryState::default();
                let inherit = |_| full_at(shared).map(|at| ((), at)).ok_or(());
                cell.measure_and_replace(&NotKeyed::NonKey, inherit).ok();
                cells.keys.inc();
                place.insert(cell).measure_and_replace(&NotKeyed::NonKey, f)
            }
            Entry::Vacant(place) => {
                drop(place);
                cells.overflowed.inc();
                shared.measure_and_replace(&NotKeyed::NonKey, f)
            }
        }
    }
}

impl ShrinkableKeyedStateStore<u64> for Cells {
    fn retain_recent(&self, drop_below: Nanos) {
        let cells = &*self.0;
        let mut dropped = 0;
        cells.own.retain(|_, cell| {
            let recent = full_at(cell).is_some_and(|at| at > drop_below);
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
