//! Compares the tables of sessions and appointments with what the decisions amount to, and with themselves.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::civil::Date;
use orderly_domain::port::store::{Appointment, AppointmentStatus, SessionState, Store};
use orderly_domain::port::{self};
use orderly_domain::{Offset, Partition, PatientId, Position};

use crate::report::{Invariant, Report};
use crate::rules::{Clinic, Rules};

/// Sessions whose appointments are asked for at the same time. The store's other readers want their turn.
const READS_AT_ONCE: usize = 4;

/// What can be compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct What<'a> {
    /// Appointments of sessions of earlier days may be forgotten.
    pub(crate) kept_since: Option<Date>,
    /// The rules know what sessions say of themselves.
    pub(crate) details: bool,
    /// The decisions that opened sessions are all there.
    pub(crate) openings: bool,
    /// Up to which offset of each partition decisions are in the rules: a session that was changed since is left out. `None`
    /// when nothing is decided meanwhile.
    pub(crate) judged: Option<&'a BTreeMap<Partition, Offset>>,
}

impl What<'_> {
    fn has(&self, position: Position) -> bool {
        self.judged.is_none_or(|judged| judged.get(&position.partition).is_some_and(|next| position.offset < *next))
    }
}

/// Reads every session with its appointments. Says how many it left out because they are being changed.
pub(crate) async fn check(
    store: &dyn Store,
    rules: &Rules,
    what: What<'_>,
    report: &mut Report,
) -> Result<u64, port::Error> {
    let mut states = store.sessions(Date::MIN).await?;
    states.sort_by(|a, b| (a.session.day, &a.session.session_id).cmp(&(b.session.day, &b.session.session_id)));
    let mut holders: BTreeMap<(String, PatientId), Position> = BTreeMap::new();
    let mut day = Date::MIN;
    let mut changing = 0;
    let kept = states.iter().filter(|state| what.kept_since.is_none_or(|since| state.session.day >= since));
    // Each answer is a way there and back, which is most of the time that a comparison takes.
    let mut read = stream::iter(kept)
        .map(async |state| port::Result::Ok((state, store.appointments(&state.session.session_id).await?)))
        .buffered(READS_AT_ONCE);
    while let Some((state, appointments)) = read.try_next().await? {
        // No rule reaches beyond a day.
        if state.session.day != day {
            day = state.session.day;
            holders.clear();
        }
        let session_id = &state.session.session_id;
        let is_judged = |appointment: &Appointment| what.has(appointment.position) && what.has(appointment.changed_at);
        if !what.has(state.changed_at) || !appointments.iter().all(is_judged) {
            changing += 1;
            continue;
        }
        let before = report.violations_in_all();
        check_numbers(state, &appointments, report);
        check_holders(state, &appointments, &mut holders, report);
        match rules.clinics.get(session_id) {
            Some(clinic) => {
                check_effects(clinic, state, &appointments, report);
                if what.details {
                    check_details(clinic, state, report);
                }
            }
            None if !what.openings && appointments.is_empty() => {}
            None => {
                let row = format!("{session_id}: the store has this session, but no decision opened it");
                report.violated(Invariant::ExactlyOnce, row);
            }
        }
        report.accuse_if_more_than(before, session_id);
    }
    let stored: BTreeSet<_> = states.iter().map(|state| &state.session.session_id).collect();
    for session_id in rules.clinics.keys().filter(|session_id| !stored.contains(session_id)) {
        let row = format!("{session_id}: decisions opened or booked this session, but the store does not have it");
        report.violated(Invariant::ExactlyOnce, row);
        report.accuse(session_id);
    }
    Ok(changing)
}

fn active(appointments: &[Appointment]) -> impl Iterator<Item = &Appointment> {
    appointments.iter().filter(|appointment| appointment.status == AppointmentStatus::Booked)
}

fn check_numbers(state: &SessionState, appointments: &[Appointment], report: &mut Report) {
    let SessionState { session, closed, booked, .. } = state;
    report.looked_at(Invariant::NoOversell, 1);
    report.looked_at(Invariant::Conserved, 1);
    let id = &session.session_id;
    let held = active(appointments).count();
    if held > session.capacity as usize {
        let row = format!("{id}: {held} appointments, capacity {}", session.capacity);
        report.violated(Invariant::NoOversell, row);
    }
    let mut holder_of: BTreeMap<u32, Position> = BTreeMap::new();
    for Appointment { number, position, .. } in active(appointments) {
        if !(1..=session.capacity).contains(number) {
            let row = format!("{id}: {position} holds number {number}, capacity {}", session.capacity);
            report.violated(Invariant::NoOversell, row);
        }
        if let Some(other) = holder_of.insert(*number, *position) {
            let row = format!("{id}: number {number} is held by {other} and by {position}");
            report.violated(Invariant::NoOversell, row);
        }
    }
    if *booked as usize != held {
        report.violated(Invariant::Conserved, format!("{id}: {booked} are counted as booked, {held} are"));
    }
    if *closed && held > 0 {
        report.violated(Invariant::Conserved, format!("{id}: it is closed, but {held} appointments are active"));
    }
}

fn check_holders(
    state: &SessionState,
    appointments: &[Appointment],
    holders: &mut BTreeMap<(String, PatientId), Position>,
    report: &mut Report,
) {
    let Some(scope) = state.session.exclusivity.scope(&state.session.reference()) else { return };
    for Appointment { patient_id, position, .. } in active(appointments) {
        report.looked_at(Invariant::OnePerPatient, 1);
        if let Some(other) = holders.insert((scope.clone(), patient_id.clone()), *position) {
            let row = format!("{scope}: one patient holds the appointments {other} and {position}");
            report.violated(Invariant::OnePerPatient, row);
        }
    }
}

fn check_effects(clinic: &Clinic, state: &SessionState, appointments: &[Appointment], report: &mut Report) {
    let id = &state.session.session_id;
    let mut told = clinic.bookings.clone();
    for appointment in appointments {
        let Appointment { position, number, .. } = appointment;
        let Some(booking) = told.remove(position) else {
            let row = format!("{id}: {position} has an appointment (number {number}), but no decision made it");
            report.violated(Invariant::ExactlyOnce, row);
            continue;
        };
        if (booking.number, booking.ticket, &booking.patient_id)
            != (appointment.number, appointment.ticket, &appointment.patient_id)
        {
            let row =
                format!("{id}: the appointment of {position} has another number, ticket or patient than its decision");
            report.violated(Invariant::ExactlyOnce, row);
        }
        if booking.status != appointment.status {
            let row = format!(
                "{id}: the appointment of {position} is {}; its decisions make it {}",
                appointment.status.as_str(),
                booking.status.as_str()
            );
            report.violated(Invariant::ExactlyOnce, row);
        }
    }
    for (position, booking) in told {
        let row = format!("{id}: {position} was told booked {}, but has no appointment", booking.number);
        report.violated(Invariant::ExactlyOnce, row);
    }
}

fn check_details(clinic: &Clinic, state: &SessionState, report: &mut Report) {
    if clinic.closed != state.closed || clinic.session.as_ref() != Some(&state.session) {
        let row = format!("{}: the session is not what its commands made of it", state.session.session_id);
        report.violated(Invariant::Deterministic, row);
    }
}
