//! What ops do to sessions: open, close, give another capacity. All of it goes through the log.

mod call;
pub(crate) mod opening;
pub(crate) mod put;

use std::time::Duration;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use orderly_domain::command::{ChangeCapacity, CloseSession, Command};
use orderly_domain::decision::Reason;
use orderly_domain::session;
use serde::{Deserialize, Serialize};

use crate::problem::{Problem, kind};
use crate::sessions;
use crate::tickets::Log;
use call::{Call, refusal};

/// The longest cause of a closing, in bytes of UTF-8.
const CAUSE_BYTES_MAX: usize = 1_000;

/// How long an answer waits for decisions where nobody asked it to: a refusal that is known by then is worth more than a
/// quick 202.
const REFUSAL_WAIT: Duration = Duration::from_secs(2);

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
pub(crate) async fn close(call: Call) -> Result<Response, Problem> {
    let Closing { cause } = call.read_if_any()?.unwrap_or_default();
    if cause.len() > CAUSE_BYTES_MAX {
        return Err(Problem::new(&kind::MALFORMED_REQUEST)
            .detail(format!("cause is {} bytes long; use at most {CAUSE_BYTES_MAX}.", cause.len())));
    }
    let known = call.session()?;
    let command = Command::CloseSession(CloseSession { session: known.session.reference(), cause });
    call.take(&known, command).await
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
pub(crate) async fn resize(call: Call) -> Result<Response, Problem> {
    let Resizing { capacity } = call.read()?;
    session::validate_capacity(capacity)
        .map_err(|error| Problem::new(&kind::MALFORMED_REQUEST).detail(format!("{error}.")))?;
    let known = call.session()?;
    if known.closed {
        return Err(refusal(Reason::SessionClosed, &known));
    }
    if capacity < known.booked {
        return Err(refusal(Reason::BelowBooked, &known));
    }
    let command = Command::ChangeCapacity(ChangeCapacity { session: known.session.reference(), capacity });
    call.take(&known, command).await
}

fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
