//! Read connections: a bounded number of them, used on blocking threads so that no async worker waits for a disk.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use orderly_domain::port;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{Failure, open_for_reading};

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

    /// Reads on a blocking thread; waits for a connection that is free.
    pub(crate) async fn read<T, F>(&self, read: F) -> port::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, Failure> + Send + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed");
        let (file, idle) = (self.file.clone(), Arc::clone(&self.idle));
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let waiting = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = waiting.map_or_else(|| open_for_reading(&file), Ok)?;
            let answer = read(&mut connection);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            answer.map_err(port::Error::from)
        });
        task.await.unwrap_or_else(|error| Err(port::Error::DidNotHappen(format!("the read was ended: {error}"))))
    }
}
