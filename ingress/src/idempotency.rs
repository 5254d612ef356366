//! The idempotency window: bookings that this node took lately, or is taking, so that a retry gets its ticket without a new
//! record.
//!
//! It only spares work. A retry that it has forgotten, or that lands on another node, is appended again, and the pipeline
//! answers it with the first record's outcome.

use std::future::poll_fn;

use futures::FutureExt as _;
use futures::future::{self, BoxFuture};
use orderly_domain::{Position, SessionId, Timestamp, ticket};
use quick_cache::sync::Cache;

use crate::problem::Problem;
use crate::state::Shared;

/// A booking that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) session_id: SessionId,
    pub(crate) position: Position,
    pub(crate) logged_at: Timestamp,
}

/// What is known of a booking.
#[derive(Clone)]
pub(crate) enum Known {
    Taken(Taken),
    /// Who asked for it has left before it was in the log.
    UnderWay(SessionId, future::Shared<Taking>),
}

/// A booking on its way into the log.
pub(crate) type Taking = BoxFuture<'static, Result<Taken, Problem>>;

impl Known {
    pub(crate) const fn session_id(&self) -> &SessionId {
        match self {
            Self::Taken(Taken { session_id, .. }) | Self::UnderWay(session_id, _) => session_id,
        }
    }

    /// Waits until it is taken, should it be under way.
    pub(crate) async fn taken(self) -> Result<Taken, Problem> {
        match self {
            Self::Taken(taken) => Ok(taken),
            Self::UnderWay(_, taking) => taking.await,
        }
    }
}

/// Bookings that were taken lately, by ticket.
pub(crate) struct Window(Cache<ticket::Id, Known>);

impl Window {
    pub(crate) fn new(items_max: usize) -> Self {
        Self(Cache::new(items_max))
    }

    pub(crate) fn get(&self, ticket: ticket::Id) -> Option<Known> {
        self.0.get(&ticket)
    }

    fn note(&self, ticket: ticket::Id, taken: &Result<Taken, Problem>) {
        match taken {
            Ok(taken) => self.0.insert(ticket, Known::Taken(taken.clone())),
            // Whoever asks again tries again.
            Err(_) => drop(self.0.remove(&ticket)),
        }
    }
}

/// Takes a booking, and remembers it. It goes on when this is dropped, because the patient has left or the time is over: what is
/// on its way into the log will lie there, and whoever asks again gets its ticket, not a second record. In a crowd that
/// has to wait for longer than its patience lasts, there would be one more with each try.
pub(crate) async fn take(
    state: &Shared,
    ticket: ticket::Id,
    session_id: &SessionId,
    taking: Taking,
) -> Result<Taken, Problem> {
    let mut guard = Guard { state, ticket, session_id, taking: Some(taking) };
    let taken = poll_fn(|context| guard.taking.as_mut().expect("it is taken out below").poll_unpin(context)).await;
    guard.taking = None;
    state.window.note(ticket, &taken);
    taken
}

struct Guard<'a> {
    state: &'a Shared,
    ticket: ticket::Id,
    session_id: &'a SessionId,
    taking: Option<Taking>,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // Without a runtime the server has ended, and nobody is answered any more.
        let (Some(taking), Ok(runtime)) = (self.taking.take(), tokio::runtime::Handle::try_current()) else { return };
        let (state, ticket) = (Shared::clone(self.state), self.ticket);
        let taking = async move {
            let taken = taking.await;
            state.window.note(ticket, &taken);
            taken
        };
        let taking = taking.boxed().shared();
        self.state.metrics.left.inc();
        self.state.window.0.insert(ticket, Known::UnderWay(self.session_id.clone(), taking.clone()));
        runtime.spawn(taking);
    }
}
