//! The idempotency window: bookings that this node took lately, or goes on taking after their client has left, so that a retry
//! gets its ticket without a new record.
//!
//! It only spares work. A retry that it has forgotten, that lands on another node, or that comes while its first attempt is still waited
//! for, is appended again, and the pipeline answers it with the first record's outcome.

use std::future::poll_fn;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use orderly_domain::{Position, SessionId, Timestamp, ticket};
use quick_cache::sync::Cache;
use tokio::sync::watch;

use crate::append;
use crate::problem::Problem;
use crate::state::Shared;

/// A booking that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) session_id: SessionId,
    pub(crate) position: Position,
    pub(crate) logged_at: Timestamp,
}

/// A booking on its way into the log.
pub(crate) type Taking = BoxFuture<'static, Result<Taken, Problem>>;

/// What is known of a booking.
#[derive(Clone)]
pub(crate) enum Known {
    Taken(Taken),
    /// Who asked for it has left before it was in the log. What becomes of it is told here, once.
    UnderWay(SessionId, watch::Receiver<Option<Result<Taken, Problem>>>),
}

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
            Self::UnderWay(_, mut told) => match told.wait_for(Option::is_some).await {
                Ok(told) => told.clone().unwrap_or_else(|| Err(append::not_known())),
                Err(_) => Err(append::not_known()),
            },
        }
    }

    /// Whether nobody will tell what becomes of it.
    fn is_given_up(&self) -> bool {
        matches!(self, Self::UnderWay(_, told) if told.has_changed().is_err() && told.borrow().is_none())
    }
}

/// Bookings that were taken lately, by ticket.
pub(crate) struct Window(Cache<ticket::Id, Known>);

impl Window {
    pub(crate) fn new(items_max: usize) -> Self {
        Self(Cache::new(items_max))
    }

    pub(crate) fn get(&self, ticket: ticket::Id) -> Option<Known> {
        self.0.get(&ticket).filter(|known| !known.is_given_up())
    }

    fn insert(&self, ticket: ticket::Id, taken: Taken) {
        self.0.insert(ticket, Known::Taken(taken));
    }

    /// Forgets an attempt that came to nothing: whoever asks again tries again.
    fn forget(&self, ticket: ticket::Id) {
        self.0.remove_if(&ticket, |known| matches!(known, Known::UnderWay(..)));
    }
}

/// Takes a booking, and remembers it. It goes on for as long as a request may take when this is dropped because the patient has
/// left, or the time is over: what is on its way into the log will lie there, and whoever asks again then gets its ticket, not a
/// second record. In a crowd that has to wait for longer than its patience lasts, there would be one more with each try.
pub(crate) async fn take(
    state: &Shared,
    ticket: ticket::Id,
    session_id: &SessionId,
    taking: Taking,
) -> Result<Taken, Problem> {
    let mut guard = Guard { state, ticket, session_id, taking: Some(taking) };
    let taken = poll_fn(|context| guard.taking.as_mut().expect("it is taken out below").poll_unpin(context)).await;
    guard.taking = None;
    if let Ok(taken) = &taken {
        state.window.insert(ticket, taken.clone());
    }
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
        // Another attempt may know more by now.
        if std::thread::panicking() || self.state.window.get(self.ticket).is_some() {
            return;
        }
        let (state, ticket) = (Shared::clone(self.state), self.ticket);
        let (tell, told) = watch::channel(None);
        state.metrics.left.inc();
        state.window.0.insert(ticket, Known::UnderWay(self.session_id.clone(), told));
        runtime.spawn(async move {
            let taken = append::in_time(&state, taking).await;
            match &taken {
                Ok(taken) => state.window.insert(ticket, taken.clone()),
                Err(_) => state.window.forget(ticket),
            }
            tell.send_replace(Some(taken));
        });
    }
}
