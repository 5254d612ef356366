//! The rules, hammered: random commands against invariants and against a restore in the middle.

use jiff::civil::{date, time};
use proptest::prelude::*;

use super::*;
use crate::session::Exclusivity;

const RELEASE: i64 = 1_000;
const END: i64 = 9_000;

fn reference(session: u8) -> SessionRef {
    SessionRef {
        session_id: format!("s{session}").parse().expect("valid"),
        doctor_id: format!("d{session}").parse().expect("valid"),
        department: "cardiology".parse().expect("valid"),
        day: date(1970, 1, 1),
    }
}

fn session(number: u8, capacity: u32, exclusivity: Exclusivity) -> Session {
    let reference = reference(number);
    Session {
        session_id: reference.session_id,
        doctor_id: reference.doctor_id,
        doctor_name: "Li Ming".into(),
        department: reference.department,
        campus: "east".parse().expect("valid"),
        day: reference.day,
        start: time(8, 0, 0, 0),
        end: time(12, 0, 0, 0),
        timezone: "Asia/Shanghai".into(),
        capacity,
        release_at: Timestamp::from_micros(RELEASE),
        ends_at: Timestamp::from_micros(END),
        exclusivity,
    }
}

fn book(ticket: u8, patient: u8, session: u8) -> Command {
    Command::Book(Book {
        ticket: ticket::Id::from_bytes([ticket; 16]),
        patient_id: format!("p{patient}").parse().expect("valid"),
        session: reference(session),
        details: None,
    })
}

fn cancel(ticket: u8, patient: u8, session: u8) -> Command {
    Command::Cancel(Cancel {
        ticket: ticket::Id::from_bytes([ticket; 16]),
        patient_id: format!("p{patient}").parse().expect("valid"),
        session: reference(session),
    })
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        8 => (0_u8..40, 0_u8..8, 0_u8..3).prop_map(|(t, p, s)| book(t, p, s)),
        4 => (0_u8..40, 0_u8..8, 0_u8..3).prop_map(|(t, p, s)| cancel(t, p, s)),
        2 => (0_u8..3, 1_u32..6, 0_u8..3).prop_map(|(s, c, x)| {
            let exclusivity = [Exclusivity::DepartmentDay, Exclusivity::Session, Exclusivity::None][x as usize];
            Command::OpenSession(Box::new(session(s, c, exclusivity)))
        }),
        1 => (0_u8..3).prop_map(|s| Command::CloseSession(CloseSession { session: reference(s), cause: "ill".into() })),
        1 => (0_u8..3, 1_u32..6).prop_map(|(s, capacity)| Command::ChangeCapacity(ChangeCapacity { session: reference(s), capacity })),
    ]
}

fn snapshots(day: &DepartmentDay) -> Vec<Snapshot> {
    let of = |inventory: &Inventory| Snapshot {
        session: inventory.session.clone(),
        closed: inventory.closed,
        holdings: inventory
            .tickets
            .iter()
            .map(|ticket| {
                let held = &day.tickets[ticket];
                Holding {
                    ticket: *ticket,
                    patient_id: held.patient_id.clone(),
                    number: held.number,
                    booked_at: held.booked_at,
                    active: held.active,
                }
            })
            .collect(),
    };
    day.sessions.values().map(of).collect()
}

