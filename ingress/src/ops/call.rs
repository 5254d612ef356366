//! A command on one session: read, appended, and answered with what came of it.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts as _, Path, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use orderly_domain::command::Command;
use orderly_domain::decision::Reason;
use orderly_domain::envelope::Intent;
use orderly_domain::port::store::SessionState;
use serde::de::DeserializeOwned;

use super::{REFUSAL_WAIT, Taken, answer};
use crate::auth::{Caller, Identity};
use crate::bookings::PREFERENCE_APPLIED;
use crate::problem::{Problem, kind};
use crate::state::Shared;
use crate::{append, request, sessions};

/// A call on one session, with its body.
pub(crate) struct Call {
    state: Shared,
    caller: Arc<Identity>,
    session_id: String,
    headers: HeaderMap,
    body: Bytes,
}

impl FromRequest<Shared> for Call {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let Caller(caller) = Caller::from_request_parts(&mut parts, state).await?;
        let path = Path::from_request_parts(&mut parts, state).await;
        let Path(session_id) = path.map_err(|_| sessions::unknown())?;
        let body = request::body(body, state.options.body_bytes_max, state.options.body_timeout).await?;
        Ok(Self { state: Arc::clone(state), caller, session_id, headers: parts.headers, body })
    }
}

impl Call {
    /// What the body says; `None` when there is none.
    pub(super) fn read_if_any<T: DeserializeOwned>(&self) -> Result<Option<T>, Problem> {
        if self.body.is_empty() { Ok(None) } else { self.read().map(Some) }
    }

    /// What the body says.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        request::json(&self.headers, &self.body)
    }

    /// The session, as it is known here.
    pub(super) fn session(&self) -> Result<Arc<SessionState>, Problem> {
        sessions::known(&self.state, self.session_id.clone())
    }

    /// Appends a command on the session `known`, and answers.
    pub(super) async fn take(self, known: &SessionState, command: Command) -> Result<Response, Problem> {
        let Self { state, caller, headers, .. } = self;
        let intent = Intent { requested_by: caller.subject.as_str().to_owned(), command };
        let appended = append::durably(&state, &intent, append::Line::Counted).await?;
        let log = appended.position.into();
        let now = state.ports.clock.now();
        let asked = request::prefer_wait(&headers, state.options.wait_max);
        let decided = append::decision(&state, appended.position, asked.unwrap_or(REFUSAL_WAIT)).await;
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
}

/// What a refused command says.
pub(super) fn refusal(reason: Reason, session: &SessionState) -> Problem {
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
