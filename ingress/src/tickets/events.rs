//! A ticket's stream: its position while it waits, then its outcome.
//!
//! Nothing queues up for a client: what it is told is what is true when its connection takes more.

use std::convert::Infallible;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse as _, Response, Sse};
use futures::stream;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::view::Status;
use super::{Ticket, View};
use crate::append;
use crate::auth::Caller;
use crate::problem::Problem;
use crate::progress::InLine;
use crate::request::{Peer, Query};
use crate::state::Shared;
use crate::streams;
use crate::waiters::{Waiting, Woken};

/// When to connect again after the stream has broken off.
const RETRY: std::time::Duration = std::time::Duration::from_secs(1);

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Stay after a booking, to hear of a cancellation or of the session's closing.
    #[serde(default)]
    follow: bool,
}

/// The data of a `position` event.
#[derive(Serialize)]
struct Position {
    position: u64,
    eta_ms: Option<u64>,
    rate_per_s: Option<f64>,
}

/// A ticket's stream: `position` events with `position`, `eta_ms` and `rate_per_s`, then an `outcome` event with the ticket,
/// and its end. With `follow=true` it stays after a booking and sends another `outcome` when that is cancelled. A client
/// that comes again with the `Last-Event-ID` of the last outcome gets 204, which ends an `EventSource`.
#[utoipa::path(get, path = "/v1/tickets/{ticket}/events", tag = "patients", security(("bearer" = [])),
    params(("ticket" = String, Path, description = "The ticket"), EventsQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was received")),
    responses((status = 200, description = "The stream", body = String, content_type = "text/event-stream"),
        (status = 204, description = "The outcome was delivered already"),
        (status = 404, description = "Not a ticket of yours", body = crate::problem::Shape),
        (status = 503, description = "There are too many streams; `limit` names which limit", body = crate::problem::Shape)))]
pub(crate) async fn events(
    State(state): State<Shared>,
    Caller(caller): Caller,
    Peer(address): Peer,
    Path(ticket): Path<String>,
    Query(EventsQuery { follow }): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let ticket = Ticket::read(&state, ticket, &caller.subject)?;
    let slot = state.stream_slot(streams::Kind::Tickets, address)?;
    // First among the waiters, then the look: so that a decision between the two is not missed.
    let waiting = append::waiting(&state, ticket.handle.position)?;
    let view = ticket.view(&state).await?;
    let last_event_id = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let delivered = view.is_decided() && last_event_id == Some(view.status().as_str());
    if delivered && !stays(follow, view.status()) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let mut interval = tokio::time::interval(state.options.position_interval);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let keep_alive = KeepAlive::new().interval(state.options.heartbeat_interval);
    let told = if delivered { Told::Outcome(view.status()) } else { Told::Nothing };
    let ends_at = Instant::now() + state.options.stream_max;
    let live =
        Live { state, ticket, waiting, follow, interval, ends_at, told, next: Some(view), first: true, _slot: slot };
    let events = stream::unfold(live, |mut live| async move {
        let event = live.next().await?;
        Some((Ok::<_, Infallible>(event), live))
    });
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

/// Whether there may be more to tell after this status.
fn stays(follow: bool, status: Status) -> bool {
    match status {
        Status::Queued => true,
        Status::Booked => follow,
        Status::Rejected | Status::Cancelled => false,
    }
}

/// What a client was told last.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Nothing,
    Position(InLine),
    Outcome(Status),
}

struct Live {
    state: Shared,
    ticket: Ticket,
    waiting: Waiting,
    follow: bool,
    interval: Interval,
    ends_at: Instant,
    told: Told,
    /// What is known and not looked at yet.
    next: Option<View>,
    first: bool,
    _slot: streams::Slot,
}

impl Live {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.next.take().and_then(|view| self.event(&view)) {
                return Some(if std::mem::take(&mut self.first) { event.retry(RETRY) } else { event });
            }
            if matches!(self.told, Told::Outcome(status) if !stays(self.follow, status)) {
                return None;
            }
            let queued = !matches!(self.told, Told::Outcome(_));
            tokio::select! {
                woken = self.waiting.woken() => {
                    let view = match woken? {
                        Woken::Decided(committed, index) => self.ticket.view_of(&self.state, committed.get(index)).await,
                        Woken::Recheck => self.ticket.view(&self.state).await,
                    };
                    // A stream has no way to tell a problem: it ends, and the client comes again.
                    self.next = Some(view.ok()?);
                }
                _ = self.interval.tick(), if queued => self.next = Some(self.ticket.view(&self.state).await.ok()?),
                () = self.state.stopped() => return None,
                () = tokio::time::sleep_until(self.ends_at) => return None,
            }
        }
    }

    /// What there is to tell, unless it was told.
    fn event(&mut self, view: &View) -> Option<Event> {
        let (told, event) = match view {
            View::Queued(_) => {
                let line = self.state.progress.in_line(self.ticket.handle.position);
                let InLine { position, eta_ms, rate_per_s } = line;
                let event = Event::default().event("position").id(format!("queued-{position}"));
                (Told::Position(line), data(event, &Position { position, eta_ms, rate_per_s }))
            }
            View::Decided(_) => {
                let status = view.status();
                (Told::Outcome(status), data(Event::default().event("outcome").id(status.as_str()), view))
            }
        };
        if self.told == told {
            return None;
        }
        self.told = told;
        Some(event)
    }
}

fn data(event: Event, value: &impl Serialize) -> Event {
    event.data(serde_json::to_string(value).expect("texts and numbers are always JSON"))
}
