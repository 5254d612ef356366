//! The trail's handle: takes entries, and says whether calls may be made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use orderly_domain::audit::{Algorithm, Entry};
use orderly_domain::{Clock, Timestamp, port};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::refusals::Refusals;
use super::writer::{Waiting, Writer};
use super::{Call, Metrics, Options};
use crate::jitter;
use crate::problem::{Problem, kind};

/// After how long a caller may ask again when the trail cannot be written.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Of the places for entries, one in so many is kept free of all but calls that are not made without one, so that thousands of
/// cancellations that wait to be decided do not keep ops from steering.
const KEPT_FREE: usize = 4;

/// The route of the entry that tells the number of refused calls.
const REFUSALS: &str = "refused calls that are not listed";
/// The route of the entry that tells the number of calls that were let in and could not be listed.
const UNLISTED: &str = "calls that are not listed";

/// What is done with a call whose entry cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// It is not let in: ops, analysts and auditors can wait.
    Waits,
    /// It is let in, and told by its number: a look of ops at the pipeline or the policy changes nothing, shows nobody's
    /// data, and is what an outage needs.
    Looks,
    /// It is let in, and its entry waits: a patient's cancellation is in the log, with who asked and when, and must not be lost.
    Goes,
}

/// The trail.
pub(crate) struct Trail {
    audit: Arc<dyn port::Audit>,
    clock: Arc<dyn Clock>,
    options: Options,
    /// A place for every entry that may come of a call under way, or waits.
    slots: Arc<Semaphore>,
    queue: mpsc::Sender<Waiting>,
    number: AtomicU64,
    up: Arc<AtomicBool>,
    refusals: Refusals,
    unlisted: AtomicU64,
    metrics: Metrics,
}

/// The leave to make a call, with a place for its entry.
#[derive(Debug)]
pub(crate) struct Leave {
    urgency: Urgency,
    /// `None` for a call that is let in and not listed.
    slot: Option<Slot>,
}

/// A place among those that wait. Shown by a gauge.
#[derive(Debug)]
pub(crate) struct Slot {
    _permit: OwnedSemaphorePermit,
    gauge: prometheus::IntGauge,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

impl Trail {
    /// A trail, and the task that writes it.
    pub(crate) fn new(
        audit: Arc<dyn port::Audit>,
        clock: Arc<dyn Clock>,
        options: Options,
        metrics: Metrics,
    ) -> (Self, Writer) {
        let room = options.queue_entries_max.max(1);
        let (queue, waiting) = mpsc::channel(room);
        let up = Arc::new(AtomicBool::new(true));
        metrics.up.set(1);
        let writer = Writer { audit: Arc::clone(&audit), waiting, up: Arc::clone(&up), metrics: metrics.clone() };
        let trail = Self {
            audit,
            clock,
            slots: Arc::new(Semaphore::new(room)),
            queue,
            number: AtomicU64::new(1),
            up,
            refusals: Refusals::new(options.refusals_per_minute),
            unlisted: AtomicU64::new(0),
            options,
            metrics,
        };
        (trail, writer)
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.audit.algorithm()
    }

