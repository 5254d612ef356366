//! The ledger is asked only what is not known, and the answers are the same as if it had been asked all.

use std::collections::HashMap;
use std::sync::Arc;

use orderly_domain::inventory::DepartmentDay;
use orderly_domain::{ChangeCapacity, CloseSession, Command, Outcome, Reason};
use orderly_operators::{Admit, AsyncOperator as _, Draft, Retry, SessionMemory};
use proptest::prelude::*;

use crate::kit::{Counted, book, cancel, counted, draft, reference, session};

fn admit(ledger: &Arc<Counted>) -> Admit {
    Admit::new(Arc::clone(ledger) as _, SessionMemory::default(), Retry::default())
}

async fn outcomes(admit: &Admit, drafts: Vec<Draft>) -> Vec<Outcome> {
    admit.process_batch(drafts).await.unwrap().into_iter().map(|decision| decision.outcome).collect()
}

#[tokio::test]
async fn a_full_session_is_refused_without_a_call_until_a_number_is_freed() {
    let ledger = counted();
    let admit = admit(&ledger);
    let open = Command::OpenSession(Box::new(session("s", 1)));
    let booked = Outcome::Booked { number: 1 };
    let sold_out = Outcome::Rejected(Reason::SoldOut);
    assert_eq!(outcomes(&admit, vec![draft(0, open), draft(1, book(1, "ann", "s"))]).await, [Outcome::Applied, booked]);
    let before = ledger.asked();

    let crowd = (2..200).map(|number| draft(u64::from(number), book(number, "bob", "s"))).collect();
    assert!(outcomes(&admit, crowd).await.iter().all(|outcome| *outcome == sold_out));
    assert_eq!(ledger.asked(), before, "nobody needed to be asked");

    let again = outcomes(&admit, vec![draft(200, book(1, "ann", "s"))]).await;
    assert_eq!(again, [Outcome::Repeat { first: 1 }], "a ticket that booked keeps its answer when the session is full");

    let batch = vec![
        draft(201, book(201, "cy", "s")),
        draft(202, cancel(1, "ann", "s")),
        draft(203, book(203, "dan", "s")),
        draft(204, book(204, "eve", "s")),
    ];
    let freed = Outcome::Cancelled { number: 1 };
    assert_eq!(outcomes(&admit, batch).await, [sold_out, freed, booked, sold_out], "the next in line gets the number");
}

fn command() -> impl Strategy<Value = Command> {
    let name = |s: u8| format!("s{s}");
    let patient = |p: u8| format!("p{p}");
    prop_oneof![
        10 => (0_u8..60, 0_u8..20, 0_u8..2).prop_map(move |(t, p, s)| book(t, &patient(p), &name(s))),
        3 => (0_u8..60, 0_u8..20, 0_u8..2).prop_map(move |(t, p, s)| cancel(t, &patient(p), &name(s))),
        1 => (0_u8..2, 1_u32..4).prop_map(move |(s, c)| Command::OpenSession(Box::new(session(&name(s), c)))),
        1 => (0_u8..2, 1_u32..4).prop_map(move |(s, capacity)| Command::ChangeCapacity(ChangeCapacity { session: reference(&name(s)), capacity })),
        1 => (0_u8..2).prop_map(move |s| Command::CloseSession(CloseSession { session: reference(&name(s)), cause: String::new() })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn shortcuts_never_change_an_answer(commands in prop::collection::vec(command(), 1..150), cuts in prop::collection::vec(1_usize..20, 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ledger = counted();
        let admit = admit(&ledger);
        let mut model = DepartmentDay::default();
        let mut drafts: Vec<_> = commands.into_iter().enumerate().map(|(offset, command)| draft(offset as u64, command)).collect();
        for cut in cuts.into_iter().cycle() {
            if drafts.is_empty() {
                break;
            }
            let rest = drafts.split_off(cut.min(drafts.len()));
            let expected: Vec<_> = drafts.iter()
                .map(|draft| model.apply(draft.command.as_ref().unwrap(), draft.position.offset, draft.logged_at).outcome)
                .collect();
            let batch = std::mem::replace(&mut drafts, rest);
            prop_assert_eq!(runtime.block_on(outcomes(&admit, batch)), expected);
        }
        let expected: HashMap<_, _> = model.remaining().map(|(id, free)| (id.clone(), free)).collect();
        let found: HashMap<_, _> = runtime.block_on(orderly_domain::port::Ledger::remaining(&*ledger)).unwrap().into_iter().collect();
        prop_assert_eq!(found, expected);
    }
}
