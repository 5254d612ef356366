//! What a page has to know before it shows anything: the time here, and what sessions can be looked for by.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use jiff::civil::Date;
use orderly_domain::{CampusId, DepartmentId, DoctorId, Timestamp};
use serde::Serialize;

use crate::names::HospitalNames;
use crate::state::Shared;

/// The server's time.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Time)]
pub(crate) struct Now {
    /// Releases and ends of sessions are measured by this, whatever the client's clock says.
    #[schema(value_type = String, format = DateTime)]
    now: Timestamp,
}

/// The server's time, for countdowns. No token is needed.
#[utoipa::path(get, path = "/v1/time", tag = "sessions", responses((status = 200, description = "Now", body = Now)))]
pub(crate) async fn time(State(state): State<Shared>) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(Now { now: state.ports.clock.now() })).into_response()
}

/// A doctor with sessions of today or later.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = HospitalDoctor)]
pub(crate) struct Doctor {
    #[schema(value_type = String, example = "li")]
    doctor_id: DoctorId,
    #[schema(example = "李明 Li Ming")]
    doctor_name: String,
    #[schema(value_type = String, example = "cardiology")]
    department: DepartmentId,
    #[schema(value_type = String, example = "east")]
    campus: CampusId,
}

/// A local day with sessions.
#[derive(Default, Serialize, utoipa::ToSchema)]
#[schema(as = HospitalDay)]
pub(crate) struct Day {
    #[schema(value_type = String, format = Date)]
    day: Date,
    /// How many sessions there are.
    sessions: u32,
    /// How many numbers can still be had in them.
    remaining: u32,
}

/// What sessions can be looked for by.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Hospital)]
pub(crate) struct View {
    /// Whether `POST /v1/demo/token` gives tokens to whoever asks.
    demo: bool,
    #[schema(value_type = String, format = DateTime)]
    now: Timestamp,
    /// IANA names of the zones of its days and times; mostly one.
    timezones: Vec<String>,
    #[schema(value_type = Vec<String>)]
    campuses: Vec<CampusId>,
    #[schema(value_type = Vec<String>)]
    departments: Vec<DepartmentId>,
    /// What departments and campuses are called, by id: those that the hospital has named.
    #[schema(inline)]
    names: HospitalNames,
    /// Ascending by id. One who works in two places is there as the last session has it.
    doctors: Vec<Doctor>,
    /// Ascending.
    days: Vec<Day>,
}

/// What the sessions of today and later can be looked for by: campuses, departments, doctors and days. No token is needed.
#[utoipa::path(get, path = "/v1/hospital", tag = "sessions", responses((status = 200, description = "All of it", body = View)))]
pub(crate) async fn get(State(state): State<Shared>) -> Response {
    let (mut timezones, mut campuses, mut departments) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let (mut doctors, mut days) = (BTreeMap::new(), BTreeMap::<Date, Day>::new());
    for known in state.catalogue.list(|_| true) {
        let session = &known.session;
        timezones.insert(session.timezone.clone());
        campuses.insert(session.campus.clone());
        departments.insert(session.department.clone());
        let doctor = Doctor {
            doctor_id: session.doctor_id.clone(),
            doctor_name: session.doctor_name.clone(),
            department: session.department.clone(),
            campus: session.campus.clone(),
        };
        doctors.insert(session.doctor_id.clone(), doctor);
        let day = days.entry(session.day).or_insert_with(|| Day { day: session.day, ..Day::default() });
        day.sessions += 1;
        day.remaining = day.remaining.saturating_add(known.remaining());
    }
    let view = View {
        demo: state.options.demo,
        now: state.ports.clock.now(),
        timezones: timezones.into_iter().collect(),
        campuses: campuses.into_iter().collect(),
        departments: departments.into_iter().collect(),
        names: state.options.names.clone(),
        doctors: doctors.into_values().collect(),
        days: days.into_values().collect(),
    };
    ([(header::CACHE_CONTROL, "no-store")], Json(view)).into_response()
}
