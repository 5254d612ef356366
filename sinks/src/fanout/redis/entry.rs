//! An entry of the stream.

use std::sync::Arc;

use orderly_domain::port::store::Committed;
use orderly_domain::port::{Error, Result};
use redis::streams::StreamId;

/// Decisions of one entry: the stream is trimmed by the number of its entries, which so bounds its memory.
const DECISIONS_MAX: usize = 256;
/// More than any batch has before it was compressed: what claims to have more was not written by a fan-out.
const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// An entry's id: the server's milliseconds, and a number among the entries of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(u64, u64);

impl Id {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (millis, number) = text.split_once('-')?;
        Some(Self(millis.parse().ok()?, number.parse().ok()?))
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

/// Which entry it is in the stream's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    life: u64,
    number: u64,
}

impl Place {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (life, number) = text.split_once(' ')?;
        Some(Self { life: life.parse().ok()?, number: number.parse().ok()? })
    }

    /// Whether nothing lies between an entry at `before` and this one. The first of a life follows nothing.
    pub(super) fn follows(self, before: Option<Self>) -> bool {
        match before {
            Some(before) => self.life == before.life && before.number.checked_add(1) == Some(self.number),
            None => self.number == 1,
        }
    }

    /// How many entries lie between one at `before` and this one; `None` when that cannot be known.
    pub(super) fn missing_after(self, before: Option<Self>) -> Option<u64> {
        let before = before.filter(|before| before.life == self.life)?;
        self.number.checked_sub(before.number)?.checked_sub(1)
    }

    /// Whether it lies before another one in the same life.
    pub(super) fn is_before(self, other: Self) -> bool {
        self.life == other.life && self.number < other.number
    }

    /// Whether a stream whose newest entry is at `newest` may have had this one.
    pub(super) fn is_reached_by(self, newest: Option<Self>) -> bool {
        newest.is_some_and(|newest| self.life == newest.life && self.number <= newest.number)
    }
}

/// Where an entry lies.
pub(super) fn locate(entry: &StreamId) -> Option<(Id, Option<Place>)> {
    let place = entry.get::<String>("n").and_then(|text| Place::parse(&text));
    Some((Id::parse(&entry.id)?, place))
}

/// What an entry holds; `None` when it was not written by a fan-out.
pub(super) fn batch(entry: &StreamId) -> Option<Arc<[Committed]>> {
    decisions(&entry.get::<Vec<u8>>("b")?)
}

/// What a batch holds; `None` when it was not written by a fan-out.
pub(super) fn decisions(batch: &[u8]) -> Option<Arc<[Committed]>> {
    let length = batch.first_chunk().map(|length| u32::from_le_bytes(*length))?;
    if usize::try_from(length).ok()? > BATCH_BYTES_MAX {
        return None;
    }
    serde_json::from_slice(&lz4_flex::decompress_size_prepended(batch).ok()?).ok()
}

/// Batches of the stream's size, for [`decisions`]: JSON, which later versions can add to, compressed.
pub(super) fn batches(committed: &[Committed]) -> Result<Vec<Vec<u8>>> {
    let mut batches = Vec::with_capacity(committed.len().div_ceil(DECISIONS_MAX));
    for part in committed.chunks(DECISIONS_MAX) {
        add(part, BATCH_BYTES_MAX, &mut batches)?;
    }
    Ok(batches)
}

/// Adds a part as one batch, or as more when it has too many bytes: a closed session names all its bookings.
fn add(part: &[Committed], bytes_max: usize, batches: &mut Vec<Vec<u8>>) -> Result<()> {
    let json = serde_json::to_vec(part)
        .map_err(|error| Error::Corrupt(format!("decisions that cannot be written as JSON: {error}")))?;
    if json.len() > bytes_max && part.len() > 1 {
        let (first, second) = part.split_at(part.len() / 2);
        add(first, bytes_max, batches)?;
        return add(second, bytes_max, batches);
    }
    batches.push(lz4_flex::compress_prepend_size(&json));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_follows_what() {
        let place = |life, number| Place { life, number };
        assert!(place(9, 4).follows(Some(place(9, 3))));
        assert!(!place(9, 5).follows(Some(place(9, 3))), "one was trimmed");
        assert!(!place(9, 3).follows(Some(place(9, 3))), "it went back in time");
        assert!(!place(8, 4).follows(Some(place(9, 3))), "it was begun anew");
        assert!(place(9, 1).follows(None) && !place(9, 2).follows(None));
        assert!(place(9, 3).is_reached_by(Some(place(9, 3))) && place(9, 3).is_reached_by(Some(place(9, 7))));
        assert!(!place(9, 3).is_reached_by(Some(place(9, 2))) && !place(9, 3).is_reached_by(Some(place(8, 7))));
        assert!(!place(9, 3).is_reached_by(None));
        assert!(place(9, 3).is_before(place(9, 5)) && !place(9, 3).is_before(place(9, 3)));
        assert!(!place(9, 3).is_before(place(8, 5)));
        assert_eq!(place(9, 5).missing_after(Some(place(9, 3))), Some(1));
        assert_eq!((place(9, 5).missing_after(Some(place(8, 3))), place(9, 5).missing_after(None)), (None, None));
    }

    #[test]
    fn batches_come_back_and_have_a_size() {
        let row = |offset| Committed {
            position: orderly_domain::Position { partition: 1, offset },
            logged_at: orderly_domain::Timestamp::from_micros(1),
            decided_at: orderly_domain::Timestamp::from_micros(2),
            kind: orderly_domain::command::Kind::Book,
            ticket: None,
            session_id: None,
            outcome: orderly_domain::Outcome::Applied,
            first: None,
            corrected: false,
            session: None,
            released: Vec::new(),
        };
        let rows: Vec<_> = (0..600).map(row).collect();
        let batches = batches(&rows).unwrap();
        assert_eq!(batches.len(), 3);
        let back: Vec<_> = batches.iter().flat_map(|batch| decisions(batch).unwrap().to_vec()).collect();
        assert_eq!(back, rows);

        let mut small = Vec::new();
        add(&rows[..8], 1_000, &mut small).unwrap();
        assert!(small.len() > 1, "split where the bytes are too many");
        assert_eq!(small.iter().map(|batch| decisions(batch).unwrap().len()).sum::<usize>(), 8);
        assert_eq!(decisions(&[0xff; 64]), None, "nobody's");
        assert_eq!(decisions(b""), None);
    }

    #[test]
    fn numbers_that_nobody_wrote_overflow_nothing() {
        let place = |number| Place { life: 1, number };
        assert!(!place(0).follows(Some(place(u64::MAX))));
        assert_eq!(place(0).missing_after(Some(place(u64::MAX))), None);
    }

    #[test]
    fn ids_sort_as_numbers() {
        assert!(Id::parse("99-12").unwrap() > Id::parse("99-9").unwrap());
        assert!(Id::parse("100-0").unwrap() > Id::parse("99-9").unwrap());
        assert_eq!(Id::parse("100-3").unwrap().to_string(), "100-3");
        assert_eq!(Id::parse("100"), None);
    }
}
