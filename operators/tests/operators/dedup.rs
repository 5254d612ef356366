//! A retry gets the first answer.

use std::collections::HashSet;
use std::time::Duration;

use orderly_domain::port::store::SeenTicket;
use orderly_domain::{Outcome, Reason, Timestamp};
use orderly_operators::{Dedup, Draft, Operator as _, RecentTickets, Takeovers};
use proptest::prelude::*;

use crate::kit::{PARTITION, book, cancel, draft, ticket};

fn recent(tickets_max: usize) -> RecentTickets {
    RecentTickets { tickets_max, window: Duration::from_micros(1_000) }
}

fn outcomes(dedup: &mut Dedup, drafts: Vec<Draft>) -> Vec<Option<Outcome>> {
    let mut out = Vec::new();
    dedup.process_batch(drafts, &mut out).unwrap();
    out.into_iter().map(|draft| draft.outcome).collect()
}

#[test]
fn tells_retries_from_new_tickets() {
    let mut dedup = Dedup::new(recent(100), Takeovers::default());
    let drafts = vec![
        draft(0, book(1, "ann", "s")),
        draft(1, book(2, "bob", "s")),
        draft(2, book(1, "ann", "s")),
        draft(3, book(1, "ann", "other")),
        draft(4, cancel(1, "ann", "s")),
        draft(5, book(1, "ann", "s")),
    ];
    let first = Some(Outcome::Repeat { first: 0 });
    let expected = [None, None, first, Some(Outcome::Rejected(Reason::Duplicate)), None, first];
    assert_eq!(outcomes(&mut dedup, drafts), expected);
}

#[test]
fn a_takeover_restores_what_the_store_knows() {
    let takeovers = Takeovers::default();
    let seen = |number, first, session: Option<&str>| SeenTicket {
        ticket: ticket(number),
        first,
        logged_at: Timestamp::from_micros(1),
        session_id: session.map(|id| id.parse().unwrap()),
    };
    takeovers.leave(PARTITION, 1, vec![seen(1, 0, Some("s")), seen(2, 1, None)]);
    let mut dedup = Dedup::new(recent(100), takeovers.clone());
    let drafts = vec![
        draft(10, book(1, "ann", "s")),
        draft(11, book(2, "bob", "s")),
        draft(12, book(1, "ann", "other")),
        draft(13, book(3, "eve", "s")),
    ];
    let repeat = |first| Some(Outcome::Repeat { first });
    assert_eq!(outcomes(&mut dedup, drafts), [repeat(0), repeat(1), Some(Outcome::Rejected(Reason::Duplicate)), None]);
    // Another takeover starts from the store again, not from memory.
    takeovers.leave(PARTITION, 2, vec![seen(3, 13, Some("s"))]);
    let mut later = draft(20, book(3, "eve", "s"));
    later.fence = 2;
    let mut forgotten = draft(21, book(1, "ann", "s"));
    forgotten.fence = 2;
    assert_eq!(outcomes(&mut dedup, vec![later, forgotten]), [repeat(13), None]);
}

/// A ticket that was forgotten and came back is remembered by its last first record, after a takeover as before it.
#[test]
fn a_takeover_restores_the_last_first_record_of_a_ticket() {
    let takeovers = Takeovers::default();
    let seen = |first, at, session: &str| SeenTicket {
        ticket: ticket(1),
        first,
        logged_at: Timestamp::from_micros(at),
        session_id: Some(session.parse().unwrap()),
    };
    takeovers.leave(PARTITION, 1, vec![seen(0, 1, "s"), seen(7, 5_000, "other")]);
    let mut dedup = Dedup::new(recent(100), takeovers);
    let mut retry = draft(9, book(1, "ann", "other"));
    retry.logged_at = Timestamp::from_micros(5_500);
    assert_eq!(outcomes(&mut dedup, vec![retry]), [Some(Outcome::Repeat { first: 7 })]);
}

proptest! {
    /// Bounded by records and by time in the log, and exact inside both bounds.
    #[test]
    fn remembers_exactly_the_recent(numbers in prop::collection::vec((0_u8..30, 0_i64..200), 1..200), tickets_max in 1_usize..20) {
        let mut dedup = Dedup::new(recent(tickets_max), Takeovers::default());
        let mut model: Vec<(i64, u8, u64)> = Vec::new();
        let mut now = 0;
        for (offset, (number, step)) in numbers.into_iter().enumerate() {
            now += step;
            let mut draft = draft(offset as u64, book(number, "ann", "s"));
            draft.logged_at = Timestamp::from_micros(now);
            model.retain(|(at, _, first)| *at >= now - 1_000 && offset as u64 - first <= tickets_max as u64);
            let expected = model.iter().find(|(_, known, _)| *known == number).map(|(_, _, first)| Outcome::Repeat { first: *first });
            if expected.is_none() {
                model.push((now, number, offset as u64));
            }
            prop_assert_eq!(outcomes(&mut dedup, vec![draft])[0], expected);
        }
    }

    /// Whenever a partition is taken over, its next records are answered as if it had not been. The store does not tell of
    /// tickets that the ledger refused as duplicates; such a ticket is asked of the ledger again, which refuses it again.
    #[test]
    fn a_takeover_changes_no_answer(
        asked in prop::collection::vec((0_u8..30, 0_i64..200, any::<bool>()), 1..200),
        cut in 0_usize..200,
        tickets_max in 1_usize..20,
    ) {
        let takeovers = Takeovers::default();
        let (mut whole, mut restored) = (Dedup::new(recent(tickets_max), Takeovers::default()), None);
        let (mut now, mut firsts) = (0, Vec::new());
        let (mut booked, mut refused) = (HashSet::new(), HashSet::new());
        for (offset, (number, step, books)) in (0..).zip(asked) {
            now += step;
            let asked = |fence| Draft { fence, logged_at: Timestamp::from_micros(now), ..draft(offset, book(number, "ann", "s")) };
            if offset == cut as u64 {
                let known = firsts.iter().rev().take(tickets_max).rev().cloned().collect();
                takeovers.leave(PARTITION, 2, known);
                restored = Some(Dedup::new(recent(tickets_max), takeovers.clone()));
            }
            let answer = outcomes(&mut whole, vec![asked(1)])[0];
            let refused_again = matches!(answer, Some(Outcome::Repeat { first }) if refused.contains(&first));
            if refused_again || (answer.is_none() && booked.contains(&number)) {
                refused.insert(offset);
            } else if answer.is_none() {
                if books {
                    booked.insert(number);
                }
                let (ticket, session_id) = (ticket(number), "s".parse().ok());
                firsts.push(SeenTicket { ticket, first: offset, logged_at: Timestamp::from_micros(now), session_id });
            }
            if let Some(restored) = &mut restored {
                let again = outcomes(restored, vec![asked(2)])[0];
                let asks_the_ledger = |answer| match answer {
                    Some(Outcome::Repeat { first }) if refused.contains(&first) => None,
                    answer => answer,
                };
                prop_assert_eq!(asks_the_ledger(again), asks_the_ledger(answer), "record {}", offset);
            }
        }
    }
}
