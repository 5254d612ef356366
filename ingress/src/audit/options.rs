//! What can be set about the trail.

use std::time::Duration;

/// Settings of the trail. Every bound is a maximum.
#[derive(Clone, Debug)]
pub struct Options {
    /// This process's name in its entries, which no other process has at the same time.
    pub node: String,
    /// Entries that wait to be written. Beyond it calls of ops are refused, and cancellations are told by their number.
    pub queue_entries_max: usize,
    /// Refused calls that are listed one by one, a minute; others are told by their number, once a minute.
    pub refusals_per_minute: u32,
    /// How long an answer waits for its entry.
    pub write_timeout: Duration,
    /// How long entries are kept; `None` for ever. Not less than [`orderly_domain::audit::RETENTION_MIN`].
    pub retention: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node: String::new(),
            queue_entries_max: 4_096,
            refusals_per_minute: 30,
            write_timeout: Duration::from_secs(5),
            retention: Some(Duration::from_secs(365 * 24 * 60 * 60)),
        }
    }
}
