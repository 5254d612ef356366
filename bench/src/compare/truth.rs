//! What is true of a run: what people were told, beside what the system of record holds.

use std::collections::{HashMap, HashSet};

use orderly_baselines::Booked;
use serde::Serialize;

use super::drive::Told;
use crate::replay::Session;

/// What must not be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Truth {
    /// Numbers above a session's capacity, and numbers that two patients hold or were told.
    pub oversold: u64,
    /// Patients who were told a number that the record does not have for them.
    pub lost: u64,
    /// Bookings of a patient beyond one in a department on a day.
    pub doubled: u64,
    /// What Orderly's checker says; nothing for systems that it does not know.
    pub checker_holds: Option<bool>,
}

impl Truth {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn holds(&self) -> bool {
        (self.oversold, self.lost, self.doubled) == (0, 0, 0) && self.checker_holds != Some(false)
    }

    /// Compares.
    pub(super) fn of(sessions: &[Session], told: &[Told], record: &[Booked]) -> Self {
        let by_id: HashMap<_, _> = sessions.iter().map(|session| (session.session_id.as_str(), session)).collect();
        let mut oversold = 0;
        let mut held = HashSet::new();
        let mut days = HashSet::new();
        let mut doubled = 0;
        let mut recorded = HashSet::new();
        for Booked { session_id, number, patient_id } in record {
            // Sessions of earlier loads on the same system are no part of this one.
            let Some(session) = by_id.get(session_id.as_str()) else { continue };
            let number = u32::try_from(*number).unwrap_or(0);
            let in_range = (1..=session.capacity).contains(&number);
            oversold += u64::from(!in_range || !held.insert((session_id.as_str(), number)));
            doubled += u64::from(!days.insert((patient_id.as_str(), session.department.as_str(), session.day)));
            recorded.insert((session_id.as_str(), number, patient_id.clone()));
        }
        let mut promised = HashSet::new();
        let mut lost = 0;
        for Told { wish, number } in told {
            let session = &sessions[wish.session];
            let in_range = (1..=session.capacity).contains(number);
            let patient = format!("patient-{}", wish.patient);
            // What is wrong in both is counted once: in the record.
            let twice = !promised.insert((wish.session, *number));
            let is_recorded = recorded.contains(&(session.session_id.as_str(), *number, patient));
            lost += u64::from(!is_recorded);
            oversold += u64::from(!is_recorded && (twice || !in_range));
        }
        Self { oversold, lost, doubled, checker_holds: None }
    }
}

#[cfg(test)]
mod tests {
    use super::super::workload::{Size, Wish, Workload};
    use super::*;

    fn check(told: &[(usize, u32)], record: &[(usize, i32)]) -> Truth {
        let plan = Workload::Hot.plan(Size { full: true }, &crate::replay::Options::default()).expect("valid");
        let told =
            told.iter().map(|(patient, number)| Told { wish: Wish { patient: *patient, session: 0 }, number: *number });
        let booked = |(patient, number): &(usize, i32)| Booked {
            session_id: plan.sessions[0].session_id.clone(),
            number: *number,
            patient_id: format!("patient-{patient}"),
        };
        Truth::of(&plan.sessions, &told.collect::<Vec<_>>(), &record.iter().map(booked).collect::<Vec<_>>())
    }

    #[test]
    fn what_was_told_and_is_recorded_is_right() {
        assert!(check(&[(1, 1), (2, 2)], &[(1, 1), (2, 2), (3, 3)]).holds());
    }

    #[test]
    fn each_wrong_is_seen() {
        assert_eq!(check(&[(1, 1), (2, 2)], &[(1, 1)]), Truth { lost: 1, ..Truth::default() });
        assert_eq!(check(&[], &[(1, 1), (2, 1)]), Truth { oversold: 1, ..Truth::default() });
        assert_eq!(check(&[], &[(1, 101)]), Truth { oversold: 1, ..Truth::default() });
        assert_eq!(check(&[], &[(1, 1), (1, 2)]), Truth { doubled: 1, ..Truth::default() });
        assert_eq!(check(&[(1, 1), (2, 1)], &[(1, 1)]), Truth { oversold: 1, lost: 1, ..Truth::default() });
    }
}
