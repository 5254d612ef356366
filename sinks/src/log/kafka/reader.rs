//! The reader: hands out what its group's thread has read.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orderly_domain::port::log::{Delivery, Extent, LogReader};
use orderly_domain::port::{Error, Result};
use orderly_domain::{Offset, Partition};

use super::inbox::Inbox;
use crate::kafka::Watermarks;

/// How often Kafka is asked again where the log starts and ends.
const RETRY: Duration = Duration::from_millis(250);

/// A member of the group. Dropping it leaves the group, in the background.
pub(super) struct Reader {
    pub(super) inbox: Arc<Inbox>,
    pub(super) watermarks: Watermarks,
}

impl Reader {
    /// Asks until Kafka answers: a broker that is away comes back.
    async fn extents(&self) -> Result<Vec<Extent>> {
        loop {
            match self.watermarks.extents().await {
                Err(error) => {
                    tracing::warn!(%error, "the reader waits to be told where the intent log starts and ends");
                }
                told => return told,
            }
            if let Some(failure) = self.inbox.failure() {
                return Err(failure);
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

#[async_trait]
impl LogReader for Reader {
    async fn next(&mut self, records_max: usize) -> Result<Delivery> {
        self.inbox.next(records_max).await
    }

    async fn seek(&mut self, from: &[(Partition, Offset)]) -> Result<()> {
        let extents = self.extents().await?;
        let mut sought = Vec::with_capacity(from.len());
        for (partition, offset) in from {
            let Some(extent) = extents.get(usize::from(*partition)) else {
                return Err(Error::Corrupt(format!(
                    "partition {partition} was sought and the log has {}",
                    extents.len()
                )));
            };
            if !(extent.start..=extent.end).contains(offset) {
                return Err(Error::Corrupt(format!(
                    "partition {partition} holds offsets {} to before {} and {offset} was sought: the topic and what was \
                     decided from it do not belong together, or undecided records have aged out of it",
                    extent.start, extent.end
                )));
            }
            sought.push((*partition, *offset, extent.end));
        }
        self.inbox.seek(&sought);
        Ok(())
    }

    fn restart(&mut self) {
        self.inbox.restart();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.inbox.close();
    }
}
