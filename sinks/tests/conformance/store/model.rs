//! Whatever the rules decide, a store keeps it as the rules do, however the log is cut into commits.

use orderly_domain::inventory::DepartmentDay;
use orderly_domain::port::store::{Appointment, AppointmentStatus, SessionState};
use proptest::prelude::*;

use super::*;

/// What the store should hold, kept by hand from the rules' answers.
#[derive(Default)]
struct Expected {
    sessions: BTreeMap<SessionId, SessionState>,
    appointments: Vec<Appointment>,
}

impl Expected {
    fn apply(&mut self, position: Position, command: &Command, outcome: Outcome) {
        let session_id = command.session_id();
        let mut end = |of: &dyn Fn(&Appointment) -> bool, status, cause: Option<&str>| {
            let active = |row: &&mut Appointment| row.status == AppointmentStatus::Booked;
            let ended = self.appointments.iter_mut().filter(active).filter(|row| of(row)).map(|row| {
                row.status = status;
                row.changed_at = position;
                row.cause = cause.map(str::to_owned);
            });
            u32::try_from(ended.count()).unwrap()
        };
        let freed = match (command, outcome) {
            (Command::Cancel(cancel), Outcome::Cancelled { .. }) => {
                end(&|row| row.ticket == cancel.ticket, AppointmentStatus::Cancelled, None)
            }
            (Command::CloseSession(close), Outcome::Applied) => {
                end(&|row| row.session_id == *session_id, AppointmentStatus::SessionClosed, Some(&close.cause))
            }
            _ => 0,
        };
        if let (Command::OpenSession(session), Outcome::Applied) = (command, outcome) {
            let new = || SessionState { session: (**session).clone(), closed: false, booked: 0, changed_at: position };
            let state = self.sessions.entry(session_id.clone()).or_insert_with(new);
            state.session = Session { exclusivity: state.session.exclusivity, ..(**session).clone() };
            state.closed = false;
        }
        let Some(state) = self.sessions.get_mut(session_id) else { return };
        state.booked -= freed;
        match (command, outcome) {
            (Command::Book(book), Outcome::Booked { number }) => {
                state.booked += 1;
                self.appointments.push(Appointment {
                    position,
                    ticket: book.ticket,
                    session_id: session_id.clone(),
                    patient_id: book.patient_id.clone(),
                    number,
                    status: AppointmentStatus::Booked,
                    changed_at: position,
                    cause: None,
                });
            }
            (Command::CloseSession(_), Outcome::Applied) => state.closed = true,
            (Command::ChangeCapacity(change), Outcome::Applied) => state.session.capacity = change.capacity,
            _ => {}
        }
        if outcome == Outcome::Applied || matches!(outcome, Outcome::Booked { .. }) || freed > 0 {
            state.changed_at = position;
        }
    }
}

fn command() -> impl Strategy<Value = (u8, Command)> {
    const RULES: [Exclusivity; 3] = [Exclusivity::DepartmentDay, Exclusivity::Session, Exclusivity::None];
    (0_u8..4).prop_flat_map(move |session_number| {
        let commands = prop_oneof![
            8 => (0_u8..60, 0_u8..10).prop_map(move |(t, p)| book(t, p, session_number)),
            3 => (0_u8..60, 0_u8..10).prop_map(move |(t, p)| cancel(t, p, session_number)),
            3 => (1_u32..6, prop::sample::select(&RULES[..])).prop_map(move |(capacity, rule)| {
                Command::OpenSession(Box::new(session(session_number, capacity, rule)))
            }),
            1 => Just(close(session_number)),
            1 => (1_u32..6).prop_map(move |capacity| resize(session_number, capacity)),
        ];
        (Just(session_number), commands)
    })
}

/// What is done between two commits.
#[derive(Clone, Copy, Debug)]
enum Then {
    Nothing,
    CommitAgain,
    ClaimAgain,
    OpenAgain,
}

pub(crate) fn keeps_what_the_rules_decided<P: Place>(place: impl Fn() -> P) {
    let then = prop_oneof![
        6 => Just(Then::Nothing),
        2 => Just(Then::CommitAgain),
        1 => Just(Then::ClaimAgain),
        1 => Just(Then::OpenAgain),
    ];
    let commands = prop::collection::vec((command(), prop::option::weighted(0.2, then)), 1..150);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) };
    proptest!(config, |(commands in commands)| runtime.block_on(run(&place(), commands)));
}

async fn run(place: &impl Place, commands: Vec<((u8, Command), Option<Then>)>) {
    let mut owner = Owner::claim(place.open().await, &[0, 1]).await;
    let (mut day, mut expected, mut now) = (DepartmentDay::default(), Expected::default(), RELEASE);
    for ((number, command), cut) in commands {
        let partition = Partition::from(number % 2);
        now += 1;
        owner.now = now - 1;
        let outcome = day.apply(&command, owner.next[&partition], Timestamp::from_micros(now)).outcome;
        let position = owner.decide(partition, command.clone(), outcome);
        expected.apply(position, &command, outcome);
        let Some(then) = cut else { continue };
        let commit = owner.take();
        let answers = owner.store.commit(&commit).await.unwrap();
        assert!(answers.iter().all(|answer| !answer.corrected), "the rules and the constraints agree");
        match then {
            Then::Nothing => {}
            Then::CommitAgain => {
                let again = owner.store.commit(&commit).await.unwrap();
                let words = |answers: &[Committed]| {
                    let word = |row: &Committed| (row.position, row.outcome, row.first, row.released.clone());
                    answers.iter().map(word).collect::<Vec<_>>()
                };
                assert_eq!(words(&again), words(&answers));
                let changed =
                    |answers: &[Committed]| answers.iter().map(|row| row.session.is_some()).collect::<Vec<_>>();
                assert_eq!(changed(&again), changed(&answers));
            }
            Then::ClaimAgain => owner = Owner::claim(Arc::clone(&owner.store), &[0, 1]).await,
            Then::OpenAgain => {
                drop(owner);
                owner = Owner::claim(place.open().await, &[0, 1]).await;
            }
        }
    }
    owner.commit().await;
    let mut sessions = owner.store.sessions(DAY).await.unwrap();
    sessions.sort_by(|a, b| a.session.session_id.cmp(&b.session.session_id));
    assert_eq!(sessions, expected.sessions.into_values().collect::<Vec<_>>());
    for state in sessions {
        let session_id = &state.session.session_id;
        let rows = owner.store.appointments(session_id).await.unwrap();
        let wanted: Vec<_> =
            expected.appointments.iter().filter(|row| row.session_id == *session_id).cloned().collect();
        assert_eq!(rows, wanted);
        let active = rows.iter().filter(|row| row.status == AppointmentStatus::Booked);
        let mut numbers: Vec<_> = active.map(|row| row.number).collect();
        let held = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!((numbers.len(), held), (held, state.booked as usize), "numbers are distinct and counted");
        assert!(numbers.iter().all(|number| (1..=state.session.capacity).contains(number)), "no oversell");
        let remaining = day.remaining().find(|(id, _)| *id == session_id).unwrap().1;
        assert_eq!(state.remaining(), remaining);
    }
}
