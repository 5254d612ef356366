//! The clinics' sessions. The data tells a clinic's neighbourhood and the day of a visit; doctors, times of day and
//! capacities are invented here.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::{SignedDuration, Span, ToSpan as _};
use serde::Serialize;

use super::booking::Booking;

/// The clinics' time zone.
const ZONE: &str = "America/Sao_Paulo";

/// How bookings are turned into sessions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Doctors of one clinic on one day.
    pub(super) doctors: u64,
    /// Capacity ÷ distinct patients of a session.
    pub(super) capacity_share: f64,
    /// The day on which it is played.
    pub(super) today: Date,
}

/// A session, in the shape in which the API takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Session {
    /// Its identifier.
    pub(crate) session_id: String,
    /// Its invented doctor.
    pub(crate) doctor_id: String,
    /// The invented doctor's name.
    pub(crate) doctor_name: String,
    /// The neighbourhood.
    pub(crate) department: String,
    /// The city.
    pub(crate) campus: String,
    /// The day, moved into the future.
    pub(crate) day: Date,
    /// Invented.
    pub(crate) start: String,
    /// Invented.
    pub(crate) end: String,
    /// The clinics' own.
    pub(crate) timezone: String,
    /// A share of the session's demand, at least 1.
    pub(crate) capacity: u32,
    /// A day before it is played.
    pub(crate) release_at: jiff::Timestamp,
}

/// The sessions, and which of them each booking asks for.
#[derive(Clone, Debug)]
pub(super) struct Clinics {
    /// In the order of neighbourhood, day and doctor.
    pub(super) sessions: Vec<Session>,
    /// By booking: the index of its session.
    pub(super) asked: Vec<usize>,
}

impl Plan {
    /// The clinics that these bookings need.
    ///
    /// # Errors
    /// When the plan makes no sense, or two neighbourhoods have names that cannot be told apart in an identifier.
    pub(super) fn clinics(&self, bookings: &[Booking]) -> anyhow::Result<Clinics> {
        anyhow::ensure!(self.doctors > 0, "a clinic needs at least one doctor a day");
        let share = self.capacity_share;
        anyhow::ensure!(share.is_finite() && share > 0.0, "the capacity share is {share}; use a number above 0");
        let shift = self.shift(bookings)?;
        let release_at = self.today.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp() - SignedDuration::from_hours(24);

        let mut demand: BTreeMap<(&str, Date, u64), BTreeSet<&str>> = BTreeMap::new();
        let key = |booking| self.key(booking);
        for booking in bookings {
            demand.entry(key(booking)).or_default().insert(&booking.patient);
        }
        let mut slugs: BTreeMap<String, &str> = BTreeMap::new();
        let mut sessions = Vec::with_capacity(demand.len());
        for ((neighbourhood, day, doctor), patients) in &demand {
            let slug = slug(neighbourhood);
            let other = *slugs.entry(slug.clone()).or_insert(neighbourhood);
            anyhow::ensure!(other == *neighbourhood, "{other} and {neighbourhood} are both {slug:?}");
            let day = day.checked_add(shift)?;
            sessions.push(Session {
                session_id: format!("{slug}-{day}-{doctor}"),
                doctor_id: format!("{slug}-{doctor}"),
                doctor_name: format!("Doctor {} of {neighbourhood}", doctor + 1),
                department: (*neighbourhood).to_owned(),
                campus: "vitoria".to_owned(),
                day,
                start: "08:00".to_owned(),
                end: "17:00".to_owned(),
                timezone: ZONE.to_owned(),
                capacity: capacity(patients.len(), share),
                release_at,
            });
        }
        let index: BTreeMap<_, _> = demand.keys().zip(0_usize..).collect();
        let asked = bookings.iter().map(|booking| index[&key(booking)]).collect();
        Ok(Clinics { sessions, asked })
    }

