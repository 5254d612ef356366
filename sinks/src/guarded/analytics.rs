//! A breaker before analytics.

use std::sync::Arc;

use async_trait::async_trait;
use orderly_domain::breaker::{Breaker, Caller};
use orderly_domain::port::analytics::{Held, Report, ReportInfo, Row};
use orderly_domain::port::{self, Feed, Result};
use orderly_domain::{Offset, Partition, Timestamp};

pub(super) struct Analytics {
    analytics: Arc<dyn port::Analytics>,
    breaker: Arc<Breaker>,
}

impl Analytics {
    pub(super) fn new(analytics: Arc<dyn port::Analytics>, breaker: Arc<Breaker>) -> Self {
        Self { analytics, breaker }
    }
}

#[async_trait]
impl Feed for Analytics {
    fn name(&self) -> &'static str {
        self.analytics.name()
    }

    async fn next_offsets(&self) -> Result<Vec<(Partition, Offset)>> {
        self.breaker.guard(Caller::Worker, self.analytics.next_offsets()).await
    }

    async fn append(&self, rows: &[Row]) -> Result<()> {
        self.breaker.guard(Caller::Worker, self.analytics.append(rows)).await
    }

    async fn skip_to(&self, partition: Partition, offset: Offset) -> Result<()> {
        self.analytics.skip_to(partition, offset).await
    }
}

#[async_trait]
impl port::Analytics for Analytics {
    async fn count(&self) -> Result<u64> {
        self.analytics.count().await
    }

    async fn held(&self) -> Result<Vec<Held>> {
        self.analytics.held().await
    }

    fn reports(&self) -> &'static [ReportInfo] {
        self.analytics.reports()
    }

    async fn report(&self, name: &str, from: Timestamp, to: Timestamp) -> Result<Option<Report>> {
        self.breaker.guard(Caller::Crowd, self.analytics.report(name, from, to)).await
    }
}
