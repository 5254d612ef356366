//! Decisions by chance, the same for the same seed: what a hospital would decide, and much that it never would.

use super::*;

/// 2026-10-31T23:00:00Z: the rows cross a month.
const START_MS: u64 = 1_793_487_600_000;
const PARTITIONS: u16 = 3;
const ROWS: u64 = 120;
/// The mean of the steps between two records of a partition.
const STEP_MS: u64 = 60_000;

/// Chance: the generator SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }

    fn to(&mut self, most: u32) -> u32 {
        1 + u32::try_from(self.below(u64::from(most))).unwrap()
    }
}

/// The rows of each partition.
pub(super) fn partitions(seed: u64) -> Vec<Vec<Row>> {
    let mut chance = Chance(seed);
    (0..PARTITIONS).map(|partition| rows(partition, &mut chance)).collect()
}

/// Spans of time to ask about, in milliseconds: everything, nothing, and parts.
pub(super) fn spans(seed: u64) -> Vec<(i64, i64)> {
    let mut chance = Chance(!seed);
    let end = START_MS + ROWS * 2 * STEP_MS;
    let mut spans = vec![(0, end), (0, 1)];
    for _ in 0..3 {
        let from = START_MS + chance.below(end - START_MS);
        spans.push((from, from + chance.below(end - from)));
    }
    spans.into_iter().map(|(from, to)| (from.cast_signed(), to.cast_signed())).collect()
}

fn rows(partition: Partition, chance: &mut Chance) -> Vec<Row> {
    let mut sessions: Vec<_> = (0..5).map(|number| session_of(partition, number, chance)).collect();
    let mut at = START_MS;
    let row = |offset| {
        // Two records of a session never have the same time: which of them is the newest would be left to chance.
        at += 1 + chance.below(2 * STEP_MS);
        let session = usize::try_from(chance.below(5)).unwrap();
        if chance.one_in(10) {
            sessions[session].capacity = chance.to(9);
            sessions[session].campus = chance.of(&["east", "west", "north"]).parse().unwrap();
        }
        row_of(Position { partition, offset }, at, &sessions[session], chance)
    };
    (0..ROWS).map(row).collect()
}

/// Texts that SQL would trip over if they were ever part of it.
fn session_of(partition: Partition, number: u64, chance: &mut Chance) -> Session {
    let doctor = format!("li-{partition}-{}", number / 2);
    let department = *chance.of(&["cardiology", "心内科", "it's \"neuro\\logy\"", "what? {dimension} :to_ms"]);
    let mut session = session(&format!("s-{partition}-{number}?"), &doctor, department, "east", chance.to(9));
    session.doctor_name = format!("李明 O'Brien \\ {doctor}");
    session.day = *chance.of(&[date(2026, 11, 1), date(2026, 11, 2), date(2199, 12, 31), date(1969, 12, 31)]);
    session.release_at = Timestamp::from_millis((START_MS + chance.below(STEP_MS)).cast_signed());
    session
}

fn row_of(position: Position, at: u64, session: &Session, chance: &mut Chance) -> Row {
    use Kind::{Book, Cancel, ChangeCapacity, CloseSession, Malformed, OpenSession};
    let Position { partition, offset } = position;
    let wait = if chance.one_in(2) { chance.below(20) } else { chance.below(100_000) };
    let rejected = |chance: &mut Chance| Outcome::Rejected(*chance.of(&Reason::ALL));
    let number = chance.to(session.capacity);
    let (kind, outcome) = match chance.below(16) {
        0..6 => (Book, Outcome::Booked { number }),
        6..9 => (Book, Outcome::Rejected(Reason::SoldOut)),
        9..11 => (Book, rejected(chance)),
        11..13 => (Cancel, Outcome::Cancelled { number }),
        13 => (Cancel, rejected(chance)),
        14 => (*chance.of(&[OpenSession, CloseSession, ChangeCapacity]), Outcome::Applied),
        _ => (Malformed, MALFORMED),
    };
    let known = kind != Malformed && !chance.one_in(12);
    let mut row = row(partition, offset, at, wait, kind, outcome, known.then_some(session));
    if !known && kind != Malformed {
        row.session_id = Some(format!("gone-{}", chance.below(3)).parse().unwrap());
    }
    row.repeat = chance.one_in(6);
    row.patient = (!chance.one_in(8)).then(|| format!("p{}", chance.below(4)));
    row
}
