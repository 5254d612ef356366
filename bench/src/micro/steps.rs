//! The steps.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use orderly_domain::envelope::{Intent, decode, encode};
use orderly_domain::inventory::DepartmentDay;
use orderly_domain::ticket::{Codec, Handle, Key};
use orderly_domain::{Book, Command, Exclusivity, Position, Session, Timestamp, ticket};
use orderly_ingress::throttle::{Limits, Policy, Rate, Subject, Throttle};
use orderly_operators::{AsyncOperator, Draft};
use prometheus::Registry;

/// Bookings that are made before they are used, one after the other and then again.
pub(super) const BOOKINGS: u32 = 4_096;
/// One booking in so many gets a number.
const SHARE: u32 = 2;
/// 2026-11-23T00:00:00Z, in microseconds.
const NOW: Timestamp = Timestamp::from_micros(1_795_392_000_000_000);

/// A step, and what repeats it.
pub struct Step {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is done once.
    pub what: &'static str,
    run: Box<dyn FnMut()>,
}

impl Step {
    /// Does it once.
    pub fn run(&mut self) {
        (self.run)();
    }
}

/// All of them.
///
/// # Errors
/// When their inputs cannot be made.
pub fn all() -> anyhow::Result<Vec<Step>> {
    Ok(vec![decision()?, record()?, ticket()?, check()?, operator()?])
}

fn session() -> anyhow::Result<Session> {
    let day = jiff::civil::date(2026, 11, 27);
    Ok(Session {
        session_id: "doctor-7-2026-11-27-am".parse()?,
        doctor_id: "doctor-7".parse()?,
        doctor_name: "Li Na".to_owned(),
        department: "cardiology".parse()?,
        campus: "east".parse()?,
        day,
        start: jiff::civil::time(8, 0, 0, 0),
        end: jiff::civil::time(12, 0, 0, 0),
        timezone: "Asia/Shanghai".to_owned(),
        capacity: BOOKINGS / SHARE,
        release_at: NOW,
        ends_at: Timestamp::from(day.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp()),
        exclusivity: Exclusivity::DepartmentDay,
    })
}

fn bookings(session: &Session) -> anyhow::Result<Vec<Command>> {
    let booking = |number: u32| {
        let patient_id = format!("patient-{number}").parse()?;
        let ticket = ticket::Id::derive(&patient_id, &number.to_string());
        Ok(Command::Book(Book { ticket, patient_id, session: session.reference(), details: None }))
    };
    (0..BOOKINGS).map(booking).collect()
}

fn decision() -> anyhow::Result<Step> {
    let session = session()?;
    let commands = bookings(&session)?;
    let opening = Command::OpenSession(Box::new(session));
    let (mut day, mut next) = (DepartmentDay::default(), 0);
    let run = move || {
        let place = next % commands.len();
        if place == 0 {
            day = DepartmentDay::default();
            day.apply(&opening, 0, NOW);
        }
        next += 1;
        black_box(day.apply(black_box(&commands[place]), next as u64, NOW));
    };
    Ok(Step { name: "decision", what: "decide a booking; one in two gets a number", run: Box::new(run) })
}

fn record() -> anyhow::Result<Step> {
    let intents: Vec<_> = bookings(&session()?)?
        .into_iter()
        .map(|command| Intent { requested_by: "patient".to_owned(), command })
        .collect();
    let mut next = 0;
    let run = move || {
        let bytes = encode(black_box(&intents[next % intents.len()]));
        next += 1;
        black_box(decode(&bytes).is_ok());
    };
    Ok(Step { name: "record", what: "write a booking as a log record, and read it", run: Box::new(run) })
}

fn ticket() -> anyhow::Result<Step> {
    let key = Key::new(1, &[7; Key::BYTES_MIN]).context("the secret is long enough")?;
    let codec = Codec::new(key, Vec::new());
    let patient = "patient-1".parse()?;
    let id = ticket::Id::derive(&patient, "key");
    let session_id = session()?.session_id;
    let mut offset = 0;
    let run = move || {
        offset += 1;
        let position = Position { partition: 3, offset };
        let handle = Handle { id, position, logged_at: NOW, session_id: session_id.clone() };
        let text = codec.encode(&handle, &patient);
        black_box(codec.decode(black_box(&text), &patient).is_ok());
    };
    Ok(Step { name: "ticket", what: "sign a ticket, and verify it", run: Box::new(run) })
}

fn check() -> anyhow::Result<Step> {
    let rate = Some(Rate { rate_per_s: 1_000_000.0, burst: 1_000_000 });
    let limits = Limits {
        global: rate,
        client: rate,
        campus: rate,
        department: rate,
        doctor: rate,
        address: rate,
        patient: rate,
    };
    let throttle = Throttle::new(Policy::of(limits), NOW, &Registry::new())?;
    let Session { doctor_id, department, campus, .. } = session()?;
    let patients = (0..BOOKINGS).map(|number| format!("patient-{number}").parse()).collect::<Result<Vec<_>, _>>()?;
    let mut next = 0;
    let run = move || {
        let patient = &patients[next % patients.len()];
        next += 1;
        let subject = Subject {
            address: Some([10, 0, 0, 1].into()),
            patient,
            client: Some("portal"),
            level: None,
            doctor: &doctor_id,
            department: &department,
            campus: Some(&campus),
            release_at: Some(NOW),
            now: NOW,
        };
        black_box(throttle.check(black_box(subject)).is_ok());
    };
    Ok(Step { name: "throttle", what: "check a booking against every kind of limit", run: Box::new(run) })
}

/// Gives records back as they came.
struct Echo;

#[async_trait]
impl AsyncOperator for Echo {
    type In = Draft;
    type Out = Draft;

    fn name(&self) -> &'static str {
        "echo"
    }

    async fn process_batch(&self, batch: Vec<Draft>) -> Result<Vec<Draft>, orderly_operators::Error> {
        Ok(batch)
    }
}

fn operator() -> anyhow::Result<Step> {
    const EPOCH: usize = 256;
    let draft = |(command, offset)| Draft {
        position: Position { partition: 0, offset },
        logged_at: NOW,
        fence: 1,
        command: Some(command),
        outcome: None,
    };
    let drafts: Vec<_> = bookings(&session()?)?.into_iter().zip(0..).map(draft).collect();
    let mut next = 0;
    // All of them go through at once, and count as so many steps.
    let run = move || {
        if next % drafts.len() == 0 {
            let epochs = drafts.chunks(EPOCH).map(<[Draft]>::to_vec).collect();
            black_box(orderly_pipeline::run_alone(Arc::new(Echo), epochs).is_ok());
        }
        next += 1;
    };
    Ok(Step {
        name: "operator",
        what: "take a record through an asynchronous operator, and copy it",
        run: Box::new(run),
    })
}
