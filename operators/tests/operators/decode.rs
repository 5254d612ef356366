//! Poison gets its place in the line.

use orderly_domain::envelope::{Intent, encode};
use orderly_domain::{Outcome, Position, Reason, Timestamp, partition_of};
use orderly_operators::{Decode, Entry, Operator as _};

use crate::kit::{book, session};

fn entry(partition: u16, payload: Vec<u8>) -> Entry {
    Entry { position: Position { partition, offset: 0 }, logged_at: Timestamp::from_micros(1), fence: 1, payload }
}

#[test]
fn malformed_records_are_decided_in_place() {
    let payload = encode(&Intent { requested_by: "ann".into(), command: book(1, "ann", "s") });
    let home = partition_of(&session("s", 1).doctor_id, 8);
    let elsewhere = (home + 1) % 8;
    let mut drafts = Vec::new();
    let batch = vec![
        entry(home, payload.clone()),
        entry(home, b"poison".to_vec()),
        entry(elsewhere, payload),
        entry(home, Vec::new()),
    ];
    Decode::new(8).process_batch(batch, &mut drafts).unwrap();
    let outcomes: Vec<_> = drafts.iter().map(|draft| draft.outcome).collect();
    let malformed = Some(Outcome::Rejected(Reason::Malformed));
    assert_eq!(outcomes, [None, malformed, malformed, malformed]);
    assert_eq!(drafts[0].command, Some(book(1, "ann", "s")));
}
