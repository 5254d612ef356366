//! What an operator may choose.

/// How the log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many partitions a new log gets; an existing log must have as many. 1 to 1024.
    pub partitions: u16,
    /// How many appends may wait for the writer; further ones are refused as `Overloaded`.
    pub queue_records_max: usize,
    /// How many records one transaction, and so one fsync, takes at most.
    pub group_records_max: usize,
    /// The longest payload that is taken, in bytes.
    pub payload_bytes_max: usize,
    /// The largest size of the database file in bytes, beyond which appends are refused as `StorageFull`; `None` leaves
    /// it to the device. The write-ahead log beside it comes on top: up to 64 MiB between rushes.
    pub size_max_bytes: Option<u64>,
}

impl Options {
    /// The most partitions a log can have.
    pub const PARTITIONS_MAX: u16 = 1024;

    /// Says what is out of range, if something is.
    pub(super) fn validate(&self) -> Result<(), String> {
        if !(1..=Self::PARTITIONS_MAX).contains(&self.partitions) {
            return Err(format!("the log's partitions must be 1 to {}, not {}", Self::PARTITIONS_MAX, self.partitions));
        }
        for (name, value) in [
            ("queue_records_max", self.queue_records_max),
            ("group_records_max", self.group_records_max),
            ("payload_bytes_max", self.payload_bytes_max),
        ] {
            if !(1..=Self::LIMIT_MAX).contains(&value) {
                return Err(format!("the log's {name} must be 1 to {}, not {value}", Self::LIMIT_MAX));
            }
        }
        Ok(())
    }

    /// The largest value of the limits above: what memory can be asked to hold.
    const LIMIT_MAX: usize = 16 * 1024 * 1024;
}

impl Default for Options {
    fn default() -> Self {
        Self {
            partitions: 8,
            queue_records_max: 16_384,
            group_records_max: 2_048,
            payload_bytes_max: 64 * 1024,
            size_max_bytes: None,
        }
    }
}
