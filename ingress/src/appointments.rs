//! Appointments as ops see them: who has to be called when a session is closed, and who is checked in.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use orderly_domain::port::store::{Appointment, AppointmentStatus, Details};
use orderly_domain::{PatientId, Position, SessionId};
use serde::{Deserialize, Serialize};

use crate::personal::{self, Masked, Shown};
use crate::problem::{Problem, kind};
use crate::request::Query;
use crate::sessions;
use crate::state::Shared;

/// Appointments in a page when nothing is said, and at most.
const LIMIT_DEFAULT: usize = 500;
const LIMIT_MAX: usize = 2_000;

/// An appointment's address: the place of its booking in the log.
fn address(position: Position) -> String {
    format!("{}-{}", position.partition, position.offset)
}

fn read_address(text: &str) -> Option<Position> {
    let (partition, offset) = text.split_once('-')?;
    Some(Position { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
}

/// An appointment of which the patient has not let go.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Appointment)]
pub(crate) struct View {
    /// What it is called under /v1/appointments.
    #[schema(example = "3-1042")]
    appointment: String,
    number: u32,
    /// `booked`, or `session_closed` for one whose session was closed.
    status: &'static str,
    /// What may be shown of the patient; left out when nothing was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<Masked>,
}

/// Some appointments of a session, in the order of their bookings.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AppointmentPage)]
pub(crate) struct Page {
    appointments: Vec<View>,
    /// Ask again with this `after` for those that follow; `null` on the last page.
    next_after: Option<String>,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// How many at most: 1 to 2,000; 500 when left out.
    limit: Option<usize>,
    /// Where to go on: the `next_after` of the page before.
    after: Option<String>,
}

/// The appointments of a session that hold their number, or held it until the session was closed, with masked data of the
/// patients. A look leaves an entry in the audit trail.
#[utoipa::path(get, path = "/v1/sessions/{session_id}/appointments", tag = "ops", security(("bearer" = [])),
    params(("session_id" = String, Path, description = "The session"), PageQuery),
    responses((status = 200, description = "A page of appointments", body = Page),
        (status = 400, description = "limit or after cannot be read", body = crate::problem::Shape),
        (status = 404, description = "There is no such session", body = crate::problem::Shape),
        (status = 503, description = "They cannot be read now, or the audit trail cannot be written; ask again later", body = crate::problem::Shape)))]
pub(crate) async fn list(
    State(state): State<Shared>,
    Path(session_id): Path<String>,
    Query(PageQuery { limit, after }): Query<PageQuery>,
) -> Result<Response, Problem> {
    let wrong = |detail: String| Problem::new(&kind::MALFORMED_REQUEST).detail(detail);
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(wrong(format!("limit must be 1 to {LIMIT_MAX}.")));
    }
    let after = after.map(|after| {
        read_address(&after).ok_or_else(|| wrong("after must be the next_after of an earlier page.".to_owned()))
    });
    let after = after.transpose()?;
    let session = sessions::known(&state, session_id)?;
    let store = &state.ports.store;
    let unread = |error| Problem::from_read("appointments", &error);
    let mut kept = store.appointments(&session.session.session_id).await.map_err(unread)?;
    kept.retain(|row| row.status != AppointmentStatus::Cancelled && after.is_none_or(|after| row.position > after));
    let more = kept.len() > limit;
    kept.truncate(limit);
    let positions: Vec<_> = kept.iter().map(|row| row.position).collect();
    let details = store.details(&positions).await.map_err(unread)?;
    let of = |position: Position| {
        let found: Option<&Details> =
            details.binary_search_by_key(&position, |row| row.position).ok().map(|index| &details[index]);
        found.map(|details| personal::masked(&state, details))
    };
    let next_after = kept.last().filter(|_| more).map(|last| address(last.position));
    let appointments = kept
        .iter()
        .map(|row| View {
            appointment: address(row.position),
            number: row.number,
            status: row.status.as_str(),
            patient: of(row.position),
        })
        .collect();
    Ok(unkept(Page { appointments, next_after }))
}

/// An appointment with all that is known of its patient.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AppointmentPatient)]
pub(crate) struct OfPatient {
    #[schema(example = "3-1042")]
    appointment: String,
    #[schema(value_type = String)]
    session_id: SessionId,
    number: u32,
    /// `booked` or `session_closed`.
    status: &'static str,
    /// The subject of the token with which it was booked.
    #[schema(value_type = String)]
    patient_id: PatientId,
    /// What was given with the booking.
    patient: Shown,
}

/// Who holds an appointment, unmasked: to call them, or to check them in. A look leaves an entry in the audit trail, and without
/// the trail there is none.
#[utoipa::path(get, path = "/v1/appointments/{appointment}/patient", tag = "ops", security(("bearer" = [])),
    params(("appointment" = String, Path, description = "As GET /v1/sessions/{session_id}/appointments has it")),
    responses((status = 200, description = "The patient", body = OfPatient),
        (status = 404, description = "There is no such appointment", body = crate::problem::Shape),
        (status = 503, description = "It cannot be read or opened now, or the audit trail cannot be written", body = crate::problem::Shape)))]
pub(crate) async fn patient(State(state): State<Shared>, Path(appointment): Path<String>) -> Result<Response, Problem> {
    let unknown = || {
        Problem::new(&kind::UNKNOWN_APPOINTMENT)
            .detail("No appointment of this name is kept, or its patient gave it back.")
    };
    let position = read_address(&appointment).ok_or_else(unknown)?;
    let unread = |error| Problem::from_read("appointment", &error);
    let row = state.ports.store.decision(position).await.map_err(unread)?;
    let held = |row: &Appointment| row.position == position && row.status != AppointmentStatus::Cancelled;
    let held = row.and_then(|row| row.appointment).filter(held).ok_or_else(unknown)?;
    let details = state.ports.store.details(&[position]).await.map_err(unread)?;
    let fields = details.first().map(|details| personal::opened(&state, details)).transpose()?.unwrap_or_default();
    Ok(unkept(OfPatient {
        appointment: address(position),
        session_id: held.session_id,
        number: held.number,
        status: held.status.as_str(),
        patient_id: held.patient_id,
        patient: Shown::from(&fields),
    }))
}

/// An answer that nobody on the way may keep.
fn unkept(body: impl Serialize) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
