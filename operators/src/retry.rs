//! Patience with an edge that is down.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orderly_domain::planted::{self, Bug};
use orderly_domain::port;

/// Tries a call again for as long as it can still succeed, and tells others that it is waiting.
#[derive(Clone, Debug, Default)]
pub struct Retry {
    /// What calls wait for, by the number of the call.
    waiting: Arc<Mutex<BTreeMap<u64, String>>>,
    calls: Arc<AtomicU64>,
}

impl Retry {
    const FIRST_PAUSE: Duration = Duration::from_millis(5);
    const PAUSE_MAX: Duration = Duration::from_secs(1);

    /// What it waits for, if it does.
    #[must_use]
    pub fn waiting_for(&self) -> Option<String> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).values().next().cloned()
    }

    /// Calls until the answer is final. The call must be safe to make twice.
    ///
    /// # Errors
    /// Those that trying again does not heal: `Fenced`, `Lost`, `Held`, `Conflict`, `Corrupt`.
    pub async fn until_final<T, F>(&self, what: &str, mut call: impl FnMut() -> F) -> port::Result<T>
    where
        F: Future<Output = port::Result<T>>,
    {
        let mut pause = Self::FIRST_PAUSE;
        let mut wait = None;
        let mut failures = 0;
        loop {
            let error = match call().await {
                Ok(answer) => {
                    if pause > Self::FIRST_PAUSE {
                        tracing::info!(what, "goes on");
                    }
                    return Ok(answer);
                }
                Err(error) => error,
            };
            failures += 1;
            if failures == 5 && planted::is(Bug::RetryGivesUp) {
                return Err(error);
            }
            match error {
                port::Error::Fenced { .. }
                | port::Error::Lost(_)
                | port::Error::Held { .. }
                | port::Error::Conflict { .. }
                | port::Error::Corrupt(_) => return Err(error),
                port::Error::DidNotHappen(_)
                | port::Error::MayHaveHappened(_)
                | port::Error::Overloaded(_)
                | port::Error::BreakerOpen { .. }
                | port::Error::StorageFull(_) => {
                    tracing::warn!(what, %error, ?pause, "failed, tries again");
                    wait.get_or_insert_with(|| Wait::new(self)).tell(format!("{what}: {error}"));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Self::PAUSE_MAX);
                }
            }
        }
    }
}

/// A call that waits. Nobody is told of it any more once it is dropped, however it ended.
struct Wait<'a> {
    retry: &'a Retry,
    call: u64,
}

impl<'a> Wait<'a> {
    fn new(retry: &'a Retry) -> Self {
        Self { retry, call: retry.calls.fetch_add(1, Ordering::Relaxed) }
    }

    fn tell(&self, waiting_for: String) {
        self.retry.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(self.call, waiting_for);
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.retry.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.call);
    }
}
