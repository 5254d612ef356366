//! The sessions' stream: all that a filter lets through, then what changes.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::{Stream, stream};
use orderly_domain::port::store::SessionState;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::{Filter, View};
use crate::problem::{Problem, kind};
use crate::request::{Peer, Query};
use crate::state::Shared;
use crate::streams;

/// Sessions in one event at most.
const SESSIONS_PER_EVENT: usize = 500;

/// When to connect again after the stream has ended.
const RETRY: std::time::Duration = std::time::Duration::from_secs(2);

/// The sessions of today and later as a stream: `snapshot` events with all of them (arrays, of 500 at most each), then
/// `changes` events with those whose remaining numbers, capacity or state changed, a few times a second at most. A client
/// that falls behind gets a new snapshot. No token is needed.
#[utoipa::path(get, path = "/v1/sessions/events", tag = "sessions", params(Filter),
    responses((status = 200, description = "The stream", body = String, content_type = "text/event-stream"),
        (status = 503, description = "There are too many streams; `limit` names which limit", body = crate::problem::Shape)))]
pub(crate) async fn events(
    State(state): State<Shared>,
    Peer(address): Peer,
    Query(filter): Query<Filter>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    if filter.limit.is_some() || filter.cursor.is_some() {
        return Err(Problem::new(&kind::MALFORMED_REQUEST).detail("A stream has no pages: leave limit and cursor out."));
    }
    let keep_alive = KeepAlive::new().interval(state.options.heartbeat_interval);
    let ends_at = tokio::time::Instant::now() + state.options.stream_max;
    let live = Live {
        _slot: state.stream_slot(streams::Kind::Sessions, address)?,
        rounds: state.catalogue.rounds(),
        pending: Vec::new(),
        name: "snapshot",
        first: true,
        due: true,
        ends_at,
        filter,
        state,
    };
    let events = stream::unfold(live, |mut live| async move { live.next().await.map(|event| (Ok(event), live)) });
    Ok(Sse::new(events).keep_alive(keep_alive))
}

struct Live {
    state: Shared,
    filter: Filter,
    rounds: broadcast::Receiver<Arc<[Arc<SessionState>]>>,
    /// What is still to be sent under `name`, the last first.
    pending: Vec<Arc<SessionState>>,
    name: &'static str,
    /// Whether nothing was sent yet.
    first: bool,
    /// Whether a snapshot is due.
    due: bool,
    ends_at: tokio::time::Instant,
    _slot: streams::Slot,
}

impl Live {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.due {
                self.due = false;
                self.rounds = self.rounds.resubscribe();
                let now = self.state.ports.clock.now();
                self.pending = self.state.catalogue.list(|session| self.filter.lets_through(session, now));
                self.pending.reverse();
                self.name = "snapshot";
                if self.pending.is_empty() {
                    return Some(self.event());
                }
            }
            if !self.pending.is_empty() {
                return Some(self.event());
            }
            tokio::select! {
                round = self.rounds.recv() => match round {
                    Ok(round) => {
                        self.name = "changes";
                        self.pending = round.iter().rev().filter(|session| self.concerns(session)).cloned().collect();
                    }
                    Err(RecvError::Lagged(_)) => self.due = true,
                    Err(RecvError::Closed) => return None,
                },
                () = self.state.stopped() => return None,
                () = tokio::time::sleep_until(self.ends_at) => return None,
            }
        }
    }

    /// Whether a changed session is told. One that has left a filter by state is told too: a client has to know.
    fn concerns(&self, session: &SessionState) -> bool {
        let filter = Filter { state: None, ..self.filter.clone() };
        filter.lets_through(session, self.state.ports.clock.now())
    }

    fn event(&mut self) -> Event {
        let now = self.state.ports.clock.now();
        let rest = self.pending.len().saturating_sub(SESSIONS_PER_EVENT);
        let views: Vec<_> = self.pending.drain(rest..).rev().map(|session| View::of(&session, now)).collect();
        let event = Event::default()
            .event(self.name)
            .data(serde_json::to_string(&views).expect("a session's texts and numbers are always JSON"));
        if std::mem::take(&mut self.first) { event.retry(RETRY) } else { event }
    }
}
