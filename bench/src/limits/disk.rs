//! What the disk does: a write that is waited for, and appends to the log without anything before or behind it.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::sync::Arc;
use std::time::Instant;

use prometheus::Registry;

use super::decide::{CAPACITY, as_in_the_server, open};
use super::hospital::Hospital;
use crate::latency::{Latencies, Summary};

/// As much as a small transaction writes.
const WRITE_BYTES: usize = 16 * 1024;
const WRITES: u32 = 500;
/// The file is as long as that, and written over, as a write-ahead log is.
const FILE_BYTES: u64 = 4 * 1024 * 1024;
const APPENDS: u32 = 300_000;

/// How long a small write takes until it is on the disk.
pub(super) fn sync() -> anyhow::Result<Summary> {
    let mut file = tempfile::tempfile()?;
    file.set_len(FILE_BYTES)?;
    let written = vec![7; WRITE_BYTES];
    let mut latencies = Latencies::default();
    for number in 0..u64::from(WRITES) {
        file.seek(SeekFrom::Start(number * WRITE_BYTES as u64 % FILE_BYTES))?;
        file.write_all(&written)?;
        let start = Instant::now();
        file.sync_data()?;
        latencies.record(start.elapsed());
    }
    Ok(latencies.summary())
}

/// Appends a second to the log alone, so many at once.
pub(super) fn appends(at_once: usize) -> anyhow::Result<f64> {
    as_in_the_server(async move {
        let folder = tempfile::tempdir()?;
        let log = open(folder.path(), &Registry::new())?;
        let hospital = Hospital::new(CAPACITY)?;
        let start = Instant::now();
        let records = hospital.fill(&(Arc::clone(&log) as _), APPENDS, at_once).await?;
        let rate = records as f64 / start.elapsed().as_secs_f64();
        log.close().await;
        Ok(rate)
    })
}
