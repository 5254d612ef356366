//! What every ledger must do: answer as the rules do.

use std::collections::{BTreeMap, HashMap};

use jiff::civil::{Date, date, time};
use orderly_domain::clock::Timestamp;
use orderly_domain::command::{Book, Cancel, ChangeCapacity, CloseSession, Command, SessionRef};
use orderly_domain::decision::{Decision, Outcome, Reason};
use orderly_domain::inventory::{Admission, DepartmentDay, Holding, Snapshot};
use orderly_domain::port::Ledger;
use orderly_domain::port::ledger::Request;
use orderly_domain::position::Position;
use orderly_domain::session::{Exclusivity, Session};
use orderly_domain::{DepartmentId, Fence, SessionId, ticket};
use proptest::prelude::*;

/// The takeover under which everything is asked.
const FENCE: Fence = 1;
const RELEASE: Timestamp = Timestamp::from_micros(1_000);
const END: Timestamp = Timestamp::from_micros(9_000);

/// Declares the suite's tests for an adapter; `$open` makes an empty ledger.
macro_rules! suite {
    ($open:expr) => {
        #[test]
        fn answers_as_the_rules_do() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("it can be built");
            crate::ledger::answers_as_the_rules_do(&runtime, async || $open);
        }
        crate::ledger::suite!($open;
            undoes_what_the_store_refused, forgets_days_that_are_past, restores_one_session_and_leaves_the_others,
            keeps_nothing_of_what_it_does_not_know, forgets_what_an_earlier_takeover_opened,
            knows_who_holds_two_for_a_moment);
    };
    ($open:expr; $($name:ident),*) => {
        $(
            #[tokio::test]
            async fn $name() {
                crate::ledger::$name(&$open).await;
            }
        )*
    };
}
pub(crate) use suite;

mod redis;

mod memory {
    crate::ledger::suite!(orderly_sinks::ledger::memory::Ledger::default());

    /// Behind a breaker.
    mod guarded {
        use orderly_sinks::ledger::memory::Ledger;

        crate::ledger::suite!(crate::guarded::Guarded::of(Ledger::default()));
    }
}

/// Session `number`: two a department, two departments a day, three days.
fn reference(number: u8) -> SessionRef {
    SessionRef {
        session_id: format!("session-{number}").parse().expect("valid"),
        doctor_id: format!("doctor-{number}").parse().expect("valid"),
        department: ["cardiology", "neurology"][usize::from(number / 2 % 2)].parse().expect("valid"),
        day: day(number / 4),
    }
}

fn day(number: u8) -> Date {
    date(1970, 1, 1 + i8::try_from(number).expect("small"))
}

fn session(number: u8, capacity: u32, exclusivity: Exclusivity) -> Session {
    let SessionRef { session_id, doctor_id, department, day } = reference(number);
    Session {
        session_id,
        doctor_id,
        doctor_name: "Li Ming".into(),
        department,
        campus: "east".parse().expect("valid"),
        day,
        start: time(8, 0, 0, 0),
        end: time(12, 0, 0, 0),
        timezone: "Asia/Shanghai".into(),
        capacity,
        release_at: RELEASE,
        ends_at: END,
        exclusivity,
    }
}

fn open(number: u8, capacity: u32) -> Command {
    Command::OpenSession(Box::new(session(number, capacity, Exclusivity::DepartmentDay)))
}

fn ticket(number: u8) -> ticket::Id {
    ticket::Id::from_bytes([number; 16])
}

fn book(number: u8, patient: u8, session: u8) -> Command {
    let patient_id = format!("patient-{patient}").parse().expect("valid");
    Command::Book(Book { ticket: ticket(number), patient_id, session: reference(session), details: None })
}

