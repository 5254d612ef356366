//! Read connections: a bounded number of them, used on blocking threads so that no async worker waits for a disk.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use orderly_domain::port;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{Failure, open_for_reading};

/// After so many steps of SQLite's machine a read looks whether somebody still waits for it: some hundred microseconds.
const STEPS: std::ffi::c_int = 10_000;

/// The read connections of one file. They see what was committed when their read began and hold no writer up.
#[derive(Debug)]
pub(crate) struct Readers {
    file: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    /// At most `connections` of them, at least one; each is opened when it is needed first.
    pub(crate) fn new(file: &Path, connections: usize) -> Self {
        Self { file: file.to_owned(), idle: Arc::default(), permits: Arc::new(Semaphore::new(connections.max(1))) }
    }

    /// Reads on a blocking thread; waits for a connection that is free. A read that nobody waits for any more is ended, so
    /// that long ones do not keep others out.
    pub(crate) async fn read<T, F>(&self, read: F) -> port::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, Failure> + Send + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed");
        let (file, idle) = (self.file.clone(), Arc::clone(&self.idle));
        let unwanted = Arc::new(AtomicBool::new(false));
        let _wanted = Wanted(Arc::clone(&unwanted));
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let waiting = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = waiting.map_or_else(|| open_for_reading(&file), Ok)?;
            let look = move || unwanted.load(Ordering::Relaxed);
            let answer = connection
                .progress_handler(STEPS, Some(look))
                .map_err(Failure::from)
                .and_then(|()| read(&mut connection));
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            answer.map_err(port::Error::from)
        });
        task.await.unwrap_or_else(|error| Err(port::Error::DidNotHappen(format!("the read was ended: {error}"))))
    }
}

/// Held by who waits for a read. Dropping it ends the read.
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n";

    #[tokio::test]
    async fn a_read_that_nobody_waits_for_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.sqlite");
        Connection::open(&file).unwrap().execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (7)").unwrap();
        let readers = Readers::new(&file, 1);
        let one =
            |sql: &'static str| readers.read(move |connection| Ok(connection.query_row(sql, [], |row| row.get(0))?));
        let (begun, begins) = tokio::sync::oneshot::channel();
        let endless = readers.read(move |connection| {
            begun.send(()).ok();
            Ok(connection.query_row(ENDLESS, [], |row| row.get::<_, i64>(0))?)
        });
        tokio::select! {
            answer = endless => panic!("it has no end, and answered {answer:?}"),
            begun = begins => begun.unwrap(),
        }
        // The first has left its connection, which serves on.
        for _ in 0..3 {
            let read: i64 = one("SELECT x FROM t").await.unwrap();
            assert_eq!(read, 7);
        }
    }
}
