//! Giving a booking back.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use orderly_domain::command::{Cancel, Command};
use orderly_domain::envelope::Intent;
use serde::Serialize;

use super::view::Status;
use super::{Log, Ticket, View};
use crate::auth::Caller;
use crate::bookings::PREFERENCE_APPLIED;
use crate::problem::{Problem, kind};
use crate::request::{self, Peer};
use crate::state::Shared;
use crate::suspicion::Signal;
use crate::{append, rate_limit};

/// A ticket whose cancellation was taken.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Cancellation)]
pub(crate) struct Taken {
    #[serde(flatten)]
    ticket: View,
    /// Where the cancellation lies in the log; `null` when the ticket was cancelled before.
    cancellation: Option<Log>,
}

/// Gives a booking back. The cancellation is taken like a booking: it stands in line, after the booking. Doing it again
/// changes nothing. With `Prefer: wait=N` the answer is 200 when it is decided within N seconds.
#[utoipa::path(delete, path = "/v1/tickets/{ticket}", tag = "patients", security(("bearer" = [])),
    params(("ticket" = String, Path, description = "The ticket"),
        ("Prefer" = Option<String>, Header, description = "wait=N: wait up to N seconds, 60 at most")),
    responses((status = 202, description = "The cancellation is taken", body = Taken),
        (status = 200, description = "It is decided, when that was waited for", body = Taken),
        (status = 404, description = "Not a ticket of yours", body = crate::problem::Shape),
        (status = 409, description = "It holds no appointment, or its session is over", body = crate::problem::Shape),
        (status = 429, description = "Too many requests", body = crate::problem::Shape),
        (status = 503, description = "Not taken, or not known whether it was; ask again", body = crate::problem::Shape)))]
pub(crate) async fn cancel(
    State(state): State<Shared>,
    Caller(caller): Caller,
    Peer(address): Peer,
    Path(ticket): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let patient = &caller.subject;
    let ticket = Ticket::read(&state, ticket, patient)?;
    let before = ticket.view(&state).await?;
    match before.status() {
        Status::Cancelled => return Ok(answer(StatusCode::ACCEPTED, Taken { ticket: before, cancellation: None })),
        Status::Rejected => {
            return Err(Problem::new(&kind::NOT_BOOKED).detail("This ticket was refused; there is nothing to cancel."));
        }
        Status::Queued | Status::Booked => {}
    }
    let session = state
        .catalogue
        .get(&ticket.handle.session_id)
        .filter(|session| state.ports.clock.now() < session.session.ends_at);
    let session = session.ok_or_else(|| {
        Problem::new(&kind::SESSION_OVER).detail("A booking can be given back until its session ends.")
    })?;
    let reference = session.session.reference();
    let allowance = rate_limit::check(&state, &caller, address, &session.session)?;
    let cancel = Cancel { ticket: ticket.handle.id, patient_id: patient.clone(), session: reference };
    let intent = Intent { requested_by: patient.as_str().to_owned(), command: Command::Cancel(cancel) };
    let appended = append::durably(&state, &intent, append::Line::Counted).await?;
    state.policy.suspicion.note(Signal::Cancellation, Some(patient), Some(address), state.ports.clock.now());

    let cancellation = Some(appended.position.into());
    let wait = request::prefer_wait(&headers, state.options.wait_max);
    let mut response = match wait {
        None => answer(StatusCode::ACCEPTED, Taken { ticket: before, cancellation }),
        Some(wait) => {
            let decided = append::decision(&state, appended.position, wait).await;
            let status = if decided.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
            // The cancellation is taken, also where the ticket cannot be read just now.
            let after = ticket.view(&state).await.unwrap_or(before);
            let mut response = answer(status, Taken { ticket: after, cancellation });
            response.headers_mut().insert(PREFERENCE_APPLIED, HeaderValue::from_static("wait"));
            response
        }
    };
    if let Some(allowance) = allowance {
        rate_limit::tell(response.headers_mut(), &allowance);
    }
    Ok(response)
}

fn answer(status: StatusCode, taken: Taken) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(taken)).into_response()
}