fn command() -> impl Strategy<Value = Command> {
    let session_number = 0_u8..12;
    let exclusivity = prop::sample::select(vec![Exclusivity::DepartmentDay, Exclusivity::Session, Exclusivity::None]);
    prop_oneof![
        16 => (0_u8..80, 0_u8..8, session_number.clone()).prop_map(|(t, p, s)| book(t, p, s)),
        6 => (0_u8..80, 0_u8..8, session_number.clone()).prop_map(|(t, p, s)| {
            let patient_id = format!("patient-{p}").parse().expect("valid");
            Command::Cancel(Cancel { ticket: ticket(t), patient_id, session: reference(s) })
        }),
        6 => (session_number.clone(), 1_u32..6, exclusivity)
            .prop_map(|(s, capacity, x)| Command::OpenSession(Box::new(session(s, capacity, x)))),
        // A session under another doctor or another day: it must not be taken for the one that is known.
        1 => (session_number.clone(), session_number.clone()).prop_map(|(s, other)| {
            let mut session = session(s, 3, Exclusivity::Session);
            session.doctor_id = reference(other).doctor_id;
            Command::OpenSession(Box::new(session))
        }),
        1 => session_number.clone()
            .prop_map(|s| Command::CloseSession(CloseSession { session: reference(s), cause: "ill".into() })),
        2 => (session_number, 1_u32..6)
            .prop_map(|(s, capacity)| Command::ChangeCapacity(ChangeCapacity { session: reference(s), capacity })),
    ]
}

/// What happens to a ledger.
#[derive(Clone, Debug)]
enum Step {
    /// These commands come, some micro-seconds into the epoch.
    Apply(Vec<(Command, i64)>),
    /// The store refuses the last command's booking or opening.
    Undo,
    /// It starts anew and is restored from the store.
    Restart,
    /// The clock has come to this many days after 1970-01-01.
    Prune(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => prop::collection::vec((command(), 0_i64..12_000), 1..20).prop_map(Step::Apply),
        4 => Just(Step::Undo),
        2 => Just(Step::Restart),
        1 => (0_u8..6).prop_map(Step::Prune),
    ]
}

/// The rules themselves, with what a store would keep beside them.
#[derive(Default)]
struct Model {
    days: HashMap<(DepartmentId, Date), DepartmentDay>,
    kept: BTreeMap<(Date, DepartmentId, SessionId), Snapshot>,
    last: Option<(Command, Outcome)>,
    records: u64,
}

impl Model {
    fn apply(&mut self, command: &Command, position: Position, logged_at: Timestamp) -> Admission {
        let (department, date) = command.department_day();
        let day = self.days.entry((department.clone(), date)).or_default();
        let admission = day.apply(command, position.offset, logged_at);
        self.keep(command, admission.outcome, position);
        self.last = Some((command.clone(), admission.outcome));
        admission
    }

    fn snapshot(&mut self, command: &Command) -> Option<&mut Snapshot> {
        let (department, date) = command.department_day();
        self.kept.get_mut(&(date, department.clone(), command.session_id().clone()))
    }

    /// What a store would write.
    fn keep(&mut self, command: &Command, outcome: Outcome, position: Position) {
        match (command, outcome) {
            (Command::OpenSession(session), Outcome::Applied) => match self.snapshot(command) {
                Some(known) => {
                    known.session = Session { exclusivity: known.session.exclusivity, ..(**session).clone() };
                    known.closed = false;
                }
                None => {
                    let snapshot = Snapshot { session: (**session).clone(), closed: false, holdings: vec![] };
                    let key = (session.day, session.department.clone(), session.session_id.clone());
                    self.kept.insert(key, snapshot);
                }
            },
            (Command::Book(book), Outcome::Booked { number }) => {
                let holding = Holding {
                    ticket: book.ticket,
                    patient_id: book.patient_id.clone(),
                    number,
                    booked_at: position.offset,
                    active: true,
                };
                self.snapshot(command).expect("it is open").holdings.push(holding);
            }
            (Command::Cancel(cancel), Outcome::Cancelled { .. }) => {
                let holdings = &mut self.snapshot(command).expect("it is open").holdings;
                holdings.iter_mut().filter(|held| held.ticket == cancel.ticket).for_each(|held| held.active = false);
            }
            (Command::CloseSession(_), Outcome::Applied) => {
                let snapshot = self.snapshot(command).expect("it is open");
                snapshot.closed = true;
                snapshot.holdings.iter_mut().for_each(|held| held.active = false);
            }
            (Command::ChangeCapacity(change), Outcome::Applied) => {
                self.snapshot(command).expect("it is open").session.capacity = change.capacity;
            }
            _ => {}
        }
    }

