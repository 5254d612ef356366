//! The source: brings what the reader cut into epochs onto a worker.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, OnceLock};

use orderly_operators::Entry;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, StreamVec};

use super::Epoch;
use super::alarm::Alarm;
use crate::sync::Notify;

/// One worker's share of an epoch; it may be empty.
struct Chunk {
    epoch: Epoch,
    entries: Vec<Entry>,
}

/// The reader's end of a worker's source. Dropping it ends the worker's input.
pub(crate) struct Feeder {
    chunks: Option<SyncSender<Chunk>>,
    alarm: Arc<OnceLock<Alarm>>,
}

/// The worker's end.
pub(crate) struct Feed {
    chunks: Receiver<Chunk>,
    alarm: Arc<OnceLock<Alarm>>,
}

/// Connects the reader with a worker. There is room for `epochs_max` epochs, as many as may be in flight.
pub(crate) fn feed(epochs_max: usize) -> (Feeder, Feed) {
    let (sender, receiver) = sync_channel(epochs_max);
    let alarm = Arc::new(OnceLock::new());
    (Feeder { chunks: Some(sender), alarm: Arc::clone(&alarm) }, Feed { chunks: receiver, alarm })
}

impl Feeder {
    /// Hands the worker its share of an epoch; every worker must be given every epoch, in order. Does nothing once the
    /// worker is gone.
    pub(crate) fn give(&self, epoch: Epoch, entries: Vec<Entry>) {
        if let Some(chunks) = &self.chunks {
            // There is room, because what is in flight is bounded before it comes here.
            let _ = chunks.send(Chunk { epoch, entries });
        }
        self.wake();
    }

    fn wake(&self) {
        if let Some(alarm) = self.alarm.get() {
            alarm.ring();
        }
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.chunks = None;
        self.wake();
    }
}

/// The stream of a worker's entries. It holds a capability for the next epoch and lets go when the feeder is dropped.
pub(crate) fn source(scope: Scope<'_, Epoch>, feed: Feed, stepper: Option<Arc<Notify>>) -> StreamVec<'_, Epoch, Entry> {
    let mut builder = OperatorBuilder::new("source".to_owned(), scope);
    let address = builder.operator_info().address.to_vec();
    let activator = scope.worker().sync_activator_for(address);
    // The feeder is given only this one.
    let _ = feed.alarm.set(Alarm { activator, stepper });
    let (output, stream) = builder.new_output::<Vec<Entry>>();
    let mut output = OutputBuilder::<Epoch, CapacityContainerBuilder<Vec<Entry>>>::from(output);
    builder.build(move |mut capabilities| {
        let mut capability = capabilities.pop();
        move |_frontiers| {
            let Some(held) = capability.as_mut() else { return };
            let mut output = output.activate();
            loop {
                match feed.chunks.try_recv() {
                    Ok(Chunk { epoch, mut entries }) => {
                        held.downgrade(&epoch);
                        output.session(&*held).give_container(&mut entries);
                        held.downgrade(&(epoch + 1));
                    }
                    Err(TryRecvError::Empty) => return,
                    Err(TryRecvError::Disconnected) => break,
                }
            }
            capability = None;
        }
    });
    stream
}
