//! The loads: which sessions there are, who wants which of them, and when.

use std::time::Duration;

use anyhow::Context as _;
use jiff::civil::Date;
use orderly_domain::Clock as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, Zipf};
use serde::Serialize;

use super::system::System;
use crate::replay::{self, Session};
use crate::schedule::Profile;

/// A load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// A hot doctor: one session with 100 places, 50,000 patients
    Hot,
    /// A mass event: one session with 20,000 places, 50,000 patients
    Mass,
    /// 50 sessions with 20 places each
    Small,
    /// 200 sessions with 100 places each
    Spread,
    /// Sold out: of a thousand patients one gets a place
    Tail,
    /// A release: a base rate, 200 times that, its decay; doctors by Zipf
    Spike,
    /// Real bookings of 2016, in less time
    Replay,
    /// Steady rates below and above the system's own most
    Ladder,
    /// The same, by clients who ask again after 200 ms until they have an outcome
    Storm,
}

/// How much of each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// The whole of it, or as much as fits the quick set.
    pub(super) full: bool,
}

impl Size {
    const fn pick<T: Copy>(self, full: T, quick: T) -> T {
        if self.full { full } else { quick }
    }

    /// How long a closed loop goes on, at most.
    pub(super) const fn cut(self) -> Duration {
        Duration::from_secs(self.pick(300, 30))
    }

    /// How long each step of [`Workload::Ladder`] and [`Workload::Storm`] is.
    pub(super) const fn step(self) -> Duration {
        Duration::from_secs(self.pick(10, 2))
    }

    /// The steps of the ladder, as shares of the system's most.
    pub(super) const fn ladder(self) -> &'static [f64] {
        self.pick(&[0.1, 0.3, 0.5, 0.7, 0.9, 1.1, 1.3], &[0.3, 0.7, 1.1])
    }

    /// The steps of the storm.
    pub(super) const fn storm(self) -> &'static [f64] {
        self.pick(&[0.5, 1.0, 1.5, 2.0, 3.0], &[0.7, 2.0])
    }
}

/// A wish for a place: who, and in which session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) patient: usize,
    pub(super) session: usize,
}

/// When wishes are sent.
#[derive(Clone, Debug)]
pub(super) enum Play {
    /// Each connection as soon as it is answered.
    Closed,
    /// Each when its time has come.
    Open(Vec<Duration>),
    /// At steady rates, relative to what the system decides at most.
    Ladder,
    /// The same, without patience.
    Storm,
}

/// A load in full.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) sessions: Vec<Session>,
    pub(super) wishes: Vec<Wish>,
    pub(super) play: Play,
    /// What a reader must know of it.
    pub(super) note: String,
}

impl Plan {
    /// The same sessions once more, apart from the first ones: of other doctors and departments, so that nobody holds anything
    /// on their days.
    pub(super) fn again(&self) -> Self {
        let again = |session: &Session| Session {
            session_id: format!("again-{}", session.session_id),
            doctor_id: format!("again-{}", session.doctor_id),
            department: format!("again-{}", session.department),
            ..session.clone()
        };
        Self { sessions: self.sessions.iter().map(again).collect(), ..self.clone() }
    }
}

/// The most patients of any load.
pub(super) const PATIENTS: usize = 70_000;
const ATTEMPTS: usize = 50_000;
const SEED: u64 = 1;

impl Workload {
    /// Every one, those first whose result another needs.
    pub const ALL: [Self; 9] = [
        Self::Hot,
        Self::Mass,
        Self::Small,
        Self::Spread,
        Self::Tail,
        Self::Spike,
        Self::Replay,
        Self::Ladder,
        Self::Storm,
    ];

