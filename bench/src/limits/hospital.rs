//! A hospital and its rush, as they lie in the log.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use jiff::civil::{Date, date, time};
use orderly_domain::clock::System;
use orderly_domain::envelope::{Intent, encode};
use orderly_domain::port::IntentLog;
use orderly_domain::{
    Book, Clock as _, Command, Exclusivity, PatientId, Session, SessionRef, Timestamp, partition_of, ticket,
};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, Zipf};

const DOCTORS: u32 = 60;
const SESSIONS_PER_DOCTOR: u32 = 10;
/// Appends that wait for the log at once while it is filled.
pub(super) const APPENDS: usize = 8_192;

/// Doctors of 12 departments, each with sessions on ten days.
pub(super) struct Hospital {
    pub(super) sessions: Vec<Session>,
    references: Vec<SessionRef>,
}

impl Hospital {
    /// Every session has so many numbers.
    pub(super) fn new(capacity: u32) -> anyhow::Result<Self> {
        let today: Date = System.now().to_jiff().to_zoned(jiff::tz::TimeZone::UTC).date();
        let sessions: Vec<_> = (0..DOCTORS * SESSIONS_PER_DOCTOR)
            .map(|number| session(number, today, capacity))
            .collect::<Result<_, _>>()?;
        let references = sessions.iter().map(Session::reference).collect();
        Ok(Self { sessions, references })
    }

    /// The commands that open its sessions.
    pub(super) fn openings(&self) -> impl Iterator<Item = Command> {
        self.sessions.iter().cloned().map(|session| Command::OpenSession(Box::new(session)))
    }

    /// So many bookings: doctors by Zipf, days and patients at random, no ticket twice.
    pub(super) fn rush(&self, bookings: u32) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Command>>> {
        let mut random = SmallRng::seed_from_u64(1);
        let popularity = Zipf::new(f64::from(DOCTORS), 1.1)?;
        Ok((0..bookings).map(move |number| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "Zipf draws whole numbers from 1 to DOCTORS"
            )]
            let doctor = popularity.sample(&mut random) as u32 - 1;
            let index = doctor * SESSIONS_PER_DOCTOR + random.random_range(0..SESSIONS_PER_DOCTOR);
            let patient_id: PatientId = format!("patient-{}", random.random_range(0..bookings)).parse()?;
            let ticket = ticket::Id::derive(&patient_id, &number.to_string());
            Ok(Command::Book(Book {
                ticket,
                patient_id,
                session: self.references[index as usize].clone(),
                details: None,
            }))
        }))
    }

    /// Appends its openings and then its rush, so many at once, and tells how many records the log has.
    pub(super) async fn fill(&self, log: &Arc<dyn IntentLog>, bookings: u32, at_once: usize) -> anyhow::Result<u64> {
        for command in self.openings() {
            append(log, command).await?;
        }
        futures::stream::iter(self.rush(bookings)?)
            .map(|command| async move { append(log, command?).await })
            .buffer_unordered(at_once)
            .try_collect::<()>()
            .await?;
        Ok(log.extents().await?.iter().map(|extent| extent.end).sum())
    }
}

async fn append(log: &Arc<dyn IntentLog>, command: Command) -> anyhow::Result<()> {
    let partition = partition_of(command.doctor_id(), log.partitions());
    let intent = Intent { requested_by: "bench".to_owned(), command };
    log.append(partition, intent.command.doctor_id().as_str(), encode(&intent)).await?;
    Ok(())
}

fn session(number: u32, today: Date, capacity: u32) -> anyhow::Result<Session> {
    let (doctor, nth) = (number / SESSIONS_PER_DOCTOR, number % SESSIONS_PER_DOCTOR);
    let day = today.checked_add(jiff::Span::new().days(i64::from(nth) + 2))?;
    Ok(Session {
        session_id: format!("session-{doctor}-{day}").parse()?,
        doctor_id: format!("doctor-{doctor}").parse()?,
        doctor_name: format!("Doctor {doctor}"),
        department: format!("department-{}", doctor % 12).parse()?,
        campus: format!("campus-{}", doctor % 3).parse()?,
        day,
        start: time(8, 0, 0, 0),
        end: time(12, 0, 0, 0),
        timezone: "Asia/Shanghai".to_owned(),
        capacity,
        release_at: date(2020, 1, 1).to_zoned(jiff::tz::TimeZone::UTC)?.timestamp().into(),
        ends_at: Timestamp::from(day.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp()),
        exclusivity: Exclusivity::DepartmentDay,
    })
}
