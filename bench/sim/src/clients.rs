//! Patients and ops: they ask until they have an answer, and some ask again.

use std::time::Duration;

use jiff::civil::time;
use orderly_domain::envelope::{Intent, encode};
use orderly_domain::port::IntentLog as _;
use orderly_domain::session::resolve;
use orderly_domain::{
    Book, Cancel, ChangeCapacity, CloseSession, Command, Exclusivity, Partition, PatientId, Session, ticket,
};

use crate::edge::Edge;
use crate::ledger::home;
use crate::log;
use crate::plan::{Action, Clinic, PARTITIONS, Plan};
use crate::world::World;

/// How often somebody tries before giving up.
const TRIES: u32 = 6;

/// What an action puts into the log, and where; nothing when it is no intent.
pub(crate) fn payload(plan: &Plan, action: &Action) -> Option<(Partition, Vec<u8>)> {
    let clinic = |index: usize| &plan.clinics[index % plan.clinics.len()];
    let command = match action {
        Action::Open { clinic: index, capacity, exclusivity } => {
            Command::OpenSession(Box::new(session(clinic(*index), *capacity, *exclusivity)))
        }
        Action::Close { clinic: index } => {
            Command::CloseSession(CloseSession { session: reference(clinic(*index)), cause: "simulated".to_owned() })
        }
        Action::Resize { clinic: index, capacity } => {
            Command::ChangeCapacity(ChangeCapacity { session: reference(clinic(*index)), capacity: *capacity })
        }
        Action::Book { patient, key, clinic: index } => book(plan, clinic(*index), *patient, *key),
        Action::Cancel { patient, key, clinic: index, by } => {
            let clinic = clinic(*index);
            Command::Cancel(Cancel {
                ticket: ticket_of(plan, clinic, *patient, *key),
                patient_id: name(*by),
                session: reference(clinic),
            })
        }
        Action::Poison { partition } => return Some((*partition, b"poison".to_vec())),
        Action::Misroute { patient, clinic: index } => {
            let command = book(plan, clinic(*index), *patient, 0);
            let elsewhere = (home(command.doctor_id()) + 1) % PARTITIONS;
            return Some((elsewhere, encode(&Intent { requested_by: "nobody".into(), command })));
        }
        _ => return None,
    };
    Some((home(command.doctor_id()), encode(&Intent { requested_by: "somebody".into(), command })))
}

/// Appends until the log says that it has the record.
pub(crate) async fn ask(world: World, partition: Partition, payload: Vec<u8>) {
    let log = log::Port(Edge::client(&world));
    for attempt in 0..TRIES {
        match log.append(partition, "", payload.clone()).await {
            Ok(appended) => {
                let mut state = world.state();
                state.say(|| format!("202 {}", appended.position));
                state.acknowledged.push((appended.position, payload));
                return;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10 << attempt)).await,
        }
    }
}

fn name(patient: u16) -> PatientId {
    format!("p{patient}").parse().expect("a patient's id")
}

/// A key is used in one department's day only, but where the plan makes room for the known gap of those that are not.
fn ticket_of(plan: &Plan, clinic: &Clinic, patient: u16, key: u16) -> ticket::Id {
    if plan.keys_cross_departments {
        return ticket::Id::derive(&name(patient), &format!("anywhere {key}"));
    }
    // What is refused as a duplicate because of another partition is no longer known as that after a takeover: a known gap.
    let partition = home(&clinic.doctor.parse().expect("a doctor's id")).to_string();
    let session = if plan.keys_are_shared { &partition } else { &clinic.name };
    ticket::Id::derive(&name(patient), &format!("{} {} {session} {key}", clinic.department, clinic.day))
}

fn book(plan: &Plan, clinic: &Clinic, patient: u16, key: u16) -> Command {
    Command::Book(Book {
        ticket: ticket_of(plan, clinic, patient, key),
        patient_id: name(patient),
        session: reference(clinic),
        details: None,
    })
}

fn reference(clinic: &Clinic) -> orderly_domain::SessionRef {
    session(clinic, 1, Exclusivity::None).reference()
}

fn session(clinic: &Clinic, capacity: u32, exclusivity: Exclusivity) -> Session {
    let end = time(clinic.start_hour + 1, 30, 0, 0);
    Session {
        session_id: clinic.name.parse().expect("a session's id"),
        doctor_id: clinic.doctor.parse().expect("a doctor's id"),
        doctor_name: clinic.doctor.to_owned(),
        department: clinic.department.parse().expect("a department's id"),
        campus: "east".parse().expect("a campus' id"),
        day: clinic.day,
        start: time(clinic.start_hour, 0, 0, 0),
        end,
        timezone: clinic.timezone.to_owned(),
        capacity,
        release_at: clinic.release_at,
        ends_at: resolve(clinic.day, end, clinic.timezone).expect("a moment"),
        exclusivity,
    }
}
