//! What happens when Redis forgets, stops, or is not what it was.

use std::time::Duration;

use nix::sys::signal::Signal;
use orderly_stack::proxy::{Proxy, Way};
use orderly_stack::redis::Options as Server;

use super::*;

/// No test waits for this.
const PATIENT: Duration = Duration::from_secs(60);
/// Every test that needs a silent server waits for this once.
const BRIEF: Duration = Duration::from_millis(200);

/// A ledger that knows a session of two numbers, one of them booked.
pub(super) async fn with_a_booking(options: Options) -> Redis {
    let ledger = open(options).await;
    assert_eq!(ask_under(&ledger, 1, &open_session()).await.expect("it is answered"), Outcome::Applied);
    assert_eq!(ask_under(&ledger, 1, &book(1, 1, 0)).await.expect("it is answered"), Outcome::Booked { number: 1 });
    ledger
}

pub(super) fn open_session() -> Command {
    super::super::open(0, 2)
}

/// Nothing is answered until it is restored; then all is as the rules say.
pub(super) async fn is_lost_until_restored(ledger: &Redis) {
    for command in [book(1, 1, 0), book(2, 2, 0), open_session()] {
        is_lost(&ask_under(ledger, 1, &command).await);
    }
    let undone = ledger.undo(&[decision(book(1, 1, 0), Outcome::Booked { number: 1 })]).await;
    assert!(matches!(undone, Err(port::Error::Lost(_))), "{undone:?}");
    ledger.restore(vec![(2, snapshot(0, 2, 1))]).await.expect("it can be restored");
    assert_eq!(ask_under(ledger, 2, &book(1, 1, 0)).await.expect("it is answered"), Outcome::Booked { number: 1 });
    assert_eq!(
        ask_under(ledger, 2, &book(2, 1, 0)).await.expect("it is answered"),
        Outcome::Rejected(Reason::AlreadyBooked)
    );
    assert_eq!(ask_under(ledger, 2, &book(3, 3, 0)).await.expect("it is answered"), Outcome::Booked { number: 2 });
    assert_eq!(remaining(ledger).await, [("session-0".into(), 0)]);
}

#[tokio::test]
async fn says_that_it_was_flushed() {
    let redis = own(Server::default());
    let ledger = with_a_booking(options(vec![redis.server.url()])).await;
    redis.server.ask("FLUSHALL").unwrap();
    is_lost_until_restored(&ledger).await;
}

/// What was never committed is restored by nobody: it must not be missed for ever.
#[tokio::test]
async fn does_not_miss_what_no_takeover_restored() {
    let redis = own(Server::default());
    let ledger = open(options(vec![redis.server.url()])).await;
    for number in [0, 1] {
        assert_eq!(ask_under(&ledger, 1, &super::super::open(number, 2)).await.unwrap(), Outcome::Applied);
    }
    redis.server.ask("FLUSHALL").unwrap();
    is_lost(&ask_under(&ledger, 1, &book(1, 1, 0)).await);
    hold(&ledger, 2).await;
    let unknown = Outcome::Rejected(Reason::UnknownSession);
    assert_eq!(ask_under(&ledger, 2, &book(1, 1, 0)).await.unwrap(), unknown);
}

#[tokio::test]
async fn says_that_an_old_copy_came_back() {
    let mut redis = own(Server::default());
    let ledger = open(options(vec![redis.server.url()])).await;
    ask_under(&ledger, 1, &open_session()).await.unwrap();
    redis.server.ask("SAVE").unwrap();
    assert_eq!(ask_under(&ledger, 1, &book(1, 1, 0)).await.unwrap(), Outcome::Booked { number: 1 });
    redis.server.restart().unwrap();
    reach(&ledger).await;
    assert_eq!(remaining(&ledger).await, [("session-0".into(), 2)], "the copy is from before the booking");
    is_lost_until_restored(&ledger).await;
}

#[tokio::test]
async fn goes_on_after_a_restart_that_lost_nothing() {
    let mut redis =
        own(Server { append_only: true, config: vec![("appendfsync".into(), "always".into())], ..Server::default() });
    let ledger = with_a_booking(options(vec![redis.server.url()])).await;
    redis.server.restart().unwrap();
    reach(&ledger).await;
    assert_eq!(ask_under(&ledger, 1, &book(1, 1, 0)).await.unwrap(), Outcome::Booked { number: 1 });
    assert_eq!(ask_under(&ledger, 1, &book(2, 2, 0)).await.unwrap(), Outcome::Booked { number: 2 });
}

