//! A log that is full, busy or silent: nothing is lost, and everybody is told what they may conclude.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use orderly_domain::Timestamp;
use orderly_domain::clock::System;
use orderly_domain::port::IntentLog as _;
use orderly_sinks::log::sqlite;
use prometheus::Registry;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::faults::{Held, Hold, Switches, switched};
use crate::kit::{Kit, Setup, options, problem, retry_after, session, ticket_of};

fn log_options() -> sqlite::Options {
    Setup::default().log
}

async fn outcome(kit: &Kit, patient: &str, ticket: &str) -> Value {
    let path = format!("/v1/tickets/{ticket}?wait_ms=60000");
    kit.patient(patient, Method::GET, &path).send().await.unwrap().json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_log_refuses_loses_nothing_and_goes_on_when_there_is_room() {
    let log = sqlite::Options { size_max_bytes: Some(128 * 1024), ..log_options() };
    let kit = Kit::of(Setup { log, ..Setup::default() }).await;
    kit.open(&[session("s1", "li", 100_000)]).await;
    let (mut taken, mut refused) = (HashMap::new(), Vec::new());
    for round in 0.. {
        let send = |number: u32| {
            let name = format!("p{}", round * 32 + number);
            let answer = kit.booking(&name, "k1", "s1").send();
            async move { (name, answer.await) }
        };
        let mut answers: FuturesUnordered<_> = (0..32).map(send).collect();
        while let Some((name, answer)) = answers.next().await {
            let answer = answer.unwrap();
            if answer.status() == StatusCode::ACCEPTED {
                taken.insert(name, ticket_of(&answer.json().await.unwrap()));
            } else {
                assert!((30..=60).contains(&retry_after(&answer)), "{answer:?}");
                problem(answer, 503, "storage-full").await;
                refused.push(name);
            }
        }
        if refused.len() > 3 {
            break;
        }
    }
    assert!(taken.len() > 100, "there was room for some: {}", taken.len());
    assert_eq!(kit.logged().await, 1 + taken.len() as u64, "what was refused is not there");
    let mut numbers: Vec<_> = Vec::new();
    for (name, ticket) in &taken {
        let view = outcome(&kit, name, ticket).await;
        assert_eq!(view["status"], "booked", "{view}");
        numbers.push(view["number"].as_u64().unwrap());
        // A retry needs no room.
        assert_eq!(ticket_of(&kit.book(name, "k1", "s1").await), *ticket);
    }
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(1..=taken.len() as u64), "{numbers:?}");

    // What is decided ages out; then there is room, for those who were refused too.
    let decided: Vec<_> =
        kit.log.extents().await.unwrap().iter().map(|extent| (extent.partition, extent.end)).collect();
    kit.log.trim(Timestamp::from_micros(i64::MAX), &decided).await.unwrap();
    for (name, number) in refused.iter().zip(numbers.len() as u64 + 1..) {
        assert_eq!(kit.book(name, "k1", "s1").await["number"], number);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_what_it_has_no_room_for() {
    let clock = Held::new();
    let log = sqlite::Options { queue_records_max: 1, group_records_max: 1, ..log_options() };
    let kit = Kit::of(Setup { log, log_clock: Some(Arc::clone(&clock) as _), ..Setup::default() }).await;
    kit.open(&[session("s1", "li", 5)]).await;
    let hold = clock.hold();
    let send = |name: &'static str| {
        let answer = kit.booking(name, "k1", "s1").send();
        async move { (name, answer.await.unwrap()) }
    };
    // One is with the writer; of the next three, one has room in the queue.
    let first = tokio::spawn(send("ann"));
    clock.waits().await;
    let mut others: FuturesUnordered<_> = ["bob", "cid", "dan"].into_iter().map(send).collect();
    let mut refused = Vec::new();
    for _ in 0..2 {
        let (name, answer) = others.next().await.unwrap();
        assert!((1..=3).contains(&retry_after(&answer)), "{answer:?}");
        problem(answer, 503, "overloaded").await;
        refused.push(name);
    }
    drop(hold);
    assert_eq!(first.await.unwrap().1.status(), StatusCode::ACCEPTED);
    assert_eq!(others.next().await.unwrap().1.status(), StatusCode::ACCEPTED);
    assert_eq!(kit.logged().await, 3, "what was refused is not there");
    for name in refused {
        assert_eq!(kit.book(name, "k1", "s1").await["status"], "booked");
    }
    assert_eq!(kit.logged().await, 5);
}

/// The answer got lost on its way, or did not come in time: it is not known, and asking again finds out.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_may_have_happened_is_asked_for_again() {
    let switches = Arc::new(Switches::default());
    let edges = {
        let switches = Arc::clone(&switches);
        Box::new(move |ports| switched(ports, &switches))
    };
    let kit = Kit::of(Setup { edges, ..Setup::default() }).await;
    kit.open(&[session("s1", "li", 2)]).await;
    Switches::set(&switches.doubt, true);
    let answer = kit.booking("ann", "k1", "s1").send().await.unwrap();
    assert!((1..=3).contains(&retry_after(&answer)), "{answer:?}");
    problem(answer, 503, "outcome-unknown").await;
    Switches::set(&switches.doubt, false);
    assert_eq!(kit.book("ann", "k1", "s1").await["number"], 1);
    assert_eq!(kit.logged().await, 3, "it is there twice");
    assert_eq!(kit.book("bob", "k1", "s1").await["number"], 2, "and took one number");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_does_not_answer_in_time_leaves_it_open() {
    let clock = Held::new();
    let options = orderly_ingress::Options { request_timeout: Duration::from_millis(200), ..options() };
    let kit = Kit::of(Setup { options, log_clock: Some(Arc::clone(&clock) as _), ..Setup::default() }).await;
    let opening = kit.ops(Method::PUT, "/v1/sessions").header("prefer", "wait=60").json(&[session("s1", "li", 2)]);
    // A slow disk may need more than one try before the log is held.
    while opening.try_clone().unwrap().send().await.unwrap().status() != StatusCode::OK {}
    let hold = clock.hold();
    problem(kit.booking("ann", "k1", "s1").send().await.unwrap(), 503, "outcome-unknown").await;
    drop(hold);
    // The record is written all the same, and a retry is no second booking.
    for (name, number) in [("ann", 1), ("bob", 2)] {
        let booking = kit.booking(name, "k1", "s1").header("prefer", "wait=60");
        let booked: Value = loop {
            let answer = booking.try_clone().unwrap().send().await.unwrap();
            if answer.status() == StatusCode::OK {
                break answer.json().await.unwrap();
            }
        };
        assert_eq!((&booked["status"], booked["number"].as_u64()), (&"booked".into(), Some(number)));
    }
}

/// Ann asks for a booking, and leaves while the log has it in hand, for as long as it is held.
async fn leaves(kit: &Kit, clock: &Arc<Held>) -> Hold {
    let hold = clock.hold();
    // On a connection of its own, which ends with it.
    let asks = kit.booking("ann", "k1", "s1").build().unwrap();
    let asks = tokio::spawn(async move { reqwest::Client::new().execute(asks).await });
    clock.waits().await;
    asks.abort();
    kit.until_metric("orderly_ingress_left_total 1\n").await;
    hold
}

/// What is on its way into the log goes on without whoever asked for it, and asking again finds it.
#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_and_asks_again_is_written_down_once() {
    let clock = Held::new();
    let kit = Kit::of(Setup { log_clock: Some(Arc::clone(&clock) as _), ..Setup::default() }).await;
    kit.open(&[session("s1", "li", 5), session("s2", "wang", 5)]).await;
    let before = kit.logged().await;
    let hold = leaves(&kit, &clock).await;
    // A key is bound to what was asked first, also on its way.
    problem(kit.booking("ann", "k1", "s2").send().await.unwrap(), 422, "idempotency-key-reused").await;
    let again = tokio::spawn(kit.booking("ann", "k1", "s1").send());
    drop(hold);
    let taken = again.await.unwrap().unwrap();
    assert_eq!(taken.status(), StatusCode::ACCEPTED);
    let ticket = ticket_of(&taken.json().await.unwrap());
    assert_eq!(outcome(&kit, "ann", &ticket).await["status"], "booked");
    assert_eq!(kit.logged().await, before + 1, "it is there once");
}

