//! Opens sessions, or changes what open ones say.

use std::collections::HashMap;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use orderly_domain::command::Command;
use orderly_domain::decision::Reason;
use orderly_domain::envelope::Intent;
use orderly_domain::{Position, Session, SessionId};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::opening::{self, Fault};
use super::{REFUSAL_WAIT, answer};
use crate::append;
use crate::auth::Caller;
use crate::problem::{Problem, kind};
use crate::request::{self, Format};
use crate::settling::Settled;
use crate::state::Shared;
use crate::tickets::Log;

/// Appends of one call that are under way at once: enough to share the log's flushes, few enough to leave room for others.
const APPENDS_IN_FLIGHT: usize = 256;

/// A session as it is opened.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = SessionOpening)]
#[allow(dead_code, reason = "documents the body; `opening` reads it field by field to say what is wrong where")]
pub(crate) struct Opening {
    #[schema(example = "card-2026-11-23-am-li")]
    session_id: String,
    #[schema(example = "li")]
    doctor_id: String,
    #[schema(example = "李明 Li Ming")]
    doctor_name: String,
    #[schema(example = "cardiology")]
    department: String,
    #[schema(example = "east")]
    campus: String,
    /// The local day.
    #[schema(format = Date)]
    day: String,
    /// Local time.
    #[schema(example = "08:00")]
    start: String,
    /// Local time, later than `start`.
    #[schema(example = "12:00")]
    end: String,
    /// An IANA name.
    #[schema(example = "Asia/Shanghai")]
    timezone: String,
    /// 1 to 100,000.
    capacity: u32,
    /// RFC 3339.
    #[schema(format = DateTime)]
    release_at: String,
}

/// Sessions that were taken.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = SessionsTaken)]
pub(crate) struct Taken {
    /// How many were taken.
    accepted: usize,
    /// Where each lies in the log, in the order of the list.
    log: Vec<Entry>,
    /// Whether all of them are decided. When not, the pipeline may still refuse some.
    decided: bool,
    /// Those that the pipeline refused; only there once all are decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<Vec<Refused>>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = SessionTaken)]
pub(crate) struct Entry {
    #[schema(value_type = String)]
    session_id: SessionId,
    #[serde(flatten)]
    log: Log,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = SessionRefused)]
pub(crate) struct Refused {
    #[schema(value_type = String)]
    session_id: SessionId,
    #[schema(value_type = String)]
    reason: Reason,
}

/// Opens sessions, or changes what open ones say (capacity, times, names, release; not doctor, department or day). All are
/// checked first: when one is wrong, none is taken, and `errors` names index and field of each fault. The body is a JSON
/// array, or a session a line as `application/x-ndjson`. Sending a list again changes nothing.
///
/// Some refusals only the pipeline can see: a capacity below a number that is still held, a session that ended meanwhile or
/// that another call opened first. The answer has them in `refused` when all sessions are decided within two seconds, or
/// within the N seconds of `Prefer: wait=N`, with which it is 200 then. Until `decided` is true a session may still be
/// refused: send the list again with `Prefer: wait=N` to learn of it, or `GET /v1/sessions/{session_id}`.
#[utoipa::path(put, path = "/v1/sessions", tag = "ops", security(("bearer" = [])), request_body = Vec<Opening>,
    params(("Prefer" = Option<String>, Header, description = "wait=N: wait up to N seconds, 60 at most")),
    responses((status = 202, description = "Taken; visible once decided, unless `refused` names it", body = Taken),
        (status = 200, description = "Taken and decided, when that was waited for; `refused` names those that were not opened", body = Taken),
        (status = 409, description = "A session exists with another doctor, department or day, or with more booked", body = crate::problem::Shape),
        (status = 422, description = "A session is wrong", body = crate::problem::Shape)))]
