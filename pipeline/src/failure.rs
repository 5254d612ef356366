//! The first cause of a failure, seen by everyone.

use std::sync::{Arc, OnceLock};

use orderly_domain::planted::{self, Bug};
use orderly_domain::port;
use orderly_operators::Error;
use tokio::sync::Notify;

/// Why the dataflow stopped.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    /// What happened, for people.
    pub text: String,
    /// Whether taking the partitions over again heals it.
    pub heals: bool,
}

impl Cause {
    /// A failure of an operator or of the edge behind it.
    pub(crate) fn of(what: &str, error: &Error) -> Self {
        let heals = matches!(error, Error::Port(port::Error::Fenced { .. } | port::Error::Lost(_)));
        let heals = heals && !(planted::is(Bug::LostIsFatal) && matches!(error, Error::Port(port::Error::Lost(_))));
        Self { text: format!("{what}: {error}"), heals }
    }

    /// A failure that a person has to look at.
    pub(crate) fn fatal(text: impl Into<String>) -> Self {
        Self { text: text.into(), heals: false }
    }
}

/// Once set, workers stop stepping. Nothing in flight is skipped: it stays in the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failure(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    cause: OnceLock<Cause>,
    happened: Notify,
}

impl Failure {
    /// Reports a failure; only the first is kept.
    pub(crate) fn report(&self, cause: Cause) {
        // Whoever waits looks at the cause; a second one changes nothing.
        let _ = self.0.cause.set(cause);
        self.0.happened.notify_waiters();
    }

    pub(crate) fn cause(&self) -> Option<&Cause> {
        self.0.cause.get()
    }

    pub(crate) fn happened(&self) -> bool {
        self.cause().is_some()
    }

    /// Waits for a failure.
    pub(crate) async fn wait(&self) -> &Cause {
        loop {
            let notified = self.0.happened.notified();
            if let Some(cause) = self.cause() {
                return cause;
            }
            notified.await;
        }
    }

    /// Reports a panic of the thread that drops the guard.
    pub(crate) fn on_panic(&self, what: &'static str) -> PanicGuard {
        PanicGuard { failure: self.clone(), what }
    }
}

/// Reports the panic of the thread that drops it.
pub(crate) struct PanicGuard {
    failure: Failure,
    what: &'static str,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.failure.report(Cause::fatal(format!("{} panicked; the panic is in the log above", self.what)));
        }
    }
}
