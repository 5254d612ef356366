//! Bookings: from a request to a durable intent.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use orderly_domain::command::{Book, Command};
use orderly_domain::envelope::Intent;
use orderly_domain::{SessionId, ticket};
use serde::Deserialize;

use crate::append::{self, Line};
use crate::auth::Caller;
use crate::challenge;
use crate::idempotency::Taken;
use crate::problem::{Problem, kind};
use crate::request::{self, Peer};
use crate::state::Shared;
use crate::{idempotency, jitter, personal, rate_limit, sessions, tickets};

/// Room for most answers, so that it is made once.
const VIEW_BYTES: usize = 1_024;
/// When to ask again for a session that is frozen: people are looking into it.
const FROZEN_RETRY: Duration = Duration::from_secs(60);
/// Headers of an answer, with the length that is added to them.
const HEADERS: usize = 7;

pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What a patient asks for.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Booking {
    /// The session.
    #[schema(value_type = String, example = "card-2026-11-23-am-li")]
    session_id: SessionId,
    /// What the hospital needs to call the patient or to check them in, if anything.
    #[serde(default)]
    #[schema(value_type = Option<personal::Given>)]
    patient: Option<serde_json::Value>,
}

/// Asks for a number in a session. The answer is a ticket, once the request is durable: 202 while it waits in line. A retry
/// with the same Idempotency-Key gets the same ticket and is taken once at most. With `Prefer: wait=N` the answer is 200
/// with the outcome when it is decided within N seconds.
#[utoipa::path(post, path = "/v1/bookings", tag = "patients", security(("bearer" = [])), request_body = Booking,
    params(
        ("Idempotency-Key" = String, Header, description = "1 to 128 visible ASCII characters; new for every booking, the same for its retries"),
        ("Prefer" = Option<String>, Header, description = "wait=N: wait up to N seconds, 60 at most, for the outcome"),
        ("Challenge-Response" = Option<String>, Header, description = "The answer to the challenge of a 428: its token, a dot, the answer")),
    responses(
        (status = 202, description = "Taken; `Location` is the ticket", body = tickets::View),
        (status = 200, description = "Taken and decided, when that was waited for", body = tickets::View),
        (status = 400, description = "Not readable, or no Idempotency-Key", body = crate::problem::Shape),
        (status = 404, description = "There is no such session", body = crate::problem::Shape),
        (status = 422, description = "The Idempotency-Key was used for another session, or the patient's data cannot be used", body = crate::problem::Shape),
        (status = 428, description = "Who asks looks like a program: answer the `challenge`, and send the same again with the answer", body = crate::problem::Shape),
        (status = 429, description = "Too many requests; `limit` names which limit", body = crate::problem::Shape),
        (status = 503, description = "Not taken, or not known whether it was; ask again with the same key", body = crate::problem::Shape)))]
pub(crate) async fn create(
    State(state): State<Shared>,
    Caller(caller): Caller,
    Peer(address): Peer,
    request: Request,
) -> Result<Response, Problem> {
    let started = Instant::now();
    // Taken whole: what is read of the headers need not be copied.
    let (axum::http::request::Parts { headers, .. }, body) = request.into_parts();
    let bytes = request::body(body, state.options.body_bytes_max, state.options.body_timeout).await?;
    let Booking { session_id, patient: given } = request::json(&headers, &bytes)?;
    let given = given.map(personal::read).transpose()?.flatten();
    let key = request::idempotency_key(&headers)?;
    let session = state.catalogue.get(&session_id).ok_or_else(sessions::unknown)?;
    let patient = &caller.subject;
    let demand = state.policy.suspicion.booking(patient, address, &session_id, state.ports.clock.now());
    let allowance = rate_limit::check(&state, &caller, address, &session.session)?;

    let id = ticket::Id::derive(patient, key);
    let (taken, again) = match state.window.get(id) {
        Some(known) if *known.session_id() != session_id => {
            return Err(Problem::new(&kind::IDEMPOTENCY_KEY_REUSED)
                .detail("This key booked another session. Use a new key for a new booking."));
        }
        Some(known) => {
            state.metrics.retries.inc();
            (append::in_time(&state, known.taken()).await?, true)
        }
        None => {
            if state.policy.throttle.policy().frozen.contains(&session_id) {
                return Err(Problem::new(&kind::SESSION_FROZEN).retry_after(jitter::spread(FROZEN_RETRY)));
            }
            challenge::pass(&state, demand, challenge::Booking { patient, address, ticket: id }, &headers).await?;
            let details = given.map(|given| personal::seal(&state, id, &given)).transpose()?.map(Box::new);
            let session = session.session.reference();
            let book = Book { ticket: id, patient_id: patient.clone(), session, details };
            let intent = Intent { requested_by: patient.as_str().to_owned(), command: Command::Book(book) };
            let taking = {
                let (state, session_id) = (Shared::clone(&state), session_id.clone());
                async move {
                    let appended = append::append(&state, &intent, Line::Bounded).await?;
                    Ok(Taken { session_id, position: appended.position, logged_at: appended.logged_at })
                }
            };
            let taking = idempotency::take(&state, id, &session_id, Box::pin(taking));
            let taken = append::in_time(&state, taking).await?;
            state.metrics.accept.observe(started.elapsed().as_secs_f64());
            (taken, false)
        }
    };

    let handle =
        ticket::Handle { id, position: taken.position, logged_at: taken.logged_at, session_id: taken.session_id };
    let ticket = tickets::Ticket { text: state.codec.encode(&handle, patient), handle };
    let wait = request::prefer_wait(&headers, state.options.wait_max);
    let view = match wait {
        Some(wait) => ticket.view_within(&state, wait).await?,
        None if again => ticket.view(&state).await?,
        None => tickets::View::accepted(&ticket, &state),
    };
    let decided = wait.is_some() && view.is_decided();
    let status = if decided { StatusCode::OK } else { StatusCode::ACCEPTED };
    let location = HeaderValue::try_from(tickets::path(&ticket.text));
    let mut body = Vec::with_capacity(VIEW_BYTES);
    serde_json::to_writer(&mut body, &view).map_err(|error| Problem::internal("booking", &error))?;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let answered = response.headers_mut();
    answered.reserve(HEADERS);
    answered.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answered.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answered.insert(header::LOCATION, location.expect("a ticket is url-safe text"));
    if wait.is_some() {
        answered.insert(PREFERENCE_APPLIED, HeaderValue::from_static("wait"));
    }
    if let Some(allowance) = allowance {
        rate_limit::tell(answered, &allowance);
    }
    Ok(response)
}
