//! What a replay came to, beside what it had to come to.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::api::Status;
use crate::latency::{Latencies, Summary};
use crate::table::{latencies, table};
use crate::timeline::{Event, Step, steps};

use super::Options;
use super::booking::Bookings;
use super::clinic::Clinics;
use super::expected::{self, Decided};
use super::visit::Visit;

/// How many of each kind of fault are kept in words; all are counted.
const FAULTS_KEPT: usize = 50;
/// Over how long a rate is taken.
const STEP: Duration = Duration::from_millis(250);

/// A session that gave away more or fewer numbers than it had to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which.
    pub session_id: String,
    /// Numbers that had to be given away.
    pub expected: u64,
    /// Numbers that were.
    pub booked: u64,
}

/// What a replay came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it was measured.
    pub machine: String,
    /// The command.
    pub command: String,
    /// Bookings in the data.
    pub bookings: usize,
    /// Patient numbers that had to be cleaned.
    pub patients_cleaned: usize,
    /// Visits that lie before their booking; they were played like the others.
    pub visits_before_booking: usize,
    /// Sessions that were opened.
    pub sessions: usize,
    /// Numbers in them.
    pub capacity: u64,
    /// Bookings that must get a number: the sum over sessions of the lesser of capacity and distinct patients.
    pub expected_booked: u64,
    /// Bookings that got one.
    pub booked: u64,
    /// Refused bookings, by cause.
    pub rejected: BTreeMap<String, u64>,
    /// Bookings without an outcome.
    pub without_outcome: usize,
    /// The first of them, with what was answered.
    pub without_outcome_examples: Vec<String>,
    /// Sessions that gave away more or fewer numbers than they had to.
    pub differences: Vec<Difference>,
    /// Sessions whose decisions were followed in the order of the log.
    pub sessions_followed: usize,
    /// Sessions with a decision that does not follow from those before it in the log.
    pub out_of_order: usize,
    /// The first of them, with the decision.
    pub out_of_order_examples: Vec<String>,
    /// Answers 429 and 503; those bookings were sent again.
    pub turned_away: u64,
    /// From the intended start to the outcome as read by the client.
    pub latency: Summary,
    /// From the start to the last outcome, in seconds.
    pub seconds: f64,
    /// The server's resident memory at the end, in bytes.
    pub resident_bytes: Option<u64>,
    /// The replay over time.
    pub timeline: Vec<Step>,
}

impl Report {
    pub(super) fn new(
        options: &Options,
        bookings: &Bookings,
        clinics: &Clinics,
        schedule: &[Duration],
        visits: &[Visit],
        elapsed: Duration,
        resident_bytes: Option<u64>,
    ) -> Self {
        let capacities: Vec<_> = clinics.sessions.iter().map(|session| session.capacity).collect();
        let expected = expected::booked(&bookings.rows, &clinics.asked, &capacities);
        let mut report = Self {
            machine: crate::machine::describe(),
            command: crate::machine::command(),
            bookings: bookings.rows.len(),
            patients_cleaned: bookings.cleaned,
            visits_before_booking: bookings.before_booking,
            sessions: clinics.sessions.len(),
            capacity: capacities.iter().copied().map(u64::from).sum(),
            expected_booked: expected.iter().copied().map(u64::from).sum(),
            booked: 0,
            rejected: BTreeMap::new(),
            without_outcome: 0,
            without_outcome_examples: Vec::new(),
            differences: Vec::new(),
            sessions_followed: 0,
            out_of_order: 0,
            out_of_order_examples: Vec::new(),
            turned_away: visits.iter().map(|visit| visit.turned_away).sum(),
            latency: Summary::default(),
            seconds: elapsed.as_secs_f64(),
            resident_bytes,
            timeline: Vec::new(),
        };
        report.measure(options, schedule, visits);
        report.compare(bookings, clinics, &expected, visits);
        report
    }

