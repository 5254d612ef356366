//! A session's snapshot, in parts that one call of the script `restore` can take.

use std::collections::BTreeSet;

use orderly_domain::Fence;
use orderly_domain::inventory::Snapshot;

use super::call::{bytes, moment, scope};

/// Bookings of one call, and free numbers of one call.
const BOOKINGS_MAX: usize = 512;
const FREE_MAX: usize = 1_024;

/// The arguments of each call that restores a session; caller and number of the call come before them.
pub(super) fn parts(snapshot: &Snapshot, fence: Fence, version: u64) -> Vec<Vec<Vec<u8>>> {
    let Snapshot { session, closed, holdings } = snapshot;
    let taken: BTreeSet<_> = holdings.iter().filter(|held| held.active).map(|held| held.number).collect();
    let top = taken.last().copied().unwrap_or(0);
    let free: Vec<_> = (1..top).filter(|number| !taken.contains(number)).collect();
    let count = holdings.len().div_ceil(BOOKINGS_MAX).max(free.len().div_ceil(FREE_MAX)).max(1);
    let mut bookings = holdings.chunks(BOOKINGS_MAX);
    let mut free = free.chunks(FREE_MAX);
    (0..count)
        .map(|part| {
            let bookings = bookings.next().unwrap_or_default();
            let mut args = vec![
                bytes(&session.session_id),
                bytes(&session.doctor_id),
                bytes(fence),
                bytes(version),
                bytes(session.capacity),
                bytes(taken.len()),
                bytes(top),
                flag(*closed),
                scope(session.exclusivity),
                moment(session.release_at),
                moment(session.ends_at),
                flag(part == 0),
                flag(part + 1 == count),
                bytes(bookings.len()),
            ];
            for held in bookings {
                args.extend([held.ticket.as_bytes().to_vec(), bytes(&held.patient_id)]);
                args.extend([bytes(held.number), bytes(held.booked_at), flag(held.active)]);
            }
            args.extend(free.next().unwrap_or_default().iter().map(bytes));
            args
        })
        .collect()
}

fn flag(on: bool) -> Vec<u8> {
    bytes(u8::from(on))
}
