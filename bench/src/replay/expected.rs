//! What must come out, computed apart from the engine: by counting, and by following the log's order.

use std::collections::{HashMap, HashSet};

use crate::api::{Place, Status};

use super::booking::Booking;

/// The numbers that a session gives away: its capacity, or less when fewer patients ask. All bookings are for released,
/// open sessions, nothing is cancelled, and a patient asks for no second session of a clinic's day: then every patient is
/// eligible exactly once, and the order doesn't matter.
#[must_use]
pub(super) fn booked(bookings: &[Booking], asked: &[usize], capacities: &[u32]) -> Vec<u32> {
    let mut patients = vec![HashSet::new(); capacities.len()];
    for (booking, session) in bookings.iter().zip(asked) {
        patients[*session].insert(booking.patient.as_str());
    }
    patients
        .iter()
        .zip(capacities)
        .map(|(patients, capacity)| u32::try_from(patients.len()).unwrap_or(u32::MAX).min(*capacity))
        .collect()
}

/// A decided booking, as the client knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decided<'a> {
    /// Who asked.
    pub(super) patient: &'a str,
    /// Where it lies in the log.
    pub(super) place: Place,
    /// What was decided.
    pub(super) status: Status,
    /// The number, when it was booked.
    pub(super) number: Option<u32>,
    /// The cause, when it was refused.
    pub(super) reason: Option<&'a str>,
}

/// The first decision of a session that does not follow from those before it in the log, as a sentence. Numbers are given
/// from 1 up; a patient who holds one is refused; nobody is told that it is full while a number is free.
#[must_use]
pub(super) fn out_of_order(decided: &mut [Decided<'_>], capacity: u32) -> Option<String> {
    decided.sort_unstable_by_key(|decided| decided.place);
    let mut holders: HashMap<&str, u32> = HashMap::new();
    let mut next = 1;
    for decision in decided {
        let expected = if next > capacity {
            (Status::Rejected, None, Some("sold_out"))
        } else if holders.contains_key(decision.patient) {
            (Status::Rejected, None, Some("already_booked"))
        } else {
            holders.insert(decision.patient, next);
            next += 1;
            (Status::Booked, Some(next - 1), None)
        };
        let found = (decision.status, decision.number, decision.reason);
        if found != expected {
            let Place { partition, offset } = decision.place;
            return Some(format!("at {partition}/{offset} {found:?} was decided; {expected:?} follows from the log"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn counts_by_hand() {
        let rows = [("a", 0), ("a", 0), ("b", 0), ("c", 0), ("a", 1), ("d", 2), ("e", 2)];
        let bookings: Vec<_> = rows
            .iter()
            .zip(1..)
            .map(|((patient, _), appointment)| Booking {
                appointment,
                patient: (*patient).to_owned(),
                booked_at: jiff::Timestamp::UNIX_EPOCH,
                day: date(2016, 5, 2),
                neighbourhood: "X".to_owned(),
            })
            .collect();
        let asked: Vec<_> = rows.iter().map(|(_, session)| *session).collect();
        assert_eq!(booked(&bookings, &asked, &[2, 5, 2, 4]), [2, 1, 2, 0]);
    }

    fn decided<'a>(patient: &'a str, offset: u64, number: Option<u32>, reason: Option<&'static str>) -> Decided<'a> {
        let status = if number.is_some() { Status::Booked } else { Status::Rejected };
        Decided { patient, place: Place { partition: 3, offset }, status, number, reason }
    }

    #[test]
    fn follows_the_log() {
        let mut right = [
            decided("c", 9, None, Some("sold_out")),
            decided("a", 1, Some(1), None),
            decided("a", 4, None, Some("already_booked")),
            decided("b", 7, Some(2), None),
            decided("a", 12, None, Some("sold_out")),
        ];
        assert_eq!(out_of_order(&mut right, 2), None);
        assert!(out_of_order(&mut right, 3).is_some_and(|why| why.contains("3/9")), "told full while a number is free");
        assert!(out_of_order(&mut right, 1).is_some_and(|why| why.contains("3/4")), "oversold");
        let mut skipped = [decided("a", 1, Some(2), None)];
        assert!(out_of_order(&mut skipped, 2).is_some(), "a number was left out");
    }
}