fn check(day: &DepartmentDay) {
    for (id, inventory) in &day.sessions {
        let mut numbers: Vec<u32> =
            day.tickets.values().filter(|held| held.active && held.session_id == *id).map(|held| held.number).collect();
        let held = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), held, "numbers are distinct");
        assert_eq!(inventory.numbers.taken() as usize, held, "what is taken is held");
        assert!(numbers.iter().all(|number| (1..=inventory.session.capacity).contains(number)), "no oversell");
        assert!(!inventory.closed || held == 0, "a closed session holds nothing");
        if inventory.session.exclusivity == Exclusivity::DepartmentDay {
            let mut patients: Vec<_> = day
                .tickets
                .values()
                .filter(|held| {
                    held.active && day.sessions[&held.session_id].session.exclusivity == Exclusivity::DepartmentDay
                })
                .map(|held| &held.patient_id)
                .collect();
            let all = patients.len();
            patients.sort_unstable();
            patients.dedup();
            assert_eq!(patients.len(), all, "one per patient, department and day");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever is asked in whatever order: no oversell, one a patient, nobody is told "full" while a number is free, a
    /// ticket gets one number ever, and a ledger restored in the middle goes on as the first one would have.
    #[test]
    fn keeps_its_promises(commands in prop::collection::vec((command(), 0_i64..12_000), 1..120), restart in 0_usize..120) {
        let mut day = DepartmentDay::default();
        let mut first: HashMap<ticket::Id, u64> = HashMap::new();
        for (at, (command, micros)) in commands.iter().enumerate() {
            if at == restart {
                let mut restored = DepartmentDay::default();
                snapshots(&day).into_iter().for_each(|snapshot| restored.restore(snapshot));
                day = restored;
            }
            let free = |day: &DepartmentDay| day.remaining().find(|(id, _)| *id == command.session_id()).map(|(_, free)| free);
            let before = free(&day);
            let answer = day.apply(command, at as u64, Timestamp::from_micros(*micros));
            check(&day);
            match answer.outcome {
                Outcome::Rejected(Reason::SoldOut) => prop_assert_eq!(before, Some(0)),
                Outcome::Booked { .. } => {
                    prop_assert_eq!(free(&day), before.map(|free| free - 1));
                    let ticket = command.ticket().expect("a booking has one");
                    prop_assert_eq!(first.insert(ticket, at as u64), None, "a ticket books once");
                }
                Outcome::Repeat { first: at } => {
                    prop_assert_eq!(first.get(&command.ticket().expect("a booking has one")), Some(&at));
                }
                _ => {}
            }
            prop_assert_eq!(answer.full_until.is_some(), matches!(command, Command::Book(_))
                && matches!(answer.outcome, Outcome::Booked { .. } | Outcome::Rejected(Reason::SoldOut)) && free(&day) == Some(0));
        }
    }

    #[test]
    fn numbers_match_a_set(steps in prop::collection::vec((any::<bool>(), 1_u32..200), 1..300), capacity in 1_u32..200) {
        let mut numbers = Numbers::default();
        let mut model = std::collections::BTreeSet::new();
        for (take, number) in steps {
            if take {
                let expected = (1..=capacity).find(|n| !model.contains(n));
                prop_assert_eq!(numbers.take_lowest(capacity), expected);
                model.extend(expected);
            } else {
                prop_assert_eq!(numbers.free(number), model.remove(&number));
            }
            prop_assert_eq!(numbers.taken() as usize, model.len());
            prop_assert_eq!(numbers.highest(), model.last().copied().unwrap_or(0));
        }
    }
}

fn outcome(day: &mut DepartmentDay, command: &Command, micros: i64) -> Outcome {
    day.apply(command, 1, Timestamp::from_micros(micros)).outcome
}

/// A call that may have happened is made again: the same record gets the same answer.
#[test]
fn the_same_record_is_answered_the_same() {
    let mut day = DepartmentDay::default();
    outcome(&mut day, &Command::OpenSession(Box::new(session(0, 2, Exclusivity::DepartmentDay))), 0);
    assert_eq!(outcome(&mut day, &book(1, 1, 0), RELEASE), Outcome::Booked { number: 1 });
    assert_eq!(outcome(&mut day, &book(1, 1, 0), RELEASE), Outcome::Booked { number: 1 });
    assert_eq!(day.remaining().map(|(_, free)| free).collect::<Vec<_>>(), [1]);
}