    /// Takes the last command back, and returns it as a store refuses it.
    fn undo(&mut self) -> Option<Decision> {
        let (command, outcome) = self.last.take()?;
        let (department, date) = command.department_day();
        let key = (department.clone(), date);
        match (&command, outcome) {
            (Command::Book(book), Outcome::Booked { .. }) => {
                self.days.get_mut(&key)?.undo_booking(&book.session.session_id, book.ticket);
                self.snapshot(&command)?.holdings.retain(|held| held.ticket != book.ticket);
            }
            (Command::OpenSession(session), Outcome::Applied) => {
                self.days.get_mut(&key)?.forget(&session.session_id);
                self.kept.remove(&(date, key.0, session.session_id.clone()));
            }
            _ => {}
        }
        Some(decision(command, outcome))
    }

    fn prune(&mut self, logged_at: Timestamp) {
        self.days.retain(|(_, date), _| !orderly_domain::inventory::is_past(*date, logged_at));
        self.kept.retain(|(date, ..), _| !orderly_domain::inventory::is_past(*date, logged_at));
        self.last = None;
    }

    fn remaining(&self) -> Vec<(SessionId, u32)> {
        let all = self.days.values().flat_map(DepartmentDay::remaining);
        sorted(all.map(|(session, remaining)| (session.clone(), remaining)).collect())
    }
}

fn sorted(mut remaining: Vec<(SessionId, u32)>) -> Vec<(SessionId, u32)> {
    remaining.sort_unstable();
    remaining
}

fn decision(command: Command, outcome: Outcome) -> Decision {
    let position = Position { partition: 0, offset: 0 };
    Decision { position, logged_at: RELEASE, fence: 1, command: Some(command), outcome }
}

fn position(offset: u64) -> Position {
    Position { partition: 0, offset }
}

pub(crate) fn answers_as_the_rules_do<L: Ledger>(runtime: &tokio::runtime::Runtime, open: impl AsyncFn() -> L) {
    let steps = prop::collection::vec(step(), 1..30);
    proptest!(ProptestConfig::with_cases(200), |(steps in steps)| {
        runtime.block_on(async {
            let mut ledger = open().await;
            let mut model = Model::default();
            for step in steps {
                match step {
                    Step::Apply(commands) => apply(&ledger, &mut model, &commands).await,
                    Step::Undo => {
                        let refused: Vec<_> = model.undo().into_iter().collect();
                        ledger.undo(&refused).await.expect("it can be undone");
                    }
                    Step::Restart => {
                        ledger = open().await;
                        let snapshots = model.kept.values().map(|snapshot| (FENCE, snapshot.clone())).collect();
                        ledger.restore(snapshots).await.expect("it can be restored");
                    }
                    Step::Prune(days) => {
                        let now = Timestamp::from_millis(i64::from(days) * 86_400_000);
                        ledger.prune(now).await.expect("it can be pruned");
                        model.prune(now);
                    }
                }
                let remaining = ledger.remaining().await.expect("it can be asked");
                assert_eq!(sorted(remaining), model.remaining());
            }
        });
    });
}

async fn apply(ledger: &impl Ledger, model: &mut Model, commands: &[(Command, i64)]) {
    let requests: Vec<_> = commands
        .iter()
        .zip(model.records..)
        .map(|((command, micros), offset)| Request {
            position: position(offset),
            logged_at: Timestamp::from_micros(*micros),
            fence: FENCE,
            command,
        })
        .collect();
    model.records += requests.len() as u64;
    let answers = ledger.apply(&requests).await.expect("it can be asked");
    assert_eq!(answers.len(), requests.len(), "one answer each");
    for (request, answer) in requests.iter().zip(answers) {
        let expected = model.apply(request.command, request.position, request.logged_at);
        assert_eq!(answer, expected, "{:?}", request.command);
    }
}

/// What comes of one command.
async fn ask(ledger: &impl Ledger, command: &Command, logged_at: Timestamp) -> Outcome {
    ask_under(ledger, FENCE, command, logged_at).await
}

/// The same, under a takeover.
async fn ask_under(ledger: &impl Ledger, fence: Fence, command: &Command, logged_at: Timestamp) -> Outcome {
    let request = Request { position: position(7), logged_at, fence, command };
    ledger.apply(&[request]).await.expect("it can be asked")[0].outcome
}

