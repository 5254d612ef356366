//! How the trail is opened.

use orderly_domain::audit::Algorithm;

/// What can be set. Every bound is a maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How hashes are made from now on.
    pub algorithm: Algorithm,
    /// Reads at once, each with a connection of its own.
    pub readers: usize,
    /// Calls that wait for the writer; whoever comes then waits for a place.
    pub queue_max: usize,
    /// The writer's page cache, in bytes.
    pub cache_bytes: usize,
    /// The largest size of the file, in bytes; `None` for as large as the disk. At the limit, appends are answered
    /// `StorageFull`.
    pub size_max_bytes: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { algorithm: Algorithm::Sm3, readers: 2, queue_max: 16, cache_bytes: 2 << 20, size_max_bytes: None }
    }
}
