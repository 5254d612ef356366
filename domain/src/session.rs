//! Clinic sessions: what ops open and patients book.

use jiff::civil::{Date, Time};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::command::SessionRef;
use crate::id::{CampusId, DepartmentId, DoctorId, SessionId};

/// The largest capacity of one session.
pub const CAPACITY_MAX: u32 = 100_000;

/// The longest doctor's name, in bytes of UTF-8.
pub const DOCTOR_NAME_BYTES_MAX: usize = 256;

/// How many active appointments a patient may have at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exclusivity {
    /// One per patient, department and local day.
    #[default]
    DepartmentDay,
    /// One per patient and session.
    Session,
    /// No limit.
    None,
}

impl Exclusivity {
    /// The scope inside which a patient has at most one active appointment; `None` where there is no limit. Two scopes
    /// are equal exactly when they exclude each other.
    #[must_use]
    pub fn scope(self, session: &SessionRef) -> Option<String> {
        match self {
            Self::DepartmentDay => Some(format!("{}/{}", session.department, session.day)),
            Self::Session => Some(format!("session:{}", session.session_id)),
            Self::None => None,
        }
    }
}

/// One clinic session of one doctor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its identifier.
    pub session_id: SessionId,
    /// Whose session it is.
    pub doctor_id: DoctorId,
    /// The doctor's name, for people.
    pub doctor_name: String,
    /// Its department.
    pub department: DepartmentId,
    /// Its campus.
    pub campus: CampusId,
    /// The local day.
    pub day: Date,
    /// Local time of its start.
    pub start: Time,
    /// Local time of its end, later than its start.
    pub end: Time,
    /// IANA name of the zone in which day, start and end are meant.
    pub timezone: String,
    /// How many numbers it has: 1 to [`CAPACITY_MAX`].
    pub capacity: u32,
    /// From when on it can be booked.
    pub release_at: Timestamp,
    /// Until when it can be booked or cancelled: its end, resolved when it was opened.
    pub ends_at: Timestamp,
    /// How many active appointments a patient may have at once.
    pub exclusivity: Exclusivity,
}

/// A session that cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The end is not after the start.
    #[error("end must be later than start, on the same day; open an overnight session as two")]
    EndsBeforeStart,
    /// Out of range.
    #[error("capacity must be 1 to {CAPACITY_MAX}")]
    Capacity,
    /// Too long, or empty.
    #[error("doctor_name must be 1 to {DOCTOR_NAME_BYTES_MAX} bytes of text")]
    DoctorName,
    /// Not in the time zone database.
    #[error("timezone {0:?} is not an IANA time zone; use a name such as Asia/Shanghai")]
    Timezone(String),
    /// Outside the calendar.
    #[error("the session's day and time lie outside the calendar")]
    Calendar,
}

impl Session {
    /// Checks what types alone cannot.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.end <= self.start {
            return Err(Invalid::EndsBeforeStart);
        }
        validate_capacity(self.capacity)?;
        if self.doctor_name.trim().is_empty() || self.doctor_name.len() > DOCTOR_NAME_BYTES_MAX {
            return Err(Invalid::DoctorName);
        }
        Ok(())
    }

    /// What routes its records.
    #[must_use]
    pub fn reference(&self) -> SessionRef {
        SessionRef {
            session_id: self.session_id.clone(),
            doctor_id: self.doctor_id.clone(),
            department: self.department.clone(),
            day: self.day,
        }
    }
}

/// Checks a capacity.
///
/// # Errors
/// [`Invalid::Capacity`] when it is out of range.
pub fn validate_capacity(capacity: u32) -> Result<(), Invalid> {
    if (1..=CAPACITY_MAX).contains(&capacity) { Ok(()) } else { Err(Invalid::Capacity) }
}

/// The moment of a local wall-clock time. A time that a daylight-saving change skips is taken as far after the gap as it
/// lies in it; of a time that comes twice, the first is taken (RFC 5545).
///
/// # Errors
/// [`Invalid::Timezone`] for a zone that is not known, [`Invalid::Calendar`] for a moment that cannot be represented.
pub fn resolve(day: Date, time: Time, timezone: &str) -> Result<Timestamp, Invalid> {
    let zone = jiff::tz::TimeZone::get(timezone).map_err(|_| Invalid::Timezone(timezone.to_owned()))?;
    let moment = day.to_datetime(time).to_zoned(zone).map_err(|_| Invalid::Calendar)?;
    Ok(moment.timestamp().into())
}

#[cfg(test)]
mod tests {
    use jiff::civil::{date, time};
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse::<jiff::Timestamp>().expect("valid").into()
    }

    #[test]
    fn resolves_gaps_and_folds() {
        let zone = "America/New_York";
        let plain = resolve(date(2026, 11, 23), time(8, 0, 0, 0), "Asia/Shanghai").expect("valid");
        assert_eq!(plain, at("2026-11-23T00:00:00Z"));
        // 02:30 does not exist on 2026-03-08; it is read as 03:30 EDT.
        assert_eq!(resolve(date(2026, 3, 8), time(2, 30, 0, 0), zone).expect("valid"), at("2026-03-08T07:30:00Z"));
        // 01:30 comes twice on 2026-11-01; the first is EDT.
        assert_eq!(resolve(date(2026, 11, 1), time(1, 30, 0, 0), zone).expect("valid"), at("2026-11-01T05:30:00Z"));
        assert!(matches!(resolve(date(2026, 1, 1), time(1, 0, 0, 0), "Mars/Olympus"), Err(Invalid::Timezone(_))));
    }

    proptest! {
        /// A later time of day is never an earlier moment by more than the hour that a change repeats.
        #[test]
        fn later_times_resolve_later(
            day in 0_i32..40_000, first in 0_i32..86_399, gap in 3_601_i32..40_000,
            zone in prop::sample::select(vec!["Asia/Shanghai", "America/New_York", "America/Sao_Paulo", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca"]),
        ) {
            prop_assume!(first + gap < 86_400);
            let day = date(1970, 1, 1).checked_add(jiff::Span::new().days(day)).expect("in range");
            let part = |value: i32| i8::try_from(value).unwrap();
            let clock = |s: i32| time(part(s / 3600), part(s / 60 % 60), part(s % 60), 0);
            let a = resolve(day, clock(first), zone).expect("valid");
            let b = resolve(day, clock(first + gap), zone).expect("valid");
            prop_assert!(a < b);
        }
    }
}