    /// Whether everything came out as it had to.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.without_outcome == 0
            && self.differences.is_empty()
            && self.out_of_order == 0
            && self.booked == self.expected_booked
    }

    fn measure(&mut self, options: &Options, schedule: &[Duration], visits: &[Visit]) {
        // Without a pace a booking's start is intended when the one before it on its connection is decided.
        let paced = options.rate.is_some() || options.speed.is_some();
        let event = |visit: &Visit| Event {
            intended: if paced { schedule[visit.index] } else { visit.started },
            accepted: None,
            decided: visit.outcome.is_ok().then_some(visit.learnt),
        };
        let events: Vec<_> = visits.iter().map(event).collect();
        let latency = |event: &Event| Some(event.decided?.saturating_sub(event.intended));
        self.latency = events.iter().filter_map(latency).collect::<Latencies>().summary();
        self.timeline = steps(&events, STEP);
    }

    fn compare(&mut self, bookings: &Bookings, clinics: &Clinics, expected: &[u32], visits: &[Visit]) {
        let mut decided = vec![Some(Vec::new()); clinics.sessions.len()];
        let mut booked = vec![0_u64; clinics.sessions.len()];
        for visit in visits {
            let booking = &bookings.rows[visit.index];
            let session = clinics.asked[visit.index];
            let ticket = match &visit.outcome {
                Ok(ticket) => ticket,
                Err(why) => {
                    self.without_outcome += 1;
                    keep(&mut self.without_outcome_examples, || format!("appointment {}: {why}", booking.appointment));
                    decided[session] = None;
                    continue;
                }
            };
            if ticket.status == Status::Booked {
                booked[session] += 1;
            } else {
                *self.rejected.entry(ticket.reason.clone().unwrap_or_default()).or_default() += 1;
            }
            match (&mut decided[session], ticket.log, visit.resent) {
                (Some(decided), Some(place), false) => decided.push(Decided {
                    patient: &booking.patient,
                    place,
                    status: ticket.status,
                    number: ticket.number,
                    reason: ticket.reason.as_deref(),
                }),
                // Without its place, the order of the session's decisions is not known.
                (decided, ..) => *decided = None,
            }
        }
        self.booked = booked.iter().sum();
        for (index, session) in clinics.sessions.iter().enumerate() {
            let expected = u64::from(expected[index]);
            if booked[index] != expected {
                let session_id = session.session_id.clone();
                self.differences.push(Difference { session_id, expected, booked: booked[index] });
            }
            let Some(decided) = &mut decided[index] else { continue };
            self.sessions_followed += 1;
            if let Some(why) = expected::out_of_order(decided, session.capacity) {
                self.out_of_order += 1;
                keep(&mut self.out_of_order_examples, || format!("{}: {why}", session.session_id));
            }
        }
    }

    /// The tables for people, then the faults.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut rows = vec![
            ("bookings".to_owned(), self.bookings.to_string()),
            ("patient numbers cleaned".to_owned(), self.patients_cleaned.to_string()),
            ("visits before their booking, kept".to_owned(), self.visits_before_booking.to_string()),
            ("sessions (doctors and times invented)".to_owned(), self.sessions.to_string()),
            ("numbers in them".to_owned(), self.capacity.to_string()),
            ("must be booked".to_owned(), self.expected_booked.to_string()),
            ("booked".to_owned(), self.booked.to_string()),
        ];
        rows.extend(self.rejected.iter().map(|(cause, n)| (format!("rejected: {cause}"), n.to_string())));
        rows.extend([
            ("without an outcome".to_owned(), self.without_outcome.to_string()),
            ("sessions that differ".to_owned(), self.differences.len().to_string()),
            ("sessions followed in the log's order".to_owned(), self.sessions_followed.to_string()),
            ("of those, with a decision out of order".to_owned(), self.out_of_order.to_string()),
            ("told to come back, and did".to_owned(), self.turned_away.to_string()),
            ("seconds".to_owned(), format!("{:.1}", self.seconds)),
            ("decided per second".to_owned(), format!("{:.0}", self.bookings as f64 / self.seconds.max(1e-9))),
        ]);
        if let Some(bytes) = self.resident_bytes {
            rows.push(("server's memory (RSS)".to_owned(), format!("{:.1} MiB", bytes as f64 / 1_048_576.0)));
        }
        let mut counts = table(&["replay", "value"]);
        counts.add_rows(rows.into_iter().map(|(name, value)| vec![name, value]));
        let latency = latencies(&[("intended start to outcome", &self.latency)]);
        let mut text = format!("{counts}\n\n{latency}\n");
        let differences = self.differences.iter().take(FAULTS_KEPT).map(|difference| {
            let Difference { session_id, expected, booked } = difference;
            format!("{session_id}: {booked} booked, {expected} expected")
        });
        for fault in differences.chain(self.without_outcome_examples.clone()).chain(self.out_of_order_examples.clone())
        {
            text.push_str(&format!("\n{fault}"));
        }
        let verdict =
            if self.passed() { "Everything came out as computed." } else { "The outcome is not as computed." };
        format!("{text}\n{verdict}\n")
    }
}

fn keep(examples: &mut Vec<String>, example: impl FnOnce() -> String) {
    if examples.len() < FAULTS_KEPT {
        examples.push(example());
    }
}
