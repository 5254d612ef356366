//! How far each partition's outcomes were published.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use orderly_domain::{Fence, Offset, Partition};

/// Shared by publish, which moves the marks, and commit, which writes them down with the next transaction: a mark costs no
/// transaction of its own, and after a crash at worst the last commits are published twice.
#[derive(Clone, Debug, Default)]
pub struct PublishedMarks(Arc<Mutex<HashMap<Partition, (Fence, Offset)>>>);

impl PublishedMarks {
    /// Sets where a takeover starts.
    pub fn start(&self, partition: Partition, fence: Fence, published: Offset) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, (fence, published));
    }

    /// Forgets a partition that is somebody else's from now on.
    pub fn forget(&self, partition: Partition) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&partition);
    }

    /// Moves a partition's mark forward to the first offset that was not published.
    pub fn advance(&self, partition: Partition, published: Offset) {
        if let Some((_, mark)) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&partition) {
            *mark = published.max(*mark);
        }
    }

    /// A partition's mark.
    #[must_use]
    pub fn get(&self, partition: Partition) -> Offset {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&partition).map_or(0, |(_, mark)| *mark)
    }

    /// All marks.
    #[must_use]
    pub fn all(&self) -> Vec<(Partition, Fence, Offset)> {
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.iter().map(|(partition, (fence, mark))| (*partition, *fence, *mark)).collect()
    }
}
