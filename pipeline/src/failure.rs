//! The first cause of a failure, seen by everyone.

use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

/// Once set, workers stop stepping and the process ends with the cause. Nothing in flight is skipped: it stays in the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failure(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    cause: OnceLock<String>,
    happened: Notify,
}

impl Failure {
    /// Reports a failure; only the first is kept.
    pub(crate) fn report(&self, cause: impl std::fmt::Display) {
        if self.0.cause.set(cause.to_string()).is_ok() {
            tracing::error!(%cause, "the pipeline stops");
        }
        self.0.happened.notify_waiters();
    }

    pub(crate) fn cause(&self) -> Option<&str> {
        self.0.cause.get().map(String::as_str)
    }

    pub(crate) fn happened(&self) -> bool {
        self.0.cause.get().is_some()
    }

    /// Waits for a failure.
    pub(crate) async fn wait(&self) {
        let notified = self.0.happened.notified();
        if !self.happened() {
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
            self.failure.report(format!("{} panicked; the panic is in the log above", self.what));
        }
    }
}