    /// Whether the trail can be written, as far as is known.
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::SeqCst)
    }

    /// How long entries are kept.
    pub(super) const fn retention(&self) -> Option<Duration> {
        self.options.retention
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn port(&self) -> &dyn port::Audit {
        self.audit.as_ref()
    }

    /// The leave to make a call, before anything is done about it.
    pub(crate) fn leave(&self, urgency: Urgency) -> Result<Leave, Problem> {
        let slot = self.slot(urgency);
        if urgency == Urgency::Waits && (slot.is_none() || !self.is_up()) {
            return Err(Problem::new(&kind::AUDIT_UNAVAILABLE)
                .detail("The audit trail cannot be written, and without it nothing is done. Nothing was; ask again.")
                .retry_after(jitter::spread(RETRY_AFTER)));
        }
        Ok(Leave { urgency, slot: slot.filter(|_| urgency != Urgency::Looks || self.is_up()) })
    }

    /// Writes the entry of a call that was made, and returns the answer that may go out: the call's own once its entry is
    /// durable.
    pub(crate) async fn record(&self, leave: Leave, call: Call, response: Response) -> Response {
        let Leave { urgency, slot } = leave;
        if urgency == Urgency::Goes && is_refusal_of_patient(&response) {
            drop(slot);
            return self.record_refusal(call, response).await;
        }
        let Some(slot) = slot else {
            self.unlisted.fetch_add(1, Ordering::SeqCst);
            self.metrics.summed.inc();
            return response;
        };
        let was_up = self.is_up();
        let written = self.enqueue(call.answered(&response), slot);
        // In an outage a patient is not kept waiting for it: the entry waits without them.
        if urgency == Urgency::Goes && !was_up {
            return response;
        }
        if self.is_written(written).await || urgency != Urgency::Waits {
            return response;
        }
        let status = response.status().as_u16();
        Problem::new(&kind::AUDIT_UNAVAILABLE)
            .detail(format!(
                "The call was carried out and came to the status {status}, but the audit trail could not be written in time. \
                 Its entry is kept, and written as soon as that can be. Look before you ask again."
            ))
            .member("carried_out", true)
            .retry_after(jitter::spread(RETRY_AFTER))
            .into_response()
    }

    /// Writes the entry of a call that was refused at the door, if it is one of those that are listed.
    pub(crate) async fn record_refusal(&self, call: Call, response: Response) -> Response {
        let slot = if self.is_up() && self.refusals.lists(self.clock.now()) { self.slot(Urgency::Goes) } else { None };
        match slot {
            Some(slot) => {
                let written = self.enqueue(call.answered(&response), slot);
                self.is_written(written).await;
            }
            None => {
                self.refusals.count();
                self.metrics.summed.inc();
            }
        }
        response
    }

    /// Writes down what the program did by itself; waits until it is durable, or for as long as an answer would.
    pub(super) async fn record_own(&self, route: &str, target: String, calls: u64) -> bool {
        let Some(slot) = self.slot(Urgency::Waits) else { return false };
        let written = self.enqueue(Entry::system(self.clock.now(), route, target, calls), slot);
        self.is_written(written).await
    }

    /// Tells the numbers of what was not listed, once a minute, until this is dropped.
    pub(crate) async fn sum_up(&self) {
        let mut minute = tokio::time::interval(Duration::from_secs(60));
        minute.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            minute.tick().await;
            if self.is_up() {
                self.sum_up_now().await;
            }
        }
    }

    pub(super) async fn sum_up_now(&self) {
        let numbers = [(REFUSALS, self.refusals.take()), (UNLISTED, self.unlisted.swap(0, Ordering::SeqCst))];
        for (route, calls) in numbers {
            if calls > 0 {
                // One that is late is written all the same: its entry waits in the queue.
                self.record_own(route, String::new(), calls).await;
            }
        }
    }

    /// Waits until every entry is written, for `patience` at most. Call it when no more calls come.
    pub(crate) async fn flush(&self, patience: Duration) {
        let flushed = async {
            if self.is_up() {
                self.sum_up_now().await;
            }
            let all = u32::try_from(self.options.queue_entries_max.max(1)).unwrap_or(u32::MAX);
            self.slots.acquire_many(all).await.map(drop)
        };
        if tokio::time::timeout(patience, flushed).await.is_err() {
            tracing::error!(entries = self.metrics.queue.get(), "audit entries were not written before the stop");
        }
    }

    fn slot(&self, urgency: Urgency) -> Option<Slot> {
        let kept_free = self.options.queue_entries_max / KEPT_FREE;
        if urgency != Urgency::Waits && self.slots.available_permits() <= kept_free {
            return None;
        }
        let permit = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        self.metrics.queue.inc();
        Some(Slot { _permit: permit, gauge: self.metrics.queue.clone() })
    }

    fn enqueue(&self, mut entry: Entry, slot: Slot) -> oneshot::Receiver<()> {
        entry.node.clone_from(&self.options.node);
        entry.number = self.number.fetch_add(1, Ordering::SeqCst);
        let (tell, written) = oneshot::channel();
        // There is room for as many as there are slots. When the writer is gone, nobody is told, which the caller sees.
        let _ = self.queue.try_send(Waiting { entry, tell, slot });
        written
    }

    async fn is_written(&self, mut written: oneshot::Receiver<()>) -> bool {
        if let Ok(told) = tokio::time::timeout(self.options.write_timeout, &mut written).await {
            return told.is_ok();
        }
        // A trail that is too slow is as one that is down, until the writer says otherwise.
        if self.up.swap(false, Ordering::SeqCst) {
            self.metrics.up.set(0);
            tracing::error!("the audit trail is not written in time: calls of ops are refused until it is");
        }
        // The writer calls it up after it has told, and nothing comes to it while ops are refused: whoever was told between
        // the end of their patience and here has to take their word back.
        written.close();
        let written = written.try_recv().is_ok();
        if written {
            self.up.store(true, Ordering::SeqCst);
            self.metrics.up.set(1);
        }
        written
    }
}

/// Whether a patient's call came to nothing, and could be repeated without end: no such ticket, or throttled.
fn is_refusal_of_patient(response: &Response) -> bool {
    matches!(response.status().as_u16(), 404 | 429)
}
