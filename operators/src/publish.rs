//! Publish: tells those who wait, after the commit and never before.

use std::sync::Arc;

use async_trait::async_trait;
use orderly_domain::Position;
use orderly_domain::port::Fanout;
use orderly_domain::port::store::Committed;

use crate::marks::PublishedMarks;
use crate::operator::{AsyncOperator, Error};
use crate::retry::Retry;

/// The operator; what comes out is what was published.
pub struct Publish {
    fanout: Arc<dyn Fanout>,
    marks: PublishedMarks,
    retry: Retry,
}

impl Publish {
    /// Publishes to `fanout` and moves `marks`.
    #[must_use]
    pub fn new(fanout: Arc<dyn Fanout>, marks: PublishedMarks, retry: Retry) -> Self {
        Self { fanout, marks, retry }
    }
}

#[async_trait]
impl AsyncOperator for Publish {
    type In = Committed;
    type Out = Position;

    fn name(&self) -> &'static str {
        "publish"
    }

    async fn process_batch(&self, batch: Vec<Committed>) -> Result<Vec<Position>, Error> {
        let positions: Vec<_> = batch.iter().map(|committed| committed.position).collect();
        let batch: Arc<[Committed]> = batch.into();
        self.retry.until_final("fan-out", || self.fanout.publish(Arc::clone(&batch))).await?;
        for position in &positions {
            self.marks.advance(position.partition, position.offset + 1);
        }
        Ok(positions)
    }
}