#[test]
fn answers_by_the_first_rule_that_applies() {
    let mut day = DepartmentDay::default();
    let refused = |reason| Outcome::Rejected(reason);
    assert_eq!(outcome(&mut day, &book(1, 1, 0), RELEASE), refused(Reason::UnknownSession));
    outcome(&mut day, &Command::OpenSession(Box::new(session(0, 1, Exclusivity::DepartmentDay))), 0);
    outcome(&mut day, &Command::OpenSession(Box::new(session(1, 1, Exclusivity::DepartmentDay))), 0);
    assert_eq!(outcome(&mut day, &book(1, 1, 0), RELEASE - 1), refused(Reason::NotReleased));
    assert_eq!(outcome(&mut day, &book(1, 1, 0), END), refused(Reason::Expired));
    assert_eq!(outcome(&mut day, &book(1, 1, 0), 400_000_000_000), refused(Reason::Expired), "long past");
    assert_eq!(outcome(&mut day, &book(1, 1, 0), RELEASE), Outcome::Booked { number: 1 });
    let again = day.apply(&book(1, 1, 0), 2, Timestamp::from_micros(END)).outcome;
    assert_eq!(again, Outcome::Repeat { first: 1 }, "same ticket, same answer");
    assert_eq!(outcome(&mut day, &book(1, 1, 1), RELEASE), refused(Reason::Duplicate));
    assert_eq!(
        outcome(&mut day, &book(1, 2, 0), RELEASE),
        refused(Reason::SoldOut),
        "who refuses without asking, knows only that it is full"
    );
    assert_eq!(
        outcome(&mut day, &book(2, 1, 0), RELEASE),
        refused(Reason::SoldOut),
        "sold out comes before already booked"
    );
    assert_eq!(outcome(&mut day, &book(3, 1, 1), RELEASE), refused(Reason::AlreadyBooked), "another doctor, same day");
    assert_eq!(outcome(&mut day, &cancel(1, 2, 0), RELEASE), refused(Reason::NotBooked), "not hers");
    assert_eq!(outcome(&mut day, &cancel(1, 1, 0), RELEASE), Outcome::Cancelled { number: 1 });
    assert_eq!(outcome(&mut day, &cancel(1, 1, 0), END), Outcome::Cancelled { number: 1 }, "again");
    let again = day.apply(&book(1, 1, 0), 3, Timestamp::from_micros(RELEASE)).outcome;
    assert_eq!(again, Outcome::Repeat { first: 1 }, "a cancelled ticket never books again");
    assert_eq!(
        outcome(&mut day, &book(4, 2, 0), RELEASE),
        Outcome::Booked { number: 1 },
        "the next in line gets the number"
    );
    let capacity = |capacity| Command::ChangeCapacity(ChangeCapacity { session: reference(0), capacity });
    assert_eq!(outcome(&mut day, &capacity(3), RELEASE), Outcome::Applied);
    assert_eq!(outcome(&mut day, &book(5, 3, 0), RELEASE), Outcome::Booked { number: 2 });
    assert_eq!(outcome(&mut day, &cancel(4, 2, 0), RELEASE), Outcome::Cancelled { number: 1 });
    assert_eq!(outcome(&mut day, &capacity(1), RELEASE), refused(Reason::BelowBooked), "number 2 is booked");
    let close = Command::CloseSession(CloseSession { session: reference(0), cause: "ill".into() });
    assert_eq!(outcome(&mut day, &close, RELEASE), Outcome::Applied);
    assert_eq!(outcome(&mut day, &book(6, 4, 0), RELEASE), refused(Reason::SessionClosed));
    assert_eq!(outcome(&mut day, &close, 400_000_000_000), refused(Reason::Expired), "ledgers may have forgotten it");
    assert_eq!(
        outcome(&mut day, &book(7, 3, 1), RELEASE),
        Outcome::Booked { number: 1 },
        "a closed session excludes nobody"
    );
}

#[test]
fn an_undone_booking_leaves_no_trace() {
    let mut day = DepartmentDay::default();
    day.apply(&Command::OpenSession(Box::new(session(0, 1, Exclusivity::DepartmentDay))), 0, Timestamp::from_micros(0));
    assert_eq!(outcome(&mut day, &book(1, 1, 0), RELEASE), Outcome::Booked { number: 1 });
    day.undo_booking(&reference(0).session_id, ticket::Id::from_bytes([1; 16]));
    assert_eq!(outcome(&mut day, &book(2, 1, 0), RELEASE), Outcome::Booked { number: 1 });
}
