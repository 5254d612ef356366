//! The one task that writes entries: all that wait, a group at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use orderly_domain::audit::Entry;
use orderly_domain::port;
use tokio::sync::{mpsc, oneshot};

use super::Metrics;
use super::trail::Slot;

/// Entries of one append, at most.
const GROUP_MAX: usize = 1_024;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// An entry that is to be written, and whoever waits for it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) entry: Entry,
    pub(super) tell: oneshot::Sender<()>,
    pub(super) slot: Slot,
}

/// Writes what comes.
pub(crate) struct Writer {
    pub(super) audit: Arc<dyn port::Audit>,
    pub(super) waiting: mpsc::Receiver<Waiting>,
    pub(super) up: Arc<AtomicBool>,
    pub(super) metrics: Metrics,
}

impl Writer {
    /// Writes until the trail is dropped.
    pub(crate) async fn run(mut self) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        while self.waiting.recv_many(&mut group, GROUP_MAX).await > 0 {
            let entries: Vec<Entry> = group.iter().map(|waiting| waiting.entry.clone()).collect();
            self.append(&entries).await;
            self.metrics.entries.inc_by(entries.len() as u64);
            let tell = |Waiting { tell, slot, .. }: Waiting| {
                // Whoever asked may have gone.
                let _ = tell.send(());
                slot
            };
            let slots: Vec<Slot> = group.drain(..).map(tell).collect();
            // Only now: whoever gave up before they were told has called it down.
            if !self.up.swap(true, Ordering::SeqCst) {
                self.metrics.up.set(1);
                tracing::info!("the audit trail is written again");
            }
            drop(slots);
        }
    }

    /// Appends a group, however long it takes.
    async fn append(&self, entries: &[Entry]) {
        let mut pause = FIRST_PAUSE;
        loop {
            let timer = self.metrics.append.start_timer();
            match self.audit.append(entries).await {
                Ok(_) => {
                    timer.observe_duration();
                    return;
                }
                Err(error) => {
                    timer.stop_and_discard();
                    self.metrics.failed.inc();
                    if self.up.swap(false, Ordering::SeqCst) {
                        self.metrics.up.set(0);
                        tracing::error!(%error, "the audit trail cannot be written: calls of ops are refused until it can");
                    } else {
                        tracing::debug!(%error, "the audit trail still cannot be written");
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}