/// The connections from before a restart are found to be closed; others are made.
pub(super) async fn reach(ledger: &Redis) {
    let closed = |error: &port::Error| matches!(error, port::Error::MayHaveHappened(_) | port::Error::DidNotHappen(_));
    while ledger.remaining().await.is_err_and(|error| closed(&error)) {}
    while ask_under(ledger, 1, &Command::Cancel(unknown())).await.is_err_and(|error| closed(&error)) {}
}

/// A cancellation of a booking that was never made.
fn unknown() -> Cancel {
    Cancel { ticket: ticket(99), patient_id: "nobody".parse().expect("valid"), session: reference(0) }
}

#[tokio::test]
async fn answers_the_same_after_a_silence() {
    let redis = own(Server::default());
    let options = Options { response_timeout: BRIEF, ..options(vec![redis.server.url()]) };
    let ledger = with_a_booking(options).await;
    redis.server.process().signal(Signal::SIGSTOP).unwrap();
    let silent = ask_under(&ledger, 1, &book(2, 2, 0)).await;
    assert!(matches!(silent, Err(port::Error::MayHaveHappened(_))), "{silent:?}");
    // The connection is gone; a new one is taken by the kernel, and answered by nobody.
    let silent = ask_under(&ledger, 1, &book(2, 2, 0)).await;
    assert!(matches!(silent, Err(port::Error::DidNotHappen(_))), "{silent:?}");
    redis.server.process().signal(Signal::SIGCONT).unwrap();
    assert_eq!(until_answered(&ledger, &book(2, 2, 0)).await, Outcome::Booked { number: 2 });
    assert_eq!(remaining(&ledger).await, [("session-0".into(), 0)], "it was booked once");
}

