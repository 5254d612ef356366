//! Records read ahead, a queue a partition, merged into one order.
//!
//! What lay in the log when its reader was told where to go on comes by `(logged_at, position)`: as long as a partition has
//! such a record to come, nothing later is handed out. After that, whatever is there is merged, and nobody waits for a
//! partition that is silent.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use orderly_domain::port::log::Record;
use orderly_domain::{Offset, Partition};

/// What a record takes beside its payload, about.
const RECORD_BYTES: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Merge {
    cursors: BTreeMap<Partition, Cursor>,
    records: usize,
}

#[derive(Debug)]
struct Cursor {
    /// The first offset that was not read.
    next: Offset,
    /// Where the partition ended when the reader was told to go on: up to here it is waited for.
    awaited_until: Offset,
    held: VecDeque<Record>,
    held_bytes: usize,
}

impl Merge {
    /// Goes on in a partition from an offset, waiting for its records up to another; what was held of it is forgotten.
    pub(super) fn start(&mut self, partition: Partition, next: Offset, awaited_until: Offset) {
        self.stop(partition);
        self.cursors.insert(partition, Cursor { next, awaited_until, held: VecDeque::new(), held_bytes: 0 });
    }

    /// Forgets a partition.
    pub(super) fn stop(&mut self, partition: Partition) {
        if let Some(cursor) = self.cursors.remove(&partition) {
            self.records -= cursor.held.len();
        }
    }

    /// Takes a record of a partition that was started; one that was read before is passed over.
    ///
    /// # Errors
    /// The offset that should have come, when it is not there.
    pub(super) fn push(&mut self, record: Record) -> Result<(), Offset> {
        let Some(cursor) = self.cursors.get_mut(&record.position.partition) else { return Ok(()) };
        if record.position.offset > cursor.next {
            return Err(cursor.next);
        }
        if record.position.offset == cursor.next {
            cursor.next += 1;
            cursor.held_bytes += record.payload.len() + RECORD_BYTES;
            cursor.held.push_back(record);
            self.records += 1;
        }
        Ok(())
    }

    /// The next records in order, as many as are known to be next.
    pub(super) fn take(&mut self, records_max: usize) -> Vec<Record> {
        let mut taken = Vec::new();
        if self.cursors.values().any(Cursor::is_awaited) {
            return taken;
        }
        let mut heads: BinaryHeap<_> = self.cursors.values().filter_map(Cursor::head).map(Reverse).collect();
        while taken.len() < records_max
            && let Some(Reverse((_, position))) = heads.pop()
        {
            let cursor = self.cursors.get_mut(&position.partition).expect("a head is of a cursor");
            let record = cursor.held.pop_front().expect("a cursor with a head has a record");
            cursor.held_bytes -= record.payload.len() + RECORD_BYTES;
            taken.push(record);
            if cursor.is_awaited() {
                break;
            }
            heads.extend(cursor.head().map(Reverse));
        }
        self.records -= taken.len();
        taken
    }

    /// How many records are held.
    pub(super) const fn records(&self) -> usize {
        self.records
    }

    /// How many bytes are held of a partition.
    pub(super) fn bytes(&self, partition: Partition) -> usize {
        self.cursors.get(&partition).map_or(0, |cursor| cursor.held_bytes)
    }
}

impl Cursor {
    fn is_awaited(&self) -> bool {
        self.held.is_empty() && self.next < self.awaited_until
    }

    fn head(&self) -> Option<(orderly_domain::Timestamp, orderly_domain::Position)> {
        self.held.front().map(|record| (record.logged_at, record.position))
    }
}

#[cfg(test)]
mod tests {
    use orderly_domain::{Position, Timestamp};
    use proptest::prelude::*;

    use super::*;

    fn record(partition: Partition, offset: Offset, millis: i64) -> Record {
        let logged_at = Timestamp::from_millis(millis);
        Record { position: Position { partition, offset }, logged_at, payload: vec![0; 8] }
    }

    fn places(records: &[Record]) -> Vec<(Partition, Offset)> {
        records.iter().map(|record| (record.position.partition, record.position.offset)).collect()
    }

    #[test]
    fn waits_for_what_lay_in_the_log() {
        let mut merge = Merge::default();
        merge.start(0, 0, 2);
        merge.start(1, 5, 6);
        merge.push(record(0, 0, 10)).unwrap();
        assert!(merge.take(9).is_empty(), "partition 1 may have an earlier one");
        merge.push(record(1, 5, 10)).unwrap();
        assert_eq!(places(&merge.take(9)), [(0, 0)], "the next one of partition 0 may be as early as that of 1");
        merge.push(record(0, 1, 10)).unwrap();
        assert_eq!(places(&merge.take(9)), [(0, 1), (1, 5)]);
        merge.push(record(1, 6, 20)).unwrap();
        assert_eq!(places(&merge.take(9)), [(1, 6)], "nobody waits for a partition that is at its end");
        assert_eq!((merge.records(), merge.bytes(0), merge.bytes(1)), (0, 0, 0));
    }

    #[test]
    fn finds_gaps_and_passes_over_what_it_had() {
        let mut merge = Merge::default();
        merge.start(3, 7, 7);
        merge.push(record(3, 6, 1)).unwrap();
        merge.push(record(2, 0, 1)).unwrap();
        assert_eq!(merge.push(record(3, 8, 1)), Err(7));
        merge.push(record(3, 7, 1)).unwrap();
        assert_eq!(merge.records(), 1);
        merge.stop(3);
        assert!(merge.take(9).is_empty() && merge.records() == 0);
    }

    proptest! {
        /// However the partitions' records arrive, and in whatever steps they are taken, they come in the one order.
        #[test]
        fn makes_one_order(
            times in prop::collection::vec(prop::collection::vec(0_i64..20, 0..20), 1..5),
            arrivals in prop::collection::vec((0_usize..5, 0_usize..4), 200),
        ) {
            let mut merge = Merge::default();
            let mut queues: Vec<VecDeque<Record>> = Vec::new();
            for (partition, mut times) in (0..).zip(times) {
                times.sort_unstable();
                merge.start(partition, 0, times.len() as u64);
                queues.push((0..).zip(times).map(|(offset, millis)| record(partition, offset, millis)).collect());
            }
            let mut expected: Vec<_> = queues.iter().flatten().cloned().collect();
            expected.sort_by_key(|record| (record.logged_at, record.position));
            let mut taken = Vec::new();
            let everything = (0..queues.len()).flat_map(|queue| std::iter::repeat_n((queue, 100), 20));
            for (queue, most) in arrivals.into_iter().chain(everything) {
                let count = queues.len();
                if let Some(record) = queues[queue % count].pop_front() {
                    merge.push(record).unwrap();
                }
                taken.extend(merge.take(most));
            }
            prop_assert_eq!(taken, expected);
        }
    }
}