/// All partitions are taken over.
async fn hold(ledger: &impl Ledger, fence: Fence) {
    ledger.hold(&(0..64).map(|partition| (partition, fence)).collect()).await.expect("it can be held");
}

/// A session that was opened and whose opening was never committed is restored by no takeover, and is not there for it.
pub(crate) async fn forgets_what_an_earlier_takeover_opened(ledger: &impl Ledger) {
    assert_eq!(ask(ledger, &open(0, 3), RELEASE).await, Outcome::Applied);
    assert_eq!(ask(ledger, &book(1, 1, 0), RELEASE).await, Outcome::Booked { number: 1 });
    let later = FENCE + 1;
    hold(ledger, later).await;
    assert_eq!(ask_under(ledger, later, &book(1, 1, 0), RELEASE).await, Outcome::Rejected(Reason::UnknownSession));
    assert_eq!(ask_under(ledger, later, &open(0, 3), RELEASE).await, Outcome::Applied);
    assert_eq!(ask_under(ledger, later, &book(2, 2, 0), RELEASE).await, Outcome::Booked { number: 1 });
    // What was restored stays, though another takeover opened it.
    let snapshot = Snapshot { session: session(0, 3, Exclusivity::DepartmentDay), closed: false, holdings: Vec::new() };
    hold(ledger, later + 1).await;
    ledger.restore(vec![(later + 1, snapshot)]).await.expect("it can be restored");
    assert_eq!(ask_under(ledger, later + 1, &book(3, 3, 0), RELEASE).await, Outcome::Booked { number: 1 });
}

/// A patient cancels here and books there; then a takeover restores what its last commit knew, and decides the cancellation
/// once more. It must not take the new booking out of the patient's one appointment a day.
pub(crate) async fn knows_who_holds_two_for_a_moment(ledger: &impl Ledger) {
    for number in [0, 1] {
        ask(ledger, &open(number, 3), RELEASE).await;
    }
    let cancel = |number| {
        let patient_id = "patient-1".parse().expect("valid");
        Command::Cancel(Cancel { ticket: ticket(number), patient_id, session: reference(number - 1) })
    };
    let cancelled = Outcome::Cancelled { number: 1 };
    assert_eq!(ask(ledger, &book(1, 1, 0), RELEASE).await, Outcome::Booked { number: 1 });
    assert_eq!(ask(ledger, &cancel(1), RELEASE).await, cancelled);
    assert_eq!(ask(ledger, &book(2, 1, 1), RELEASE).await, Outcome::Booked { number: 1 });
    let holding = Holding {
        ticket: ticket(1),
        patient_id: "patient-1".parse().expect("valid"),
        number: 1,
        booked_at: 7,
        active: true,
    };
    let session = session(0, 3, Exclusivity::DepartmentDay);
    let before = Snapshot { session, closed: false, holdings: vec![holding] };
    ledger.restore(vec![(FENCE, before)]).await.expect("it can be restored");
    assert_eq!(ask(ledger, &cancel(1), RELEASE).await, cancelled);
    assert_eq!(ask(ledger, &cancel(1), RELEASE).await, cancelled, "twice is once");
    assert_eq!(ask(ledger, &book(3, 1, 0), RELEASE).await, Outcome::Rejected(Reason::AlreadyBooked));
    assert_eq!(ask(ledger, &cancel(2), RELEASE).await, cancelled);
    assert_eq!(ask(ledger, &book(4, 1, 0), RELEASE).await, Outcome::Booked { number: 1 }, "nothing is left over");
}

async fn remaining(ledger: &impl Ledger) -> Vec<(String, u32)> {
    let all = sorted(ledger.remaining().await.expect("it can be asked"));
    all.into_iter().map(|(session, remaining)| (session.into(), remaining)).collect()
}

