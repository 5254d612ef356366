//! The handle on analytics: appends go to the writer's thread, reports to connections of their own.

use std::path::Path;

use async_trait::async_trait;
use orderly_domain::port::analytics::{Held, Report, ReportInfo, Row};
use orderly_domain::port::{self, Result};
use orderly_domain::{Offset, Partition, Timestamp};
use prometheus::Registry;
use rustc_hash::FxHashMap;

use super::append::{self, Appends};
use super::batch::Batch;
use super::metrics::Metrics;
use super::{FILE, MIGRATIONS, Options, reports};
use crate::analytics::reports::INFOS;
use crate::sqlite::{self, Checkpointer, Durability, Readers, Writer};

/// Analytics in one SQLite file.
#[derive(Debug)]
pub struct Analytics {
    /// `None` when it was opened for reading only.
    writer: Option<Writer<Appends>>,
    readers: Readers,
    _checkpointer: Option<Checkpointer>,
    metrics: Metrics,
}

impl Analytics {
    /// Opens analytics in a data folder, creates or migrates their file, and starts their writer. Metrics are registered
    /// on `registry`.
    ///
    /// # Errors
    /// When the file cannot be written, or is of a newer version than this program.
    pub fn open(folder: &Path, options: Options, registry: &Registry) -> Result<Self> {
        let file = folder.join(FILE);
        let mut connection = sqlite::open_for_writing(
            &file,
            Durability::Checkpoints,
            sqlite::PAGE_BYTES,
            options.cache_bytes,
            options.size_max_bytes,
        )?;
        sqlite::migrate(&mut connection, MIGRATIONS)?;
        let metrics = Metrics::register(registry)?;
        let appends = Appends { connection, metrics: metrics.clone(), skipped: FxHashMap::default() };
        let writer = Writer::start("analytics-writer", appends, options.queue_max, metrics.queue_calls.clone())?;
        let checkpointer = Some(Checkpointer::start(&file, Durability::Checkpoints)?);
        let readers = Readers::new(&file, options.readers);
        Ok(Self { writer: Some(writer), readers, _checkpointer: checkpointer, metrics })
    }

    /// Opens analytics in a data folder for reading, also while a server writes them. Appends are refused.
    ///
    /// # Errors
    /// When there is no such file, or its schema is of another version.
    pub fn open_read_only(folder: &Path) -> Result<Self> {
        let file = folder.join(FILE);
        sqlite::check_version(&sqlite::open_for_reading(&file)?, MIGRATIONS)?;
        let metrics = Metrics::register(&Registry::new())?;
        let readers = Readers::new(&file, Options::default().readers);
        Ok(Self { writer: None, readers, _checkpointer: None, metrics })
    }

    fn writer(&self) -> Result<&Writer<Appends>> {
        let refused = || port::Error::DidNotHappen("analytics were opened for reading only".into());
        self.writer.as_ref().ok_or_else(refused)
    }
}

#[async_trait]
impl port::Feed for Analytics {
    fn name(&self) -> &'static str {
        "analytics"
    }

    async fn next_offsets(&self) -> Result<Vec<(Partition, Offset)>> {
        self.readers.read(|connection| Ok(append::next_offsets(connection)?)).await
    }

    async fn append(&self, rows: &[Row]) -> Result<()> {
        let batch = Batch::new(rows);
        self.writer()?.call(move |appends| appends.append(&batch)).await
    }

    async fn skip_to(&self, partition: Partition, offset: Offset) -> Result<()> {
        let skip = move |appends: &mut Appends| {
            let skipped = appends.skipped.entry(partition).or_default();
            *skipped = offset.max(*skipped);
            Ok(())
        };
        self.writer()?.call(skip).await
    }
}

#[async_trait]
impl port::Analytics for Analytics {
    async fn count(&self) -> Result<u64> {
        let count = |row: &rusqlite::Row<'_>| Ok(row.get::<_, i64>(0)?.cast_unsigned());
        self.readers
            .read(move |connection| Ok(connection.query_row("SELECT COUNT(*) FROM decisions", [], count)?))
            .await
    }

    async fn held(&self) -> Result<Vec<Held>> {
        self.readers.read(|connection| Ok(append::held(connection)?)).await
    }

    fn reports(&self) -> &'static [ReportInfo] {
        INFOS
    }

    async fn report(&self, name: &str, from: Timestamp, to: Timestamp) -> Result<Option<Report>> {
        let Some(sql) = reports::sql(name) else { return Ok(None) };
        let _timer = self.metrics.report_seconds.start_timer();
        let (info, sql) = sql;
        self.readers.read(move |connection| Ok(Some(reports::run(connection, info, sql, from, to)?))).await
    }
}
