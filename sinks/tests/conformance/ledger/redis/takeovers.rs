//! Several processes on one Redis: whoever was overtaken by another can change nothing.

use std::collections::{BTreeMap, BTreeSet};

use ::redis::AsyncCommands as _;
use ::redis::aio::MultiplexedConnection;
use orderly_domain::port::ledger::Doubt;
use orderly_domain::port::store::SessionState;
use orderly_stack::redis::Options as Server;

use super::*;

fn is_fenced<T: std::fmt::Debug>(answer: &port::Result<T>) {
    assert!(matches!(answer, Err(port::Error::Fenced { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_process_that_lost_its_partition_changes_nothing() {
    let options = options(vec![shared().url()]);
    let (zombie, owner) = (open(options.clone()).await, open(options).await);
    zombie.restore(vec![(3, snapshot(0, 5, 1))]).await.unwrap();
    assert_eq!(ask_under(&zombie, 3, &book(2, 2, 0)).await.unwrap(), Outcome::Booked { number: 2 });
    // The store had only the first booking: the second was never committed.
    owner.restore(vec![(4, snapshot(0, 5, 1))]).await.unwrap();
    let close = Command::CloseSession(CloseSession { session: reference(0), cause: "ill".into() });
    for command in [book(2, 2, 0), book(3, 3, 0), super::super::open(0, 9), close] {
        is_fenced(&ask_under(&zombie, 3, &command).await);
    }
    is_fenced(&zombie.undo(&[Decision { fence: 3, ..decision(book(1, 1, 0), Outcome::Booked { number: 1 }) }]).await);
    is_fenced(&zombie.restore(vec![(3, snapshot(0, 5, 2))]).await);
    assert_eq!(remaining(&owner).await, [("session-0".into(), 4)]);
    assert_eq!(ask_under(&owner, 4, &book(3, 3, 0)).await.unwrap(), Outcome::Booked { number: 2 });
    assert_eq!(ask_under(&owner, 4, &book(1, 1, 0)).await.unwrap(), Outcome::Booked { number: 1 });
}

/// Nothing of a call is written when one of its sessions is fenced.
#[tokio::test]
async fn a_call_is_carried_out_whole_or_not_at_all() {
    let options = options(vec![shared().url()]);
    let (zombie, owner) = (open(options.clone()).await, open(options).await);
    zombie.restore(vec![(1, snapshot(0, 5, 0)), (1, snapshot(1, 5, 0))]).await.unwrap();
    owner.restore(vec![(2, snapshot(1, 5, 0))]).await.unwrap();
    let commands = [book(1, 1, 0), book(2, 2, 1)];
    let requests =
        commands.each_ref().map(|command| Request { position: position(7), logged_at: RELEASE, fence: 1, command });
    is_fenced(&zombie.apply(&requests).await);
    assert_eq!(remaining(&owner).await, [("session-0".into(), 5), ("session-1".into(), 5)]);
}

/// What an earlier takeover opened and nobody restored was never committed.
#[tokio::test]
async fn what_was_not_restored_is_not_there() {
    let options = options(vec![shared().url()]);
    let before = open(options.clone()).await;
    ask_under(&before, 1, &super::super::open(0, 5)).await.unwrap();
    ask_under(&before, 1, &book(1, 1, 0)).await.unwrap();
    let owner = open(options).await;
    assert_eq!(ask_under(&owner, 2, &book(1, 1, 0)).await.unwrap(), Outcome::Rejected(Reason::UnknownSession));
    assert_eq!(ask_under(&owner, 2, &super::super::open(0, 3)).await.unwrap(), Outcome::Applied);
    assert_eq!(remaining(&owner).await, [("session-0".into(), 3)], "it is empty");
    assert_eq!(ask_under(&owner, 2, &book(1, 1, 0)).await.unwrap(), Outcome::Booked { number: 1 });
    is_fenced(&ask_under(&before, 1, &book(2, 2, 0)).await);
}

/// Takeovers are counted by partition: those of another doctor's say nothing.
#[tokio::test]
async fn another_doctors_takeovers_do_not_count() {
    let options = options(vec![shared().url()]);
    let (owner, other) = (open(options.clone()).await, open(options).await);
    owner.restore(vec![(9, snapshot(0, 5, 0))]).await.unwrap();
    let mut session = session(0, 5, Exclusivity::DepartmentDay);
    session.doctor_id = "doctor-else".parse().unwrap();
    let Command::Book(mut booking) = book(1, 1, 0) else { unreachable!() };
    booking.session.doctor_id = session.doctor_id.clone();
    assert_eq!(ask_under(&other, 1, &Command::Book(booking)).await.unwrap(), Outcome::Rejected(Reason::UnknownSession));
    let conflict = ask_under(&other, 1, &Command::OpenSession(Box::new(session))).await.unwrap();
    assert_eq!(conflict, Outcome::Rejected(Reason::SessionConflict));
    assert_eq!(ask_under(&owner, 9, &book(1, 1, 0)).await.unwrap(), Outcome::Booked { number: 1 });
}

/// Two owners of doctors of one department share its rule: one appointment a patient and day.
#[tokio::test]
async fn owners_share_a_departments_day() {
    let options = options(vec![shared().url()]);
    let (one, other) = (open(options.clone()).await, open(options).await);
    one.restore(vec![(3, snapshot(0, 5, 0))]).await.unwrap();
    other.restore(vec![(8, snapshot(1, 5, 0))]).await.unwrap();
    assert_eq!(ask_under(&one, 3, &book(1, 1, 0)).await.unwrap(), Outcome::Booked { number: 1 });
    assert_eq!(ask_under(&other, 8, &book(2, 1, 1)).await.unwrap(), Outcome::Rejected(Reason::AlreadyBooked));
    let Command::Book(Book { ticket, patient_id, session, .. }) = book(1, 1, 0) else { unreachable!() };
    let cancel = Command::Cancel(Cancel { ticket, patient_id, session });
    let cancelled = Outcome::Cancelled { number: 1 };
    assert_eq!(ask_under(&one, 3, &cancel).await.unwrap(), cancelled);
    settle(&one, [(cancel, cancelled)]).await;
    assert_eq!(ask_under(&other, 8, &book(2, 1, 1)).await.unwrap(), Outcome::Booked { number: 1 });
}

/// Redis forgets, or comes back old, and one of two owners notices first: it knows at once who holds appointments with the other.
#[tokio::test]
async fn an_owner_knows_what_the_ledger_lost_of_its_neighbours() {
    let mut redis = own(orderly_stack::redis::Options::default());
    let options = Options { connections: 1, ..options(vec![redis.server.url()]) };
    let (one, other) = (open(options.clone()).await, open(options).await);
    for empty in [true, false] {
        one.restore(vec![(3, snapshot(0, 5, 0))]).await.unwrap();
        other.restore(vec![(8, snapshot(1, 5, 0))]).await.unwrap();
        redis.server.ask("SAVE").unwrap();
        assert_eq!(ask_under(&other, 8, &book(1, 1, 1)).await.unwrap(), Outcome::Booked { number: 1 });
        let state = SessionState {
            session: session(1, 5, Exclusivity::DepartmentDay),
            closed: false,
            booked: 1,
            changed_at: position(7),
        };
        let states = std::slice::from_ref(&state);
        assert!(one.behind(states).await.unwrap().is_empty(), "it has lost nothing");
        if empty {
            redis.server.ask("FLUSHALL").unwrap();
        } else {
            redis.server.restart().unwrap();
        }
        while one.restore(vec![(3, snapshot(0, 5, 0))]).await.is_err() {}
        assert_eq!(one.behind(states).await.unwrap().len(), 1, "session-1");
        one.lend(vec![(8, snapshot(1, 5, 1))], Doubt::Behind).await.unwrap();
        assert!(one.behind(states).await.unwrap().is_empty());
        assert_eq!(remaining(&one).await, [("session-0".into(), 5)], "its owner has not restored it");
        let refused = Outcome::Rejected(Reason::AlreadyBooked);
        assert_eq!(ask_under(&one, 3, &book(2, 1, 0)).await.unwrap(), refused);
        while ask_under(&other, 8, &book(1, 1, 1)).await.is_err_and(|error| !matches!(error, port::Error::Lost(_))) {}
        is_lost(&ask_under(&other, 8, &book(3, 3, 1)).await);
        other.restore(vec![(8, snapshot(1, 5, 1))]).await.unwrap();
        one.lend(vec![(8, snapshot(1, 5, 1))], Doubt::Behind).await.unwrap();
        let Command::Book(Book { ticket, patient_id, session, .. }) = book(1, 1, 1) else { unreachable!() };
        let cancel = Command::Cancel(Cancel { ticket, patient_id, session });
        let cancelled = Outcome::Cancelled { number: 1 };
        assert_eq!(ask_under(&other, 8, &cancel).await.unwrap(), cancelled);
        settle(&other, [(cancel, cancelled)]).await;
        assert_eq!(ask_under(&one, 3, &book(2, 1, 0)).await.unwrap(), Outcome::Booked { number: 1 });
    }
}

/// Releases that were decided and committed.
async fn settle(ledger: &dyn Ledger, released: [(Command, Outcome); 1]) {
    let decision = |(command, outcome)| Decision {
        position: position(1),
        logged_at: Timestamp::from_micros(1_000),
        fence: 8,
        command: Some(command),
        outcome,
    };
    ledger.settle(&released.map(decision)).await.expect("it can be told");
}

/// What one process has cancelled or closed frees its patients for the others when it is committed, and for itself at once.
#[tokio::test]
async fn a_release_is_seen_by_others_once_it_is_committed() {
    let redis = own(orderly_stack::redis::Options::default());
    let options = options(vec![redis.server.url()]);
    let (one, other) = (open(options.clone()).await, open(options.clone()).await);
    one.restore(vec![(3, snapshot(0, 5, 0))]).await.unwrap();
    other.restore(vec![(8, snapshot(1, 5, 1))]).await.unwrap();
    let refused = Outcome::Rejected(Reason::AlreadyBooked);
    let of = |command| {
        let Command::Book(Book { ticket, patient_id, session, .. }) = command else { unreachable!() };
        Command::Cancel(Cancel { ticket, patient_id, session })
    };
    let (first, cancelled) = (of(book(1, 1, 1)), Outcome::Cancelled { number: 1 });
    assert_eq!(ask_under(&other, 8, &first).await.unwrap(), cancelled);
    assert_eq!(ask_under(&one, 3, &book(2, 1, 0)).await.unwrap(), refused);
    let (session, changed_at) = (session(1, 5, Exclusivity::DepartmentDay), position(7));
    let in_store = SessionState { session: session.clone(), closed: false, booked: 1, changed_at };
    assert!(one.behind(&[in_store]).await.unwrap().is_empty(), "it is not lost");
    one.lend(vec![(8, snapshot(1, 5, 1))], Doubt::Behind).await.unwrap();
    assert_eq!(ask_under(&other, 8, &book(3, 3, 1)).await.unwrap(), Outcome::Booked { number: 1 }, "the place is free");
    assert_eq!(
        ask_under(&other, 8, &book(4, 1, 1)).await.unwrap(),
        Outcome::Booked { number: 2 },
        "it knows of itself"
    );
    settle(&other, [(first, cancelled)]).await;
    assert_eq!(ask_under(&one, 3, &book(5, 1, 0)).await.unwrap(), refused, "there is another one now");

    // Whoever takes over finds nothing of what was not committed; nor does a word that comes late mean anything then.
    let (second, cancelled) = (of(book(4, 1, 1)), Outcome::Cancelled { number: 2 });
    assert_eq!(ask_under(&other, 8, &second).await.unwrap(), cancelled);
    let heir = open(options).await;
    heir.restore(vec![(9, snapshot(1, 5, 1))]).await.unwrap();
    settle(&other, [(second, cancelled)]).await;
    assert_eq!(ask_under(&one, 3, &book(6, 1, 0)).await.unwrap(), refused);

    let close = Command::CloseSession(CloseSession { session: session.reference(), cause: "ill".into() });
    assert_eq!(ask_under(&heir, 9, &close).await.unwrap(), Outcome::Applied);
    assert_eq!(ask_under(&one, 3, &book(7, 1, 0)).await.unwrap(), refused);
    for _ in 0..2 {
        settle(&heir, [(close.clone(), Outcome::Applied)]).await;
    }
    assert_eq!(ask_under(&one, 3, &book(8, 1, 0)).await.unwrap(), Outcome::Booked { number: 1 });
    let reopen = Command::OpenSession(Box::new(session));
    assert_eq!(ask_under(&heir, 9, &reopen).await.unwrap(), Outcome::Applied);
    assert_eq!(ask_under(&heir, 9, &book(9, 1, 1)).await.unwrap(), refused, "telling it twice frees nobody else");
}

/// The store has an appointment that the ledger does not know of, though it knows of as many.
#[tokio::test]
async fn an_owner_tells_the_ledger_what_its_neighbour_has() {
    let redis = own(orderly_stack::redis::Options::default());
    let options = options(vec![redis.server.url()]);
    let (one, other) = (open(options.clone()).await, open(options).await);
    one.restore(vec![(3, snapshot(0, 5, 0))]).await.unwrap();
    other.restore(vec![(8, snapshot(1, 5, 0))]).await.unwrap();
    assert_eq!(ask_under(&other, 8, &book(3, 3, 1)).await.unwrap(), Outcome::Booked { number: 1 });
    let in_store = || vec![(8, snapshot(1, 5, 1))];
    one.lend(in_store(), Doubt::Behind).await.unwrap();
    assert_eq!(ask_under(&one, 3, &book(2, 1, 0)).await.unwrap(), Outcome::Booked { number: 1 }, "it is not doubted");

    one.restore(vec![(3, snapshot(0, 5, 0))]).await.unwrap();
    one.lend(in_store(), Doubt::Ignorant).await.unwrap();
    let refused = Outcome::Rejected(Reason::AlreadyBooked);
    assert_eq!(ask_under(&one, 3, &book(2, 1, 0)).await.unwrap(), refused);
    assert_eq!(ask_under(&one, 3, &book(4, 3, 0)).await.unwrap(), Outcome::Booked { number: 1 });
    is_lost(&ask_under(&other, 8, &book(5, 5, 1)).await);
    other.restore(vec![(9, snapshot(1, 5, 1))]).await.unwrap();
    one.lend(in_store(), Doubt::Ignorant).await.unwrap();
    assert_eq!(ask_under(&other, 9, &book(5, 5, 1)).await.unwrap(), Outcome::Booked { number: 2 }, "a later one stays");
}

/// A cancellation that is committed while a neighbour tells the ledger what was there before it frees its patient all the same.
#[tokio::test]
async fn a_release_is_not_lost_when_its_session_is_lent() {
    let options = options(vec![shared().url()]);
    let (one, other) = (open(options.clone()).await, open(options).await);
    one.restore(vec![(3, snapshot(0, 5, 0))]).await.unwrap();
    other.restore(vec![(8, snapshot(1, 5, 2))]).await.unwrap();
    let Command::Book(Book { ticket, patient_id, session, .. }) = book(1, 1, 1) else { unreachable!() };
    let (cancel, cancelled) =
        (Command::Cancel(Cancel { ticket, patient_id, session }), Outcome::Cancelled { number: 1 });
    assert_eq!(ask_under(&other, 8, &cancel).await.unwrap(), cancelled);
    one.lend(vec![(8, snapshot(1, 5, 2))], Doubt::Ignorant).await.unwrap();
    let refused = Outcome::Rejected(Reason::AlreadyBooked);
    assert_eq!(ask_under(&one, 3, &book(3, 1, 0)).await.unwrap(), refused);
    for _ in 0..2 {
        settle(&other, [(cancel.clone(), cancelled)]).await;
    }
    assert_eq!(ask_under(&one, 3, &book(4, 1, 0)).await.unwrap(), Outcome::Booked { number: 1 });
    assert_eq!(ask_under(&one, 3, &book(5, 2, 0)).await.unwrap(), refused, "who has not cancelled holds it still");
}

/// What happens to a Redis that outlives the processes which use it.
#[derive(Clone, Debug)]
enum Turn {
    Apply(Vec<(Command, i64)>),
    Undo,
    /// Another process takes over, restores what the store has, and finds what the one before it left.
    Takeover,
    /// It is emptied behind the owner's back.
    Flush,
    Prune(u8),
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        20 => prop::collection::vec((command(), 0_i64..12_000), 1..20).prop_map(Turn::Apply),
        4 => Just(Turn::Undo),
        3 => Just(Turn::Takeover),
        2 => Just(Turn::Flush),
        1 => (0_u8..6).prop_map(Turn::Prune),
    ]
}

/// An owner and the takeover under which it works.
struct Owner {
    ledger: Redis,
    fence: Fence,
}

impl Owner {
    async fn take_over(before: Option<Self>, options: &Options, model: &Model) -> Self {
        let fence = before.map_or(1, |before| before.fence + 1);
        let ledger = open(options.clone()).await;
        ledger
            .restore(model.kept.values().map(|kept| (fence, kept.clone())).collect())
            .await
            .expect("it can be restored");
        Self { ledger, fence }
    }

    async fn apply(&self, model: &mut Model, commands: &[(Command, i64)]) -> bool {
        let (fence, first) = (self.fence, model.records);
        let request = |((command, micros), offset): (&'_ (Command, i64), u64)| {
            (position(offset), Timestamp::from_micros(*micros), command.clone())
        };
        let asked: Vec<_> = commands.iter().zip(first..).map(request).collect();
        let requests: Vec<_> = asked
            .iter()
            .map(|(position, logged_at, command)| Request {
                position: *position,
                logged_at: *logged_at,
                fence,
                command,
            })
            .collect();
        let answers = match self.ledger.apply(&requests).await {
            Ok(answers) => answers,
            Err(port::Error::Lost(_)) => return false,
            Err(error) => panic!("{error}"),
        };
        model.records += requests.len() as u64;
        for (request, answer) in requests.iter().zip(answers) {
            let expected = model.apply(request.command, request.position, request.logged_at);
            assert_eq!(answer, expected, "{:?}", request.command);
        }
        // Asked again about the last record, it says the same: an answer may be lost on its way.
        if let Some(last) = requests.last() {
            let again = self.ledger.apply(&[*last]).await.expect("it can be asked")[0].outcome;
            let expected =
                model.days[&key_of(last.command)].clone().apply(last.command, last.position.offset, last.logged_at);
            assert_eq!(again, expected.outcome, "{:?}", last.command);
        }
        true
    }
}

fn key_of(command: &Command) -> (DepartmentId, Date) {
    let (department, date) = command.department_day();
    (department.clone(), date)
}

#[test]
fn answers_as_the_rules_do_whatever_was_left_behind() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let redis = own(orderly_stack::redis::Options::default());
    let turns = prop::collection::vec(turn(), 1..40);
    proptest!(ProptestConfig::with_cases(150), |(turns in turns)| {
        runtime.block_on(async {
            redis.server.ask("FLUSHALL").unwrap();
            let options = options(vec![redis.server.url()]);
            let mut model = Model::default();
            let mut owner = Owner::take_over(None, &options, &model).await;
            for turn in turns {
                match turn {
                    Turn::Apply(commands) => {
                        if !owner.apply(&mut model, &commands).await {
                            owner = Owner::take_over(Some(owner), &options, &model).await;
                            assert!(owner.apply(&mut model, &commands).await, "it was restored");
                        }
                    }
                    Turn::Undo => {
                        let refused: Vec<_> = model.undo().into_iter().collect();
                        let refused: Vec<_> =
                            refused.into_iter().map(|decision| Decision { fence: owner.fence, ..decision }).collect();
                        match owner.ledger.undo(&refused).await {
                            Ok(()) => {}
                            Err(port::Error::Lost(_)) => {
                                owner = Owner::take_over(Some(owner), &options, &model).await;
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                    Turn::Takeover => owner = Owner::take_over(Some(owner), &options, &model).await,
                    Turn::Flush => {
                        redis.server.ask("FLUSHALL").unwrap();
                        redis.server.ask("SCRIPT FLUSH").unwrap();
                        continue;
                    }
                    Turn::Prune(days) => {
                        let now = Timestamp::from_millis(i64::from(days) * 86_400_000);
                        owner.ledger.prune(now).await.unwrap();
                        model.prune(now);
                    }
                }
            }
            owner = Owner::take_over(Some(owner), &options, &model).await;
            assert_eq!(sorted(owner.ledger.remaining().await.unwrap()), model.remaining());
        });
    });
}

/// What Redis holds of a department's day, but for the sessions' fences and versions, and the callers' numbers.
async fn held(connection: &mut MultiplexedConnection) -> BTreeMap<String, BTreeSet<(Vec<u8>, Vec<u8>)>> {
    let keys: Vec<String> = ::redis::cmd("KEYS").arg("*").query_async(connection).await.expect("Redis answers");
    let mut held = BTreeMap::new();
    for key in keys {
        let members: Vec<(Vec<u8>, Vec<u8>)> = match key.rsplit(':').next() {
            Some("tickets" | "holders") => connection.hgetall(&key).await.expect("Redis answers"),
            Some("bookings" | "free") => connection.zrange_withscores(&key, 0, -1).await.expect("Redis answers"),
            _ => continue,
        };
        held.insert(key, members.into_iter().collect());
    }
    held
}

/// Most of what a node that died leaves is as the store has it: a restore writes the rest.
#[tokio::test]
async fn a_restore_writes_what_differs() {
    let redis = own(Server::default());
    let options = options(vec![redis.server.url()]);
    let client = ::redis::Client::open(options.urls[0].as_str()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let writes = |connection: &MultiplexedConnection| {
        let mut connection = connection.clone();
        async move {
            let told: String = ::redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.unwrap();
            let of = |name: &str| told.lines().any(|line| line.starts_with(&format!("cmdstat_{name}:")));
            (of("zadd"), of("hincrby"), of("hdel"))
        }
    };
    let mut snapshot = snapshot(0, 9, 3);
    snapshot.holdings[2].active = false;
    let dead = open(options.clone()).await;
    dead.restore(vec![(1, snapshot.clone())]).await.unwrap();
    let committed = held(&mut connection).await;
    assert_eq!(committed.values().map(BTreeSet::len).collect::<Vec<_>>(), [3, 2, 3], "{committed:?}");

    // It books and cancels, and does not come to commit that.
    assert_eq!(ask_under(&dead, 1, &book(5, 5, 0)).await.unwrap(), Outcome::Booked { number: 3 });
    let Command::Book(Book { ticket, patient_id, session, .. }) = book(1, 1, 0) else { unreachable!() };
    let cancel = Command::Cancel(Cancel { ticket, patient_id, session });
    assert_eq!(ask_under(&dead, 1, &cancel).await.unwrap(), Outcome::Cancelled { number: 1 });
    assert_ne!(held(&mut connection).await, committed);
    let owner = open(options).await;
    owner.restore(vec![(2, snapshot.clone())]).await.unwrap();
    assert_eq!(held(&mut connection).await, committed);

    redis.server.ask("CONFIG RESETSTAT").unwrap();
    owner.restore(vec![(3, snapshot.clone())]).await.unwrap();
    assert_eq!(writes(&connection).await, (false, false, false), "nothing differs");
    assert_eq!(held(&mut connection).await, committed);

    // Somebody lost who holds what.
    let holders = committed.keys().find(|key| key.ends_with(":holders")).unwrap();
    let _: () = ::redis::cmd("DEL").arg(holders).query_async(&mut connection).await.unwrap();
    owner.restore(vec![(4, snapshot)]).await.unwrap();
    assert_eq!(held(&mut connection).await, committed);
}