/// Nobody is told for ever what an attempt came to whose patient had left.
#[tokio::test(flavor = "multi_thread")]
async fn who_left_an_attempt_that_failed_tries_anew() {
    let switches = Arc::new(Switches::default());
    let clock = Held::new();
    let edges = {
        let switches = Arc::clone(&switches);
        Box::new(move |ports| switched(ports, &switches))
    };
    let kit = Kit::of(Setup { edges, log_clock: Some(Arc::clone(&clock) as _), ..Setup::default() }).await;
    kit.open(&[session("s1", "li", 5)]).await;
    Switches::set(&switches.doubt, true);
    let hold = leaves(&kit, &clock).await;
    let again = tokio::spawn(kit.booking("ann", "k1", "s1").send());
    drop(hold);
    problem(again.await.unwrap().unwrap(), 503, "outcome-unknown").await;
    Switches::set(&switches.doubt, false);
    assert_eq!(kit.book("ann", "k1", "s1").await["number"], 1);
}

/// The log's folder is gone and an empty log is in its place: what came to lie where another record was decided would never
/// be decided itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_replaced_takes_nothing() {
    let (kit, switches, _folder) = replaced().await;
    let answer = kit.booking("ann", "k1", "s1").send().await.unwrap();
    problem(answer, 503, "outcome-unknown").await;
    // From then on it is known, and stays so, however far the new log grows.
    let log = Arc::clone(switches.replaced.lock().unwrap().as_ref().unwrap());
    let ends = || async { log.extents().await.unwrap().iter().map(|extent| extent.end).sum::<u64>() };
    assert_eq!(ends().await, 1);
    for partition in 0..log.partitions() {
        for _ in 0..3 {
            log.append(partition, "doctor", Vec::new()).await.unwrap();
        }
    }
    let before = ends().await;
    let answer = kit.booking("bob", "k1", "s1").send().await.unwrap();
    assert!((30..=60).contains(&retry_after(&answer)), "{answer:?}");
    problem(answer, 503, "unavailable").await;
    assert_eq!(ends().await, before, "nothing more is appended");
    let ready: Value = kit.ask(Method::GET, "/readyz").send().await.unwrap().json().await.unwrap();
    assert!(ready["causes"][0]["cause"].as_str().unwrap().contains("the log was lost or replaced"), "{ready}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_ends_before_what_is_decided_is_not_ready() {
    let (kit, _switches, _folder) = replaced().await;
    let answer = kit.ask(Method::GET, "/readyz").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let ready: Value = answer.json().await.unwrap();
    let cause = &ready["causes"][0];
    assert_eq!(cause["part"], "log");
    assert!(cause["cause"].as_str().unwrap().contains("ends before offset 0"), "{ready}");
    // Such a look alone may be wrong; where a record comes to lie is not.
    problem(kit.booking("ann", "k1", "s1").send().await.unwrap(), 503, "outcome-unknown").await;
}

/// A session is decided, and then another log is in the place of the one that it lies in.
async fn replaced() -> (Kit, Arc<Switches>, tempfile::TempDir) {
    let switches = Arc::new(Switches::default());
    switches.pipeline.lock().unwrap().running = true;
    let edges = {
        let switches = Arc::clone(&switches);
        Box::new(move |ports| switched(ports, &switches))
    };
    let kit = Kit::of(Setup { edges, ..Setup::default() }).await;
    kit.open(&[session("s1", "li", 2)]).await;
    let folder = tempfile::tempdir().unwrap();
    let log = sqlite::Log::open(folder.path(), log_options(), Arc::new(System), &Registry::new()).unwrap();
    *switches.replaced.lock().unwrap() = Some(Arc::new(log));
    (kit, switches, folder)
}
