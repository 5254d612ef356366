//! Tickets: what became of a patient's request.

pub(crate) mod cancel;
pub(crate) mod events;
mod view;

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use orderly_domain::command::Kind;
use orderly_domain::port::store::{AppointmentStatus, Committed};
use orderly_domain::{PatientId, ticket};
use serde::Deserialize;

use crate::append;
use crate::auth::Caller;
use crate::personal;
use crate::problem::{Problem, kind};
use crate::request::Query;
use crate::settling::Settled;
use crate::state::Shared;

pub(crate) use view::{Log, View};

/// Where a ticket is found.
pub(crate) fn path(ticket: &str) -> String {
    ["/v1/tickets/", ticket].concat()
}

/// A ticket in its owner's hands.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) text: String,
    pub(crate) handle: ticket::Handle,
}

fn unknown() -> Problem {
    Problem::new(&kind::UNKNOWN_TICKET).detail("This is no ticket of yours. Use it as the booking's answer had it.")
}

/// What a decided record without a decision is: one that the store has forgotten, or a fault.
async fn missing(state: &Shared) -> Problem {
    match state.ports.store.kept_since().await {
        Ok(Some(_)) => Problem::new(&kind::UNKNOWN_TICKET).detail("This ticket is old, and no longer kept."),
        Ok(None) => Problem::internal("ticket", &"a decided record has no decision"),
        Err(error) => Problem::from_read("retention", &error),
    }
}

impl Ticket {
    /// Reads what a patient presents. It says no more than that a ticket is unknown, so that tickets cannot be probed.
    pub(crate) fn read(state: &Shared, text: String, patient: &PatientId) -> Result<Self, Problem> {
        let handle = state.codec.decode(&text, patient).map_err(|_| unknown())?;
        Ok(Self { text, handle })
    }

    /// What is known of it now.
    pub(crate) async fn view(&self, state: &Shared) -> Result<View, Problem> {
        let position = self.handle.position;
        if !state.progress.is_decided(position) {
            return Ok(View::queued(self, state));
        }
        let row = state.ports.store.decision(position).await;
        let row = row.map_err(|error| Problem::from_read("decision", &error))?;
        let Some(row) = row else { return Err(missing(state).await) };
        let ours = match row.decision.kind {
            Kind::Book => row.decision.ticket == Some(self.handle.id),
            Kind::Malformed => true,
            _ => false,
        };
        // Another record lies there by now: the ticket is from a log that was thrown away.
        if !ours {
            return Err(unknown());
        }
        let held = row.appointment.as_ref().filter(|held| held.status != AppointmentStatus::Cancelled);
        let patient = match held {
            Some(held) => personal::masked_at(state, held.position).await,
            None => None,
        };
        Ok(View::decided(self, state, &row.decision, row.appointment.as_ref(), patient))
    }

    /// What is known of it once it is decided, or when the time is over.
    pub(crate) async fn view_within(&self, state: &Shared, wait: Duration) -> Result<View, Problem> {
        match append::settle(state, self.handle.position, wait).await {
            Settled::Heard(committed, index) => self.view_of(state, committed.get(index)).await,
            Settled::Decided | Settled::NotYet => self.view(state).await,
        }
    }

    /// What a decision that was just heard says. A repeat is looked up: its appointment may be cancelled by now.
    pub(crate) async fn view_of(&self, state: &Shared, heard: Option<&Committed>) -> Result<View, Problem> {
        match heard {
            Some(decision) if decision.first.is_none() => Ok(View::decided(self, state, decision, None, None)),
            _ => self.view(state).await,
        }
    }
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct GetQuery {
    /// Wait up to this many milliseconds for the outcome, 60,000 at most.
    #[serde(default)]
    wait_ms: u64,
}

/// A ticket of one's own. With `wait_ms` the answer waits for the outcome.
#[utoipa::path(get, path = "/v1/tickets/{ticket}", tag = "patients", security(("bearer" = [])),
    params(("ticket" = String, Path, description = "The ticket"), GetQuery),
    responses((status = 200, description = "The ticket", body = View),
        (status = 404, description = "Not a ticket of yours", body = crate::problem::Shape),
        (status = 503, description = "Its decision cannot be read now; ask again later", body = crate::problem::Shape)))]
pub(crate) async fn get(
    State(state): State<Shared>,
    Caller(caller): Caller,
    Path(ticket): Path<String>,
    Query(GetQuery { wait_ms }): Query<GetQuery>,
) -> Result<Response, Problem> {
    let ticket = Ticket::read(&state, ticket, &caller.subject)?;
    let view = if wait_ms == 0 {
        ticket.view(&state).await?
    } else {
        ticket.view_within(&state, Duration::from_millis(wait_ms).min(state.options.wait_max)).await?
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(view)).into_response())
}