    /// What a table calls it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Hot => "hot doctor, 1 × 100",
            Self::Mass => "mass event, 1 × 20,000",
            Self::Small => "spread, 50 × 20",
            Self::Spread => "spread, 200 × 100",
            Self::Tail => "sold-out tail, 99.9 % refused",
            Self::Spike => "spike × 200, Zipf",
            Self::Replay => "real bookings",
            Self::Ladder => "steady rates",
            Self::Storm => "retry storm",
        }
    }

    /// Whether each connection waits for its outcome before it asks again, so that outcomes a second tell what a system can.
    #[must_use]
    pub const fn is_closed(self) -> bool {
        matches!(self, Self::Hot | Self::Mass | Self::Small | Self::Spread | Self::Tail)
    }

    /// Whether the quick set goes without it: it has one much like it.
    pub(super) const fn is_for_full(self) -> bool {
        matches!(self, Self::Small | Self::Tail | Self::Replay)
    }

    /// Whether the quick set goes without it on that system: at which rate one that keeps nothing is full, its most tells.
    pub(super) const fn is_for_full_on(self, system: System) -> bool {
        self.is_for_full() || (matches!(self, Self::Ladder | Self::Storm) && matches!(system, System::Memory))
    }

    /// The load in full. `replay` names the real bookings.
    pub(super) fn plan(self, size: Size, replay: &replay::Options) -> anyhow::Result<Plan> {
        let closed = |sessions: usize, capacity: u32, attempts: usize| -> anyhow::Result<Plan> {
            let mut random = StdRng::seed_from_u64(SEED);
            let wish = |patient| Wish { patient, session: random.random_range(0..sessions) };
            let note = format!("{attempts} patients want {sessions} × {capacity} places, closed loop");
            let wishes = (0..attempts).map(wish).collect();
            Ok(Plan { sessions: open(sessions, capacity)?, wishes, play: Play::Closed, note })
        };
        match self {
            Self::Hot => closed(1, 100, ATTEMPTS),
            Self::Mass => closed(1, 20_000, ATTEMPTS),
            Self::Small => closed(50, 20, size.pick(ATTEMPTS, 10_000)),
            Self::Spread => closed(200, 100, ATTEMPTS),
            Self::Tail => closed(10, 5, ATTEMPTS),
            Self::Spike => spike(size),
            Self::Replay => real(size, replay),
            Self::Ladder | Self::Storm => {
                let play = if self == Self::Ladder { Play::Ladder } else { Play::Storm };
                let note = "200 sessions with places for all; open loop".to_owned();
                // Wishes are made on the way: how many depends on the system.
                Ok(Plan { sessions: open(200, 10_000)?, wishes: Vec::new(), play, note })
            }
        }
    }
}

/// A load without end: `wishes` of them find a place in so many sessions.
pub(super) fn at_scale(sessions: usize, wishes: u64) -> anyhow::Result<Plan> {
    let capacity = u32::try_from(2 * wishes.div_ceil(sessions as u64))?;
    let note = format!("{sessions} sessions with places for all; closed loop");
    Ok(Plan { sessions: open(sessions, capacity)?, wishes: Vec::new(), play: Play::Closed, note })
}

/// The wishes of a load without end: patients in turn, who each want one session after the other.
pub(super) fn endless(number: u64, sessions: usize) -> anyhow::Result<Wish> {
    let number = usize::try_from(number)?;
    // A patient comes back after all others, and then to the next session, which lies on another day.
    let round = number / PATIENTS;
    Ok(Wish { patient: number % PATIENTS, session: (number * 7_919 + round) % sessions })
}

fn spike(size: Size) -> anyhow::Result<Plan> {
    const DOCTORS: usize = 200;
    let profile = Profile { seconds: size.pick(30.0, 10.0), base_rate: 40.0, peak_factor: 200.0 };
    let mut random = StdRng::seed_from_u64(SEED);
    let arrivals = profile.arrivals(&mut random);
    let popularity = Zipf::new(DOCTORS as f64, 1.1)?;
    let wish = |patient: usize| {
        let rank = popularity.sample(&mut random);
        let session = (1..DOCTORS).find(|n| *n as f64 >= rank).unwrap_or(DOCTORS) - 1;
        Wish { patient: patient % PATIENTS, session }
    };
    let wishes: Vec<_> = (0..arrivals.len()).map(wish).collect();
    let note = format!(
        "{} arrivals in {} s: {} a second, {} at the peak; 200 × 50 places; open loop",
        arrivals.len(),
        profile.seconds,
        profile.base_rate,
        profile.peak_rate()
    );
    Ok(Plan { sessions: open(DOCTORS, 50)?, wishes, play: Play::Open(arrivals), note })
}

