//! A breaker before the intent log's appends.

use std::sync::Arc;

use async_trait::async_trait;
use orderly_domain::breaker::{Breaker, Caller};
use orderly_domain::port::log::{Appended, Extent};
use orderly_domain::port::{IntentLog, LogReader, Result};
use orderly_domain::{Offset, Partition, Position, Timestamp};

pub(super) struct Log {
    log: Arc<dyn IntentLog>,
    breaker: Arc<Breaker>,
}

impl Log {
    pub(super) fn new(log: Arc<dyn IntentLog>, breaker: Arc<Breaker>) -> Self {
        Self { log, breaker }
    }
}

#[async_trait]
impl IntentLog for Log {
    fn partitions(&self) -> u16 {
        self.log.partitions()
    }

    async fn append(&self, partition: Partition, key: &str, payload: Vec<u8>) -> Result<Appended> {
        self.breaker.guard(Caller::Crowd, self.log.append(partition, key, payload)).await
    }

    async fn extents(&self) -> Result<Vec<Extent>> {
        self.log.extents().await
    }

    async fn logged_at(&self, places: &[Position]) -> Result<Vec<Option<Timestamp>>> {
        self.log.logged_at(places).await
    }

    fn trouble(&self) -> Option<String> {
        self.log.trouble()
    }

    async fn reader(&self) -> Result<Box<dyn LogReader>> {
        self.log.reader().await
    }

    async fn scan(&self, from: &[(Partition, Offset)]) -> Result<Box<dyn LogReader>> {
        self.log.scan(from).await
    }

    async fn trim(&self, before: Timestamp, decided: &[(Partition, Offset)]) -> Result<u64> {
        self.log.trim(before, decided).await
    }
}
