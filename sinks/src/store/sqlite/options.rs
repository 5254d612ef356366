//! How the store is opened.

/// What can be set. Every bound is a maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Reads at once, each with a connection of its own.
    pub readers: usize,
    /// Writes that wait for the writer; whoever comes then waits for a place.
    pub queue_max: usize,
    /// The writer's page cache, in bytes.
    pub cache_bytes: usize,
    /// Sessions that the writer keeps in memory, about 600 bytes each. With more, it starts to collect them anew.
    pub sessions_cached_max: usize,
    /// The largest size of the file, in bytes; `None` for as large as the disk. At the limit, commits are answered
    /// `StorageFull` and change nothing.
    pub size_max_bytes: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { readers: 4, queue_max: 64, cache_bytes: 16 << 20, sessions_cached_max: 50_000, size_max_bytes: None }
    }
}
