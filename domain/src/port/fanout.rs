//! Fan-out: tells every ingress node what was committed.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;

use super::Result;
use super::store::Committed;

/// What a subscriber hears.
#[derive(Clone, Debug)]
pub enum Event {
    /// Decisions that were committed together, in commit order. One may come twice; its position tells.
    Committed(Arc<[Committed]>),
    /// Something was missed: catch up from the store.
    Gap,
}

/// Carries committed decisions to all who wait for them.
#[async_trait]
pub trait Fanout: Send + Sync + 'static {
    /// Publishes decisions that are committed.
    ///
    /// # Errors
    /// When it could not be published; it is tried again.
    async fn publish(&self, committed: Arc<[Committed]>) -> Result<()>;

    /// Everything that is published from now on. A slow subscriber hears [`Event::Gap`] in place of what it missed; it
    /// never slows the publisher. The stream ends when the fan-out is shut.
    fn subscribe(&self) -> BoxStream<'static, Event>;
}