    /// Whole weeks, so that a Monday stays a Monday, until the first visit is at least a week away.
    fn shift(&self, bookings: &[Booking]) -> anyhow::Result<Span> {
        let Some(first) = bookings.iter().map(|booking| booking.day).min() else { return Ok(Span::new()) };
        let days = (self.today.checked_add(1.week())? - first).get_days();
        Ok(Span::new().try_weeks((days + 6).div_euclid(7).max(0))?)
    }

    /// A patient has one regular doctor in a clinic, so that bookings of different doctors never exclude each other.
    fn key<'a>(&self, booking: &'a Booking) -> (&'a str, Date, u64) {
        (&booking.neighbourhood, booking.day, hash(&booking.patient) % self.doctors)
    }
}

/// The share of the demand, rounded, at least 1.
fn capacity(patients: usize, share: f64) -> u32 {
    let wanted = (patients as f64 * share).round();
    // Formatted rather than cast: a float has no lossless way to an integer.
    format!("{wanted:.0}")
        .parse()
        .unwrap_or(orderly_domain::session::CAPACITY_MAX)
        .clamp(1, orderly_domain::session::CAPACITY_MAX)
}

/// FNV-1a, 64 bits: the same on every machine and in every version.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A name in lower-case ASCII, for identifiers.
fn slug(name: &str) -> String {
    let plain = |letter: char| match letter {
        'á' | 'à' | 'â' | 'ã' => 'a',
        'é' | 'ê' => 'e',
        'í' => 'i',
        'ó' | 'ô' | 'õ' => 'o',
        'ú' | 'ü' => 'u',
        'ç' => 'c',
        letter if letter.is_ascii_alphanumeric() => letter,
        _ => '-',
    };
    name.chars().flat_map(char::to_lowercase).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn booking(appointment: u64, patient: &str, day: Date) -> Booking {
        Booking {
            appointment,
            patient: patient.to_owned(),
            booked_at: jiff::Timestamp::UNIX_EPOCH,
            day,
            neighbourhood: "SÃO PEDRO".to_owned(),
        }
    }

    const PLAN: Plan = Plan { doctors: 1, capacity_share: 0.6, today: date(2026, 11, 22) };

    #[test]
    fn sessions_follow_demand() {
        let day = date(2016, 4, 29);
        let bookings: Vec<_> =
            ["1", "2", "2", "3", "4", "5"].iter().zip(1..).map(|(patient, n)| booking(n, patient, day)).collect();
        let clinics = PLAN.clinics(&bookings).expect("valid");
        let [session] = &clinics.sessions[..] else { panic!("one session expected") };
        assert_eq!(session.capacity, 3, "60 % of five patients");
        assert_eq!(session.session_id, "sao-pedro-2026-12-04-0");
        assert_eq!(session.day.weekday(), day.weekday());
        assert!(session.release_at < PLAN.today.to_zoned(jiff::tz::TimeZone::UTC).expect("valid").timestamp());
        assert_eq!(clinics.asked, [0; 6]);
    }

    #[test]
    fn a_session_has_room_for_one() {
        assert_eq!(capacity(1, 0.1), 1);
        assert_eq!(capacity(10, 0.6), 6);
        assert_eq!(capacity(1_000_000, 10.0), orderly_domain::session::CAPACITY_MAX);
    }

    #[test]
    fn a_patient_keeps_the_doctor() {
        let bookings: Vec<_> =
            (0..60_u64).map(|n| booking(n, &(n % 20).to_string(), date(2016, 5, if n < 30 { 2 } else { 3 }))).collect();
        let clinics = Plan { doctors: 3, ..PLAN }.clinics(&bookings).expect("valid");
        let doctor = |n: usize| &clinics.sessions[clinics.asked[n]].doctor_id;
        assert!((0..20).all(|n| doctor(n) == doctor(n + 20) && doctor(n) == doctor(n + 40)));
        assert_eq!(clinics.sessions.len(), 6, "three doctors on two days");
    }

    #[test]
    fn refuses_a_plan_without_doctors_or_capacity() {
        assert!(Plan { doctors: 0, ..PLAN }.clinics(&[]).is_err());
        assert!(Plan { capacity_share: 0.0, ..PLAN }.clinics(&[]).is_err());
    }
}