pub(crate) async fn open(
    State(state): State<Shared>,
    Caller(caller): Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let format = request::format(&headers).ok_or_else(|| {
        Problem::new(&kind::UNSUPPORTED_MEDIA_TYPE)
            .detail("Send Content-Type: application/json with an array, or application/x-ndjson with a session a line.")
    })?;
    let (bytes_max, time_max) = (state.options.sessions_body_bytes_max, state.options.sessions_body_timeout);
    let bytes = request::body(body, bytes_max, time_max).await?;
    let sessions = read(format, bytes, &state).await?;
    check_against_known(&state, &sessions)?;

    let author = caller.subject.as_str();
    let appends = sessions.into_iter().map(|session| append_opening(&state, author, session));
    let log: Vec<(SessionId, Position)> =
        stream::iter(appends).buffered(APPENDS_IN_FLIGHT).try_collect().await.map_err(|problem: Problem| {
            problem.detail("Some of the sessions may have been taken, the others were not. Send the same list again.")
        })?;

    let asked = request::prefer_wait(&headers, state.options.wait_max);
    let refused = refusals(&state, &log, Instant::now() + asked.unwrap_or(REFUSAL_WAIT)).await;
    let decided = refused.is_some();
    let status = if asked.is_some() && decided { StatusCode::OK } else { StatusCode::ACCEPTED };
    let entries = log.into_iter().map(|(session_id, position)| Entry { session_id, log: position.into() });
    let log: Vec<Entry> = entries.collect();
    let mut response = answer(status, &Taken { accepted: log.len(), log, decided, refused });
    if asked.is_some() {
        let applied = axum::http::HeaderValue::from_static("wait");
        response.headers_mut().insert(crate::bookings::PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

/// Reading megabytes takes a while; the threads that serve others are not held up by it.
async fn read(format: Format, bytes: axum::body::Bytes, state: &Shared) -> Result<Vec<Session>, Problem> {
    let exclusivity = state.options.exclusivity;
    let read = tokio::task::spawn_blocking(move || opening::read(format, &bytes, exclusivity)).await;
    read.map_err(|error| Problem::internal("sessions", &error))?
}

fn check_against_known(state: &Shared, sessions: &[Session]) -> Result<(), Problem> {
    let (mut conflicts, mut too_small) = (Vec::new(), Vec::new());
    for (index, session) in sessions.iter().enumerate() {
        let Some(known) = state.catalogue.get(&session.session_id) else { continue };
        if known.session.reference() != session.reference() {
            let detail = format!(
                "exists with doctor {}, department {}, day {}; use another session_id",
                known.session.doctor_id, known.session.department, known.session.day
            );
            conflicts.push(Fault { index, field: "session_id".into(), detail });
        } else if session.capacity < known.booked {
            let detail = format!("{} numbers are booked; ask for at least as many", known.booked);
            too_small.push(Fault { index, field: "capacity".into(), detail });
        }
    }
    if !conflicts.is_empty() {
        return Err(opening::refused(&kind::SESSION_CONFLICT, &conflicts));
    }
    if !too_small.is_empty() {
        return Err(opening::refused(&kind::BELOW_BOOKED, &too_small));
    }
    Ok(())
}

async fn append_opening(state: &Shared, author: &str, session: Session) -> Result<(SessionId, Position), Problem> {
    let session_id = session.session_id.clone();
    let intent = Intent { requested_by: author.to_owned(), command: Command::OpenSession(Box::new(session)) };
    let appended = append::durably(state, &intent, append::Line::Counted).await?;
    Ok((session_id, appended.position))
}

/// Those that were refused, once all are decided; `None` when the time is over before, or a decision cannot be read.
async fn refusals(state: &Shared, log: &[(SessionId, Position)], deadline: Instant) -> Option<Vec<Refused>> {
    // Partitions are decided in order: with the last record of each, all are.
    let mut last: HashMap<_, Position> = HashMap::new();
    for (_, position) in log {
        let seen = last.entry(position.partition).or_insert(*position);
        *seen = (*seen).max(*position);
    }
    for position in last.into_values() {
        let settled = append::settle(state, position, deadline.saturating_duration_since(Instant::now())).await;
        if matches!(settled, Settled::NotYet) {
            return None;
        }
    }
    let mut refused = Vec::new();
    for (session_id, position) in log {
        // Mostly the session itself says that this record opened it; then the store needs not be asked.
        if state.catalogue.get(session_id).is_some_and(|known| known.changed_at == *position) {
            continue;
        }
        let decision = append::decision(state, *position, Duration::ZERO).await?;
        if let Some(reason) = decision.outcome.reason() {
            refused.push(Refused { session_id: session_id.clone(), reason });
        }
    }
    Some(refused)
}
