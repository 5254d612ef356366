//! Where a record lies in the log.

use serde::{Deserialize, Serialize};

use crate::id::DoctorId;

/// A partition of the intent log.
pub type Partition = u16;

/// A place in a partition: 0, 1, 2, … without gaps.
pub type Offset = u64;

/// The number of a partition's takeover. A commit that carries an older one is refused.
pub type Fence = u64;

/// A record's place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The partition.
    pub partition: Partition,
    /// The offset in it.
    pub offset: Offset,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.partition, self.offset)
    }
}

/// The partition of a doctor's records: Kafka's own default, `(murmur2(key) & 0x7fffffff) % partitions`, so that any
/// Kafka producer that keys by doctor writes where Orderly does.
///
/// # Panics
/// When `partitions` is zero.
#[must_use]
pub fn partition_of(doctor: &DoctorId, partitions: u16) -> Partition {
    assert!(partitions > 0, "a log has at least one partition");
    let hash = murmur2::murmur2(doctor.as_str().as_bytes(), murmur2::KAFKA_SEED) & 0x7fff_ffff;
    u16::try_from(hash % u32::from(partitions)).expect("a remainder of a u16 fits in it")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of Kafka's `Utils.murmur2`, from Kafka's own unit test.
    #[test]
    fn partitions_as_kafka_does() {
        for (key, hash) in
            [("21", -973_932_308_i32), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536)]
        {
            let expected = u16::try_from((hash & 0x7fff_ffff) % 12).expect("small");
            assert_eq!(partition_of(&key.parse().expect("valid"), 12), expected, "{key}");
        }
    }
}
