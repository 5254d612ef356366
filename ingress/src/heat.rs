//! Which doctors are asked for how often: what ops look at in a rush.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use orderly_domain::DoctorId;
use prometheus::IntGauge;
use rustc_hash::FxBuildHasher;

/// Doctors that are counted. A hospital with more has the others left out; only doctors of known sessions come here.
const DOCTORS_MAX: usize = 20_000;

/// Requests of one doctor since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// All of them.
    pub(crate) requests: u64,
    /// Those that the throttle refused.
    pub(crate) throttled: u64,
}

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    throttled: AtomicU64,
}

/// Requests by doctor.
#[derive(Debug)]
pub(crate) struct Heat {
    doctors: DashMap<DoctorId, Counts, FxBuildHasher>,
    counted: IntGauge,
}

impl Heat {
    pub(crate) fn new(counted: IntGauge) -> Self {
        Self { doctors: DashMap::default(), counted }
    }

    /// Notes a request for a session of this doctor, and whether it was let in.
    pub(crate) fn note(&self, doctor: &DoctorId, let_in: bool) {
        let add = |counts: &Counts| {
            counts.requests.fetch_add(1, Ordering::Relaxed);
            if !let_in {
                counts.throttled.fetch_add(1, Ordering::Relaxed);
            }
        };
        if let Some(counts) = self.doctors.get(doctor) {
            add(&counts);
        } else if self.doctors.len() < DOCTORS_MAX {
            add(&self.doctors.entry(doctor.clone()).or_default());
            self.counted.set(i64::try_from(self.doctors.len()).unwrap_or(i64::MAX));
        }
    }

    /// Everything so far.
    pub(crate) fn totals(&self) -> HashMap<DoctorId, Asked> {
        let asked = |counts: &Counts| Asked {
            requests: counts.requests.load(Ordering::Relaxed),
            throttled: counts.throttled.load(Ordering::Relaxed),
        };
        self.doctors.iter().map(|entry| (entry.key().clone(), asked(entry.value()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_doctor() {
        let gauge = IntGauge::new("doctors", "doctors").unwrap();
        let heat = Heat::new(gauge.clone());
        let (li, wang): (DoctorId, DoctorId) = ("li".parse().unwrap(), "wang".parse().unwrap());
        for let_in in [true, true, false] {
            heat.note(&li, let_in);
        }
        heat.note(&wang, true);
        assert_eq!(heat.totals()[&li], Asked { requests: 3, throttled: 1 });
        assert_eq!(heat.totals()[&wang], Asked { requests: 1, throttled: 0 });
        assert_eq!(gauge.get(), 2);
    }
}