pub(crate) async fn undoes_what_the_store_refused(ledger: &impl Ledger) {
    ask(ledger, &open(0, 1), RELEASE).await;
    ask(ledger, &open(1, 1), RELEASE).await;
    assert_eq!(ask(ledger, &book(1, 1, 0), RELEASE).await, Outcome::Booked { number: 1 });
    assert_eq!(ask(ledger, &book(2, 2, 0), RELEASE).await, Outcome::Rejected(Reason::SoldOut));
    let sold_out = decision(book(2, 2, 0), Outcome::Rejected(Reason::SoldOut));
    ledger.undo(&[sold_out]).await.expect("it can be undone");
    assert_eq!(remaining(ledger).await, [("session-0".into(), 0), ("session-1".into(), 1)], "a refusal took nothing");
    let refused = [decision(book(1, 1, 0), Outcome::Booked { number: 1 }), decision(open(1, 1), Outcome::Applied)];
    for _ in 0..2 {
        ledger.undo(&refused).await.expect("it can be undone, also again");
        assert_eq!(remaining(ledger).await, [("session-0".into(), 1)]);
    }
    assert_eq!(ask(ledger, &book(3, 1, 1), RELEASE).await, Outcome::Rejected(Reason::UnknownSession));
    assert_eq!(ask(ledger, &book(1, 1, 0), RELEASE).await, Outcome::Booked { number: 1 }, "its ticket is new again");
}

pub(crate) async fn forgets_days_that_are_past(ledger: &impl Ledger) {
    for number in [0, 4, 8] {
        assert_eq!(ask(ledger, &open(number, 2), RELEASE).await, Outcome::Applied);
    }
    let at = |day: i64| Timestamp::from_millis(day * 86_400_000);
    ledger.prune(at(2)).await.expect("it can be pruned");
    assert_eq!(remaining(ledger).await.len(), 3, "somewhere it may still be that day");
    ledger.prune(at(3)).await.expect("it can be pruned");
    assert_eq!(remaining(ledger).await, [("session-4".into(), 2), ("session-8".into(), 2)]);
    assert_eq!(ask(ledger, &book(1, 1, 0), at(3)).await, Outcome::Rejected(Reason::Expired), "as if it were known");
    ledger.prune(at(100)).await.expect("it can be pruned");
    assert_eq!(remaining(ledger).await, []);
}

pub(crate) async fn restores_one_session_and_leaves_the_others(ledger: &impl Ledger) {
    for number in [0, 1] {
        ask(ledger, &open(number, 3), RELEASE).await;
    }
    ask(ledger, &book(1, 1, 0), RELEASE).await;
    ask(ledger, &book(2, 2, 1), RELEASE).await;
    let held = |ticket_number: u8, patient: u8, number, active| Holding {
        ticket: ticket(ticket_number),
        patient_id: format!("patient-{patient}").parse().expect("valid"),
        number,
        booked_at: 42,
        active,
    };
    let snapshot = Snapshot {
        session: session(0, 3, Exclusivity::DepartmentDay),
        closed: false,
        holdings: vec![held(3, 3, 2, true), held(4, 4, 1, false)],
    };
    ledger.restore(vec![(FENCE, snapshot)]).await.expect("it can be restored");
    assert_eq!(remaining(ledger).await, [("session-0".into(), 2), ("session-1".into(), 2)]);
    assert_eq!(ask(ledger, &book(3, 3, 0), RELEASE).await, Outcome::Repeat { first: 42 });
    assert_eq!(ask(ledger, &book(4, 4, 0), RELEASE).await, Outcome::Repeat { first: 42 }, "cancelled, never again");
    assert_eq!(ask(ledger, &book(5, 3, 1), RELEASE).await, Outcome::Rejected(Reason::AlreadyBooked));
    assert_eq!(ask(ledger, &book(6, 2, 0), RELEASE).await, Outcome::Rejected(Reason::AlreadyBooked), "session 1 stays");
    assert_eq!(ask(ledger, &book(7, 1, 0), RELEASE).await, Outcome::Booked { number: 1 }, "ticket 1 is forgotten");
    assert_eq!(ask(ledger, &book(8, 5, 0), RELEASE).await, Outcome::Booked { number: 3 });
}

pub(crate) async fn keeps_nothing_of_what_it_does_not_know(ledger: &impl Ledger) {
    for number in 0..12 {
        assert_eq!(
            ask(ledger, &book(number, number, number), RELEASE).await,
            Outcome::Rejected(Reason::UnknownSession)
        );
    }
    assert_eq!(remaining(ledger).await, []);
    let unknown = [decision(book(1, 1, 1), Outcome::Booked { number: 1 }), decision(open(2, 1), Outcome::Applied)];
    ledger.undo(&unknown).await.expect("it can be undone");
    assert_eq!(remaining(ledger).await, []);
}
