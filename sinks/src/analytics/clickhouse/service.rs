//! The handle on analytics.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use orderly_domain::port::analytics::{Held, Report, ReportInfo, Row};
use orderly_domain::port::{self, Result};
use orderly_domain::{Offset, Partition, Timestamp};
use prometheus::Registry;
use rustc_hash::FxHashMap;
use tokio::sync::OnceCell;

use super::metrics::Metrics;
use super::server::Server;
use super::{Options, append, reports, schema};
use crate::analytics::reports::INFOS;

/// Analytics in a ClickHouse database.
#[derive(Debug)]
pub struct Analytics {
    options: Options,
    /// Connected to when it is needed first.
    server: OnceCell<Server>,
    metrics: Metrics,
    /// What is known to have arrived: each partition's first offset that has not. One entry a partition; one that is too
    /// low only makes rows arrive twice.
    arrived: Mutex<FxHashMap<Partition, Offset>>,
}

impl Analytics {
    /// Opens analytics: makes the database and its tables where they are not there, and brings them to this program's
    /// version. Metrics are registered on `registry`.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses, or when the tables are of a newer version than this program.
    pub async fn open(options: Options, registry: &Registry) -> Result<Self> {
        let analytics = Self::new(options, registry)?;
        analytics.server().await?;
        Ok(analytics)
    }

    /// The same, but opened when they are needed first: the server may be away now.
    ///
    /// # Errors
    /// When a metric's name is taken.
    pub fn new(options: Options, registry: &Registry) -> Result<Self> {
        let metrics = Metrics::register(registry)?;
        Ok(Self { options, server: OnceCell::new(), metrics, arrived: Mutex::default() })
    }

    async fn server(&self) -> Result<&Server> {
        let connect = || async {
            let server = Server::connect(self.options.clone()).await?;
            schema::migrate(&server).await?;
            Ok(server)
        };
        self.server.get_or_try_init(connect).await
    }

    fn arrived(&self) -> MutexGuard<'_, FxHashMap<Partition, Offset>> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first offset of a partition that has not arrived.
    async fn next_offset(&self, partition: Partition) -> Result<Offset> {
        let known = self.arrived().get(&partition).copied();
        if let Some(next) = known {
            return Ok(next);
        }
        let sql =
            format!("SELECT if(count() = 0, 0, max(log_offset) + 1) FROM decisions WHERE partition = {partition}");
        let next = self.server().await?.one(&sql).await?;
        self.arrived().insert(partition, next);
        Ok(next)
    }

    /// Inserts rows batch by batch. A failure leaves open how far it came, so the partition is asked again next time.
    async fn insert(&self, partition: Partition, rows: &[Row]) -> Result<()> {
        let mut some = false;
        for batch in append::batches(rows, self.options.batch_rows_max) {
            if let Err(error) = append::insert(self.server().await?, batch).await {
                self.arrived().remove(&partition);
                return Err(match error {
                    port::Error::DidNotHappen(text) if some => port::Error::MayHaveHappened(text),
                    error => error,
                });
            }
            some = true;
            let next = batch.last().map_or(0, |row| row.position.offset + 1);
            let mut arrived = self.arrived();
            let known = arrived.entry(partition).or_default();
            *known = next.max(*known);
        }
        Ok(())
    }
}

#[async_trait]
impl port::Feed for Analytics {
    fn name(&self) -> &'static str {
        "analytics"
    }

    async fn next_offsets(&self) -> Result<Vec<(Partition, Offset)>> {
        let sql = "SELECT partition, max(log_offset) + 1 FROM decisions GROUP BY partition ORDER BY partition";
        let found: Vec<(Partition, Offset)> = self.server().await?.all(sql).await?;
        *self.arrived() = found.iter().copied().collect();
        Ok(found)
    }

    async fn append(&self, rows: &[Row]) -> Result<()> {
        let Some(first) = rows.first().map(|row| row.position) else { return Ok(()) };
        append::check(rows)?;
        let timer = self.metrics.append_seconds.start_timer();
        let due = self.next_offset(first.partition).await?;
        if first.offset > due {
            return Err(port::Error::Conflict { expected: first.offset, found: due });
        }
        let here = usize::try_from(due - first.offset).unwrap_or(usize::MAX).min(rows.len());
        self.insert(first.partition, &rows[here..]).await?;
        self.metrics.appended_rows.inc_by(rows.len() as u64);
        timer.observe_duration();
        Ok(())
    }

    async fn skip_to(&self, partition: Partition, offset: Offset) -> Result<()> {
        let due = self.next_offset(partition).await?;
        self.arrived().insert(partition, due.max(offset));
        Ok(())
    }
}

#[async_trait]
impl port::Analytics for Analytics {
    async fn count(&self) -> Result<u64> {
        self.server().await?.one_within(self.options.report_timeout, "SELECT count() FROM decisions FINAL").await
    }

    async fn held(&self) -> Result<Vec<Held>> {
        let sql = "SELECT partition, min(log_offset), max(log_offset) + 1, count() FROM decisions FINAL \
                   GROUP BY partition ORDER BY partition";
        let limit = self.options.report_timeout;
        let found: Vec<(Partition, Offset, Offset, u64)> = self.server().await?.all_within(limit, sql).await?;
        let held = |(partition, first, next, rows)| Held { partition, first, next, rows };
        Ok(found.into_iter().map(held).collect())
    }

    fn reports(&self) -> &'static [ReportInfo] {
        INFOS
    }

    async fn report(&self, name: &str, from: Timestamp, to: Timestamp) -> Result<Option<Report>> {
        let _timer = self.metrics.report_seconds.start_timer();
        reports::run(self.server().await?, name, from, to).await
    }
}