/// Asks until there is an answer, as the pipeline does.
async fn until_answered(ledger: &Redis, command: &Command) -> Outcome {
    loop {
        match ask_under(ledger, 1, command).await {
            Ok(outcome) => return outcome,
            Err(port::Error::MayHaveHappened(_) | port::Error::DidNotHappen(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn says_that_nobody_is_there() {
    let redis = own(Server::default());
    let options = options(vec![redis.server.url()]);
    let ledger = with_a_booking(options.clone()).await;
    redis.server.process().kill().unwrap();
    let lost = ask_under(&ledger, 1, &book(2, 2, 0)).await;
    assert!(matches!(lost, Err(port::Error::MayHaveHappened(_) | port::Error::DidNotHappen(_))), "{lost:?}");
    let refused = ask_under(&ledger, 1, &book(2, 2, 0)).await;
    assert!(matches!(refused, Err(port::Error::DidNotHappen(_))), "{refused:?}");
    let refused = Redis::open(options, pseudonyms(), &Registry::new()).await;
    assert!(matches!(refused, Err(port::Error::DidNotHappen(_))));
}

#[tokio::test]
async fn refuses_a_server_that_throws_keys_away() {
    let redis = own(Server { config: vec![("maxmemory-policy".into(), "allkeys-lru".into())], ..Server::default() });
    let refused = Redis::open(options(vec![redis.server.url()]), pseudonyms(), &Registry::new()).await;
    let Err(port::Error::DidNotHappen(text)) = refused else { panic!("it was opened") };
    assert!(text.contains("allkeys-lru") && text.contains("CONFIG SET maxmemory-policy noeviction"), "{text}");
    redis.server.ask("CONFIG SET maxmemory-policy noeviction").unwrap();
    open(options(vec![redis.server.url()])).await;
}

#[tokio::test]
async fn changes_nothing_when_memory_is_full() {
    let redis = own(Server::default());
    let ledger = with_a_booking(options(vec![redis.server.url()])).await;
    redis.server.ask("CONFIG SET maxmemory 1").unwrap();
    for command in [book(2, 2, 0), open_session()] {
        let full = ask_under(&ledger, 1, &command).await;
        assert!(matches!(full, Err(port::Error::StorageFull(_))), "{full:?}");
    }
    assert_eq!(remaining(&ledger).await, [("session-0".into(), 1)]);
    redis.server.ask("CONFIG SET maxmemory 0").unwrap();
    assert_eq!(ask_under(&ledger, 1, &book(2, 2, 0)).await.unwrap(), Outcome::Booked { number: 2 });
}

#[tokio::test]
async fn waits_for_a_server_that_became_a_replica() {
    let (redis, other) = (own(Server::default()), own(Server::default()));
    let ledger = with_a_booking(options(vec![redis.server.url()])).await;
    // It keeps what it has as long as it does not reach its primary.
    other.server.process().signal(Signal::SIGSTOP).unwrap();
    redis.server.ask(&format!("REPLICAOF 127.0.0.1 {}", other.server.port())).unwrap();
    let refused = ask_under(&ledger, 1, &book(2, 2, 0)).await;
    assert!(matches!(refused, Err(port::Error::DidNotHappen(_))), "{refused:?}");
    redis.server.ask("REPLICAOF NO ONE").unwrap();
    assert_eq!(ask_under(&ledger, 1, &book(2, 2, 0)).await.unwrap(), Outcome::Booked { number: 2 });
}

#[tokio::test]
async fn loads_its_scripts_where_they_are_not_known() {
    let redis = own(Server::default());
    let ledger = with_a_booking(options(vec![redis.server.url()])).await;
    redis.server.ask("SCRIPT FLUSH").unwrap();
    assert_eq!(ask_under(&ledger, 1, &book(2, 2, 0)).await.unwrap(), Outcome::Booked { number: 2 });
}

#[tokio::test]
async fn stops_at_keys_that_are_not_its_own() {
    let redis = own(Server::default());
    let ledger = open(Options { prefix: "own:".into(), ..options(vec![redis.server.url()]) }).await;
    redis.server.ask("SET own:{1970-01-01:cardiology}:free nonsense").unwrap();
    let broken = ask_under(&ledger, 1, &open_session()).await;
    assert!(matches!(broken, Err(port::Error::Corrupt(_))), "{broken:?}");
    assert_eq!(redis.server.ask("DBSIZE").unwrap(), "1", "nothing was written");
}

/// A call that was given up may be carried out later, after its repetition and after what followed: it does nothing.
#[tokio::test]
async fn ignores_a_call_that_was_overtaken() {
    let client = ::redis::Client::open(shared().url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let prefix = name("overtaken");
    let keys = ["sessions", "tickets", "holders", "bookings", "free", "calls"].map(|key| format!("{{{prefix}}}{key}"));
    let mut call = async |number: &str, command: &[&str]| {
        let session = ["me", number, "0", "1", "0", "session-0", "doctor-0", "1", "", command[0], "1", "7", "05"];
        let args: Vec<_> = session.iter().chain(&command[1..]).copied().collect();
        let reply: Vec<::redis::Value> = orderly_lua::APPLY.call(&mut connection, &keys, &args).await.unwrap();
        ::redis::from_redis_value::<String>(reply[0].clone()).unwrap()
    };
    let open = ["o", "3", "01", "09", "d"];
    assert_eq!(call("4", &open).await, "OK");
    assert_eq!(call("5", &["x"]).await, "OK");
    for number in ["3", "4", "5"] {
        assert_eq!(call(number, &open).await, "OVERTAKEN");
    }
    let record: String =
        ::redis::cmd("HGET").arg(&keys[0]).arg("session-0").query_async(&mut connection).await.unwrap();
    assert_eq!(record, "1 2 3 0 0 1 d 01 09 doctor-0", "it stays closed");
}

/// An answer is lost, and the same is asked again: each record is told what it was told, though what followed in the same
/// request has filled the session, or freed a number.
#[tokio::test]
async fn a_lost_answer_is_told_again() {
    for batch_max in [1, 1_000] {
        let redis = own(Server::default());
        let proxy = Proxy::start(redis.server.port()).unwrap();
        let through = options(vec![format!("redis://127.0.0.1:{}", proxy.port())]);
        let ledger = with_a_booking(Options { response_timeout: BRIEF, batch_max, ..through }).await;
        let ask = async |first: u64, commands: &[Command], lost: &[u8]| {
            let request =
                |(command, offset)| Request { position: position(offset), logged_at: RELEASE, fence: 1, command };
            let requests: Vec<_> = commands.iter().zip(first..).map(request).collect();
            proxy.set(Way::LoseAnswer(lost.into()));
            let silent = ledger.apply(&requests).await;
            assert!(matches!(silent, Err(port::Error::MayHaveHappened(_))), "{silent:?}");
            assert_eq!(proxy.lost(), first / 10, "it was carried out");
            proxy.set(Way::Forward);
            loop {
                match ledger.apply(&requests).await {
                    Ok(told) => return told.into_iter().map(|admission| admission.outcome).collect::<Vec<_>>(),
                    Err(port::Error::MayHaveHappened(_) | port::Error::DidNotHappen(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let told = ask(10, &[book(2, 1, 0), book(3, 3, 0)], b"booked 2").await;
        assert_eq!(told, [Outcome::Rejected(Reason::AlreadyBooked), Outcome::Booked { number: 2 }]);
        let told = ask(20, &[book(4, 4, 0), cancel(1, 1, 0), book(5, 5, 0)], b"booked 1").await;
        let sold_out = Outcome::Rejected(Reason::SoldOut);
        assert_eq!(told, [sold_out, Outcome::Cancelled { number: 1 }, Outcome::Booked { number: 1 }]);
        assert_eq!(remaining(&ledger).await, [("session-0".into(), 0)]);
    }
}

fn cancel(number: u8, patient: u8, session: u8) -> Command {
    let patient_id = format!("patient-{patient}").parse().expect("valid");
    Command::Cancel(Cancel { ticket: ticket(number), patient_id, session: reference(session) })
}

/// A call is repeated when its answer was lost. Each record gets the answer that it had, unless a number was given out and
/// taken back in between: then nobody can say any more who holds it, and the store has to.
#[tokio::test]
async fn a_call_that_cannot_be_repeated_is_lost() {
    let close = || Command::CloseSession(CloseSession { session: reference(0), cause: "ill".into() });
    let repeat = async |commands: &[Command]| {
        let ledger = open(options(vec![shared().url()])).await;
        assert_eq!(ask_under(&ledger, 1, &open_session()).await.unwrap(), Outcome::Applied);
        let request = |(command, offset)| Request { position: position(offset), logged_at: RELEASE, fence: 1, command };
        let requests: Vec<_> = commands.iter().zip(10..).map(request).collect();
        let first = ledger.apply(&requests).await.unwrap();
        let remaining_before = remaining(&ledger).await;
        let again = ledger.apply(&requests).await;
        assert_eq!(remaining(&ledger).await, remaining_before, "a number is held by whoever was told so");
        match again {
            Ok(again) => {
                // That a session is full may be told earlier.
                let outcomes =
                    |answers: Vec<Admission>| answers.iter().map(|answer| answer.outcome).collect::<Vec<_>>();
                assert_eq!(outcomes(again), outcomes(first));
                true
            }
            Err(port::Error::Lost(_)) => false,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(repeat(&[book(1, 1, 0), book(2, 2, 0), book(3, 3, 0)]).await);
    assert!(repeat(&[open_session(), book(1, 1, 0), cancel(9, 9, 0), book(1, 1, 0)]).await);
    assert!(repeat(&[close(), open_session()]).await);
    assert!(!repeat(&[book(1, 1, 0), close(), open_session(), book(2, 2, 0)]).await, "the first is not held");
    assert!(!repeat(&[close(), open_session(), book(2, 2, 0)]).await, "closing again would take it back");
    assert!(!repeat(&[book(1, 1, 0), cancel(1, 1, 0), book(2, 2, 0)]).await);
    assert!(!repeat(&[cancel(1, 1, 0), book(1, 1, 0)]).await, "cancelling again would take it back");
}

#[tokio::test]
async fn restores_a_large_session_in_parts() {
    let ledger = open(Options { response_timeout: PATIENT, ..options(vec![shared().url()]) }).await;
    let holding = |index: u32| {
        let mut ticket_id = [0; 16];
        ticket_id[..4].copy_from_slice(&index.to_be_bytes());
        Holding {
            ticket: ticket::Id::from_bytes(ticket_id),
            patient_id: format!("patient-{index}").parse().expect("valid"),
            number: index,
            booked_at: u64::from(index),
            // Of the first numbers, every third was given back.
            active: index > 6_000 || !index.is_multiple_of(3),
        }
    };
    let session = session(0, 10_000, Exclusivity::DepartmentDay);
    let snapshot = Snapshot { session, closed: false, holdings: (1..=9_000).map(holding).collect() };
    for _ in 0..2 {
        ledger.restore(vec![(1, snapshot.clone())]).await.unwrap();
        assert_eq!(remaining(&ledger).await, [("session-0".into(), 3_000)]);
    }
    let mut model = DepartmentDay::default();
    model.restore(snapshot);
    let commands: Vec<_> = (0..250).map(|patient| book(patient, patient, 0)).collect();
    let request = |command| Request { position: position(9_001), logged_at: RELEASE, fence: 1, command };
    let requests: Vec<_> = commands.iter().map(request).collect();
    let answers = ledger.apply(&requests).await.unwrap();
    for (command, answer) in commands.iter().zip(answers) {
        assert_eq!(answer, model.apply(command, 9_001, RELEASE), "{command:?}");
    }
    let close = Command::CloseSession(CloseSession { session: reference(0), cause: "ill".into() });
    assert_eq!(ask_under(&ledger, 1, &close).await.unwrap(), Outcome::Applied);
    assert_eq!(ask_under(&ledger, 1, &super::super::open(0, 1)).await.unwrap(), Outcome::Applied, "all are free");
    assert_eq!(ask_under(&ledger, 1, &book(251, 1, 0)).await.unwrap(), Outcome::Booked { number: 1 });
}