fn real(size: Size, options: &replay::Options) -> anyhow::Result<Plan> {
    let most = size.pick(usize::MAX, 15_000);
    let seconds = size.pick(30.0, 5.0);
    let (sessions, bookings) = replay::real(options, most)?;
    let last = bookings.last().context("there are no bookings")?.0.as_secs_f64();
    let factor = last / seconds;
    let arrivals = bookings.iter().map(|(at, ..)| at.div_f64(factor)).collect();
    let wishes: Vec<_> =
        bookings.iter().map(|(_, patient, session)| Wish { patient: *patient, session: *session }).collect();
    let note = format!(
        "{} real bookings, {:.0} times as fast as they were made; doctors and capacities (60 % of demand) are invented; \
         open loop",
        wishes.len(),
        factor
    );
    Ok(Plan { sessions, wishes, play: Play::Open(arrivals), note })
}

/// So many open sessions: ten departments, each session of a department on a day of its own.
fn open(count: usize, capacity: u32) -> anyhow::Result<Vec<Session>> {
    const DEPARTMENTS: usize = 10;
    let today: Date = orderly_domain::clock::System.now().to_jiff().to_zoned(jiff::tz::TimeZone::UTC).date();
    let release_at = today.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp() - jiff::SignedDuration::from_hours(24);
    let session = |number: usize| {
        let (department, nth) = (number % DEPARTMENTS, number / DEPARTMENTS);
        let day = today.checked_add(jiff::Span::new().days(i64::try_from(nth)? + 7))?;
        Ok(Session {
            session_id: format!("compared-{number}"),
            doctor_id: format!("compared-doctor-{number}"),
            doctor_name: format!("Doctor {number}"),
            department: format!("compared-department-{department}"),
            campus: "compared".to_owned(),
            day,
            start: "08:00".to_owned(),
            end: "17:00".to_owned(),
            timezone: "Asia/Shanghai".to_owned(),
            capacity,
            release_at,
        })
    };
    (0..count).map(session).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_load_is_what_its_title_says() {
        let plan = |workload: Workload| {
            workload.plan(Size { full: true }, &replay::Options::default()).expect("it needs no data")
        };
        let places = |plan: &Plan| plan.sessions.iter().map(|session| session.capacity).sum::<u32>();
        for (workload, sessions, all_places, attempts) in [
            (Workload::Hot, 1, 100, 50_000),
            (Workload::Mass, 1, 20_000, 50_000),
            (Workload::Small, 50, 1_000, 50_000),
            (Workload::Spread, 200, 20_000, 50_000),
            (Workload::Tail, 10, 50, 50_000),
        ] {
            let plan = plan(workload);
            assert_eq!((plan.sessions.len(), places(&plan), plan.wishes.len()), (sessions, all_places, attempts));
            assert_eq!(plan.wishes.iter().map(|wish| wish.patient).collect::<HashSet<_>>().len(), attempts);
        }
    }

    #[test]
    fn sessions_of_a_department_lie_on_days_of_their_own() {
        let sessions = open(200, 1).expect("valid");
        let days: HashSet<_> = sessions.iter().map(|session| (session.department.clone(), session.day)).collect();
        assert_eq!(days.len(), 200);
    }

    #[test]
    fn sessions_that_are_opened_once_more_share_nothing_with_the_first() {
        let plan = Workload::Small.plan(Size { full: false }, &replay::Options::default()).expect("it needs no data");
        let again = plan.again();
        let days: HashSet<_> = plan.sessions.iter().map(|session| (&session.department, session.day)).collect();
        assert!(again.sessions.iter().all(|session| !days.contains(&(&session.department, session.day))));
        assert!(plan.sessions.iter().zip(&again.sessions).all(|(one, other)| one.session_id != other.session_id));
        assert_eq!(plan.wishes, again.wishes);
    }

    #[test]
    fn an_endless_load_never_asks_the_same_twice_for_long() {
        let wishes: HashSet<_> =
            (0..500_000).map(|n| endless(n, 200).map(|wish| (wish.patient, wish.session)).expect("small")).collect();
        assert_eq!(wishes.len(), 500_000);
    }
}
