//! What ops do to sessions: open, close, give another capacity. All of it goes through the log.

mod opening;
pub(crate) mod put;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use orderly_domain::command::{ChangeCapacity, CloseSession, Command};
use orderly_domain::decision::Reason;
use orderly_domain::envelope::Intent;
use orderly_domain::port::store::SessionState;
use orderly_domain::session;
use serde::{Deserialize, Serialize};

use crate::auth::Caller;
use crate::bookings::PREFERENCE_APPLIED;
use crate::problem::{Problem, kind};
use crate::state::Shared;
use crate::tickets::Log;
use crate::{append, request, sessions};

/// The longest cause of a closing, in bytes of UTF-8.
const CAUSE_BYTES_MAX: usize = 1_000;

/// A command on one session that was taken.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = SessionCommand)]
pub(crate) struct Taken {
    /// Where the command lies in the log.
    log: Log,
    /// The session: after the command when its decision was waited for, else before.
    session: sessions::View,
}

/// Why a session is closed.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Closing {
    /// Its patients read it.
    #[schema(example = "李医生今日停诊 Dr Li is ill today")]
    cause: String,
}

/// Closes a session: it cannot be booked any more, and its appointments are cancelled with the cause.
#[utoipa::path(post, path = "/v1/sessions/{session_id}/close", tag = "ops", security(("bearer" = [])),
    request_body = Option<Closing>,
    params(("session_id" = String, Path, description = "The session"),
        ("Prefer" = Option<String>, Header, description = "wait=N: wait up to N seconds, 60 at most")),
    responses((status = 202, description = "Taken", body = Taken),
        (status = 200, description = "Closed, when that was waited for", body = Taken),
        (status = 404, description = "There is no such session", body = crate::problem::Shape)))]
pub(crate) async fn close(
    State(state): State<Shared>,
    Caller(caller): Caller,
    Path(session_id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let bytes = request::body(body, state.options.body_bytes_max, state.options.body_timeout).await?;
    let Closing { cause } = if bytes.is_empty() { Closing::default() } else { request::json(&headers, &bytes)? };
    if cause.len() > CAUSE_BYTES_MAX {
        return Err(Problem::new(&kind::MALFORMED_REQUEST)
            .detail(format!("cause is {} bytes long; use at most {CAUSE_BYTES_MAX}.", cause.len())));
    }
    let known = sessions::known(&state, session_id)?;
    let command = Command::CloseSession(CloseSession { session: known.session.reference(), cause });
    command_session(&state, caller.subject.as_str(), &known, command, &headers).await
}

/// A session's new capacity.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resizing {
    /// 1 to 100,000; not below the highest number that is booked.
    capacity: u32,
}

/// Gives a session another capacity. One below what is booked is refused: by this answer when it is known already or is
/// waited for, else by the command's decision.
#[utoipa::path(patch, path = "/v1/sessions/{session_id}", tag = "ops", security(("bearer" = [])), request_body = Resizing,
    params(("session_id" = String, Path, description = "The session"),
        ("Prefer" = Option<String>, Header, description = "wait=N: wait up to N seconds, 60 at most")),
    responses((status = 202, description = "Taken", body = Taken),
        (status = 200, description = "Changed, when that was waited for", body = Taken),
        (status = 404, description = "There is no such session", body = crate::problem::Shape),
        (status = 409, description = "Below what is booked, or the session is closed", body = crate::problem::Shape)))]
pub(crate) async fn resize(
    State(state): State<Shared>,
    Caller(caller): Caller,
    Path(session_id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let bytes = request::body(body, state.options.body_bytes_max, state.options.body_timeout).await?;
    let Resizing { capacity } = request::json(&headers, &bytes)?;
    session::validate_capacity(capacity)
        .map_err(|error| Problem::new(&kind::MALFORMED_REQUEST).detail(format!("{error}.")))?;
    let known = sessions::known(&state, session_id)?;
    if known.closed {
        return Err(refusal(Reason::SessionClosed, &known));
    }
    if capacity < known.booked {
        return Err(refusal(Reason::BelowBooked, &known));
    }
    let command = Command::ChangeCapacity(ChangeCapacity { session: known.session.reference(), capacity });
    command_session(&state, caller.subject.as_str(), &known, command, &headers).await
}

/// How long a command's answer waits for its decision, so that a refusal is told to the one who caused it.
const REFUSAL_WAIT: std::time::Duration = std::time::Duration::from_secs(2);

async fn command_session(
    state: &Shared,
    author: &str,
    known: &SessionState,
    command: Command,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let intent = Intent { requested_by: author.to_owned(), command };
    let appended = append::durably(state, &intent).await?;
    let log = appended.position.into();
    let now = state.ports.clock.now();
    let asked = request::prefer_wait(headers, state.options.wait_max);
    // Also where nobody asked to wait: a refusal that is known by then is worth more than a quick 202.
    let wait = asked.unwrap_or(REFUSAL_WAIT);
    let decided = append::decision(state, appended.position, wait).await?;
    let after = state.catalogue.get(&known.session.session_id);
    let after = after.as_deref().unwrap_or(known);
    if let Some(reason) = decided.as_ref().and_then(|decision| decision.outcome.reason()) {
        return Err(refusal(reason, after));
    }
    let status = if asked.is_some() && decided.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    // The decision itself has the session as it is after it.
    let after = decided.as_ref().and_then(|decision| decision.session.as_ref()).unwrap_or(after);
    let mut response = answer(status, &Taken { log, session: sessions::View::of(after, now) });
    if asked.is_some() {
        response.headers_mut().insert(PREFERENCE_APPLIED, HeaderValue::from_static("wait"));
    }
    Ok(response)
}

fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// What a refused command says.
fn refusal(reason: Reason, session: &SessionState) -> Problem {
    let booked = session.booked;
    match reason {
        Reason::BelowBooked => Problem::new(&kind::BELOW_BOOKED)
            .detail(format!(
                "{booked} numbers are booked, and the highest of them must fit. Ask for more, or close the session.",
            ))
            .member("booked", booked)
            .member("capacity", session.session.capacity),
        Reason::SessionClosed => {
            Problem::new(&kind::SESSION_CLOSED).detail("The session is closed. Open it again with PUT /v1/sessions.")
        }
        Reason::SessionConflict => Problem::new(&kind::SESSION_CONFLICT)
            .detail("A session keeps its doctor, department and day. Use another session_id."),
        Reason::Expired => Problem::new(&kind::SESSION_OVER).detail("The session is over; nothing was changed."),
        Reason::UnknownSession => sessions::unknown(),
        other => Problem::internal("command", &format_args!("a command on a session was refused as {other}")),
    }
}
