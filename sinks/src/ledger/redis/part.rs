//! A session's snapshot, in parts that one call of the script `restore` can take.

use std::collections::BTreeSet;

use orderly_domain::Fence;
use orderly_domain::inventory::{Holding, Snapshot};
use orderly_domain::personal::Pseudonyms;
use orderly_domain::port::ledger::Doubt;

use super::call::{bytes, moment, scope};

/// Bookings of one call: more than a session mostly has, since between the first call and the last the ledger does not know who
/// holds the rest. Some 10 µs each, during which Redis answers nobody.
const BOOKINGS_MAX: usize = 4_096;
/// Free numbers of one call.
const FREE_MAX: usize = 1_024;

/// The arguments of the call that notes who holds appointments in a session of another partition, and leaves the rest to
/// its owner.
pub(super) fn lent(snapshot: &Snapshot, fence: Fence, doubt: Doubt, pseudonyms: &Pseudonyms) -> Vec<Vec<u8>> {
    let active = snapshot.holdings.iter().filter(|held| held.active).cloned().collect::<Vec<_>>();
    let taken: BTreeSet<_> = active.iter().map(|held| held.number).collect();
    let first = match doubt {
        Doubt::Behind => Flag::WhereBehind,
        Doubt::Ignorant => Flag::WhereWhole,
    };
    // Below any version that the owner has seen.
    arguments(snapshot, fence, 0, &taken, [first, Flag::No], &active, pseudonyms)
}

/// The arguments of each call that restores a session; caller and number of the call come before them.
pub(super) fn parts(snapshot: &Snapshot, fence: Fence, version: u64, pseudonyms: &Pseudonyms) -> Vec<Vec<Vec<u8>>> {
    let holdings = &snapshot.holdings;
    let taken: BTreeSet<_> = holdings.iter().filter(|held| held.active).map(|held| held.number).collect();
    let top = taken.last().copied().unwrap_or(0);
    let free: Vec<_> = (1..top).filter(|number| !taken.contains(number)).collect();
    let count = holdings.len().div_ceil(BOOKINGS_MAX).max(free.len().div_ceil(FREE_MAX)).max(1);
    let mut bookings = holdings.chunks(BOOKINGS_MAX);
    let mut free = free.chunks(FREE_MAX);
    (0..count)
        .map(|part| {
            let bookings = bookings.next().unwrap_or_default();
            let ends = [(part == 0).into(), (part + 1 == count).into()];
            let mut args = arguments(snapshot, fence, version, &taken, ends, bookings, pseudonyms);
            args.extend(free.next().unwrap_or_default().iter().map(bytes));
            args
        })
        .collect()
}

/// What a call of several is.
#[derive(Clone, Copy, Debug)]
enum Flag {
    No,
    Yes,
    /// Only where Redis has fewer bookings.
    WhereBehind,
    /// Only where nobody restores it already.
    WhereWhole,
}

impl From<bool> for Flag {
    fn from(on: bool) -> Self {
        if on { Self::Yes } else { Self::No }
    }
}

impl Flag {
    fn bytes(self) -> Vec<u8> {
        bytes(match self {
            Self::No => 0,
            Self::Yes => 1,
            Self::WhereBehind => 2,
            Self::WhereWhole => 3,
        })
    }
}

/// The arguments of one call with these bookings, whether it is the first and the last; free numbers may follow.
fn arguments(
    Snapshot { session, closed, .. }: &Snapshot,
    fence: Fence,
    version: u64,
    taken: &BTreeSet<u32>,
    [first, last]: [Flag; 2],
    bookings: &[Holding],
    pseudonyms: &Pseudonyms,
) -> Vec<Vec<u8>> {
    let mut args = vec![
        bytes(&session.session_id),
        bytes(&session.doctor_id),
        bytes(fence),
        bytes(version),
        bytes(session.capacity),
        bytes(taken.len()),
        bytes(taken.last().copied().unwrap_or(0)),
        Flag::from(*closed).bytes(),
        scope(session.exclusivity),
        moment(session.release_at),
        moment(session.ends_at),
        first.bytes(),
        last.bytes(),
        bytes(bookings.len()),
    ];
    for held in bookings {
        args.extend([held.ticket.as_bytes().to_vec(), pseudonyms.of(&held.patient_id).into_bytes()]);
        args.extend([bytes(held.number), bytes(held.booked_at), Flag::from(held.active).bytes()]);
    }
    args
}
