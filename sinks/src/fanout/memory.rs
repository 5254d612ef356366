//! The fan-out in process.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use orderly_domain::port::Result;
use orderly_domain::port::fanout::Event;
use orderly_domain::port::store::Committed;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

/// The fan-out in process. Its streams end when it is dropped.
pub struct Fanout {
    sender: broadcast::Sender<Arc<[Committed]>>,
}

impl Fanout {
    /// The most batches that can be kept for slow subscribers.
    pub const CAPACITY_BATCHES_MAX: usize = 1 << 20;

    /// A fan-out that keeps about as many batches for its slowest subscriber: at least 1, at most
    /// [`Self::CAPACITY_BATCHES_MAX`], rounded up to a power of two.
    #[must_use]
    pub fn new(capacity_batches: usize) -> Self {
        Self { sender: broadcast::Sender::new(capacity_batches.clamp(1, Self::CAPACITY_BATCHES_MAX)) }
    }
}

#[async_trait]
impl orderly_domain::port::Fanout for Fanout {
    async fn publish(&self, committed: Arc<[Committed]>) -> Result<()> {
        // It fails only when nobody listens, and then there is nobody to tell.
        let _ = self.sender.send(committed);
        Ok(())
    }

    fn subscribe(&self) -> BoxStream<'static, Event> {
        let batches = BroadcastStream::new(self.sender.subscribe());
        batches.map(|batch| batch.map_or(Event::Gap, Event::Committed)).boxed()
    }
}
