//! Wakes a worker when there is something for one of its operators.

use std::sync::Arc;

use timely::scheduling::SyncActivator;

use crate::sync::Notify;

/// Wakes one operator, and whoever steps its worker.
#[derive(Clone)]
pub(crate) struct Alarm {
    pub(crate) activator: SyncActivator,
    /// Set when the worker has no thread of its own, so that unparking one wakes nobody.
    pub(crate) stepper: Option<Arc<Notify>>,
}

impl Alarm {
    pub(crate) fn ring(&self) {
        // The worker may be gone: then nobody waits for it.
        let _ = self.activator.activate();
        if let Some(stepper) = &self.stepper {
            stepper.notify_one();
        }
    }
}
