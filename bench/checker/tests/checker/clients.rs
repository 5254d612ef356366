//! What clients were told, beside what was decided: right histories hold, and each thing that differs is found.

use orderly_checker::{Clients, Error, Invariant};
use orderly_domain::{CloseSession, Command};
use serde_json::{Value, json};

use crate::faults::{at, position, steps, unguarded};
use crate::hospital::{Hospital, Step, book, cancel, moment, open, reference};

/// A call of a patient, at so many seconds of the log's time, that was answered two seconds later.
fn call(asked: &str, (patient, key, session): (u8, u8, u8), second: i64) -> Value {
    json!({
        "sent_at": moment(second), "answered_at": moment(second + 2), "patient": format!("p{patient}"),
        "key": format!("k{key}"), "session": format!("s{session}"), "asked": asked, "wait_ms": 0, "status": 200,
    })
}

fn with(mut call: Value, members: &Value) -> Value {
    call.as_object_mut().expect("a call").extend(members.as_object().expect("members").clone());
    call
}

fn taken(call: Value, step: usize) -> Value {
    with(call, &json!({ "status": 202, "log": position(step) }))
}

fn told(call: Value, step: usize, outcome: &Value) -> Value {
    with(call, &json!({ "log": position(step), "outcome": outcome }))
}

/// Puts a value in the place of what a call has there.
fn put(call: &mut Value, member: &str, value: Value) {
    let (above, name) = member.rsplit_once('/').expect("a pointer");
    call.pointer_mut(above).and_then(Value::as_object_mut).expect("an object").insert(name.to_owned(), value);
}

const BOOKED: usize = 1;
const PUSHED: usize = 2;
const SOLD_OUT: usize = 4;
const REPEATED: usize = 6;
const LOOKED: usize = 8;
const CANCELLED: usize = 9;
const LOOKED_AGAIN: usize = 10;

/// What the clients of the steps in `faults` may have been told.
fn history() -> Vec<Value> {
    let (first, third, fourth) = ((1, 0, 0), (3, 0, 0), (4, 0, 1));
    let number_1 = |by| json!({ "status": "booked", "number": 1, "by": by });
    let rejected = |reason, by| json!({ "status": "rejected", "reason": reason, "by": by });
    let cancelled = |by| json!({ "status": "cancelled", "number": 1, "by": by });
    vec![
        with(call("book", (8, 0, 0), 60), &json!({ "status": 429 })),
        taken(call("book", first, 62), 3),
        told(call("follow", first, 64), 3, &number_1("push")),
        taken(call("book", third, 64), 5),
        told(call("look", third, 66), 5, &rejected("sold_out", "poll")),
        taken(call("book", third, 69), 10),
        told(call("look", third, 71), 10, &rejected("sold_out", "poll")),
        taken(call("book", fourth, 65), 6),
        told(call("look", fourth, 67), 6, &number_1("poll")),
        with(told(call("cancel", fourth, 70), 6, &cancelled("cancel")), &json!({ "cancellation": position(11) })),
        told(call("look", fourth, 73), 6, &cancelled("poll")),
        told(call("look", (1, 1, 1), 73), 9, &rejected("already_booked", "poll")),
        told(call("look", (7, 0, 9), 74), 13, &rejected("unknown_session", "poll")),
        with(call("book", (9, 0, 0), 75), &json!({ "status": null, "failure": "no answer within 30 s" })),
    ]
}

/// What is found in a history beside a hospital.
async fn rows(hospital: &Hospital, history: &[Value], idle: bool) -> Vec<String> {
    let report = hospital.check_clients(&clients(history).expect("calls"), idle).await;
    assert_eq!(report.checked(Invariant::ClientsAgree), history.len() as u64);
    assert!(report.broken().all(|invariant| invariant == Invariant::ClientsAgree), "{report:#?}");
    report.findings[&Invariant::ClientsAgree].rows.clone()
}

fn clients(history: &[Value]) -> Result<Clients, Error> {
    let text: String = history.iter().map(|call| format!("{call}\n")).collect();
    let mut clients = Clients::default();
    clients.read("a history", text.as_bytes())?;
    Ok(clients)
}

#[tokio::test]
async fn what_was_decided_may_be_told() {
    let hospital = Hospital::live(&steps(), 0).await;
    assert_eq!(rows(&hospital, &history(), true).await, Vec::<String>::new());
}

/// Each with what it is found as.
#[tokio::test]
async fn whatever_differs_is_found() {
    let place = |step| json!(position(step));
    let beyond = json!({ "partition": position(13).partition, "offset": 99 });
    let nowhere = json!({ "partition": 7, "offset": 0 });
    let differences = [
        (PUSHED, "/outcome/number", json!(2), "told booked 2 by push; decided was booked 1"),
        (PUSHED, "/outcome/number", Value::Null, "told booked by push; decided was booked 1"),
        (PUSHED, "/outcome/status", json!("rejected"), "told rejected 1 by push; decided was booked 1"),
        (PUSHED, "/outcome/status", json!("cancelled"), "nobody cancelled it"),
        (PUSHED, "/outcome/status", json!("on hold"), "told on hold 1 by push"),
        (
            SOLD_OUT,
            "/outcome/reason",
            json!("already_booked"),
            "told rejected (already_booked) by poll; decided was sold_out",
        ),
        (SOLD_OUT, "/outcome/reason", Value::Null, "told rejected by poll"),
        (SOLD_OUT, "/outcome/number", json!(1), "told rejected 1 (sold_out) by poll"),
        (SOLD_OUT, "/outcome/status", json!("booked"), "told booked (sold_out) by poll; decided was sold_out"),
        (REPEATED, "/outcome/reason", json!("duplicate"), "decided was sold_out"),
        (BOOKED, "/log", place(4), "another ticket"),
        (BOOKED, "/log", place(0), "another kind"),
        (BOOKED, "/log", beyond.clone(), "the log ends before it"),
        (BOOKED, "/log", nowhere, "the log ends before it"),
        (BOOKED, "/log", Value::Null, "names no place"),
        (BOOKED, "/session", json!("s1"), "another session"),
        (BOOKED, "/patient", json!("p2"), "another ticket"),
        (BOOKED, "/key", json!("k7"), "another ticket"),
        (SOLD_OUT, "/log", beyond.clone(), "the log ends before it"),
        (SOLD_OUT, "/log", Value::Null, "not of which place"),
        (LOOKED, "/sent_at", json!(moment(73)), "that it is cancelled"),
        (CANCELLED, "/outcome/reason", json!("session_closed"), "told cancelled 1 (session_closed)"),
        (CANCELLED, "/outcome/number", json!(2), "told cancelled 2 by cancel"),
        (CANCELLED, "/cancellation", place(6), "another kind"),
        (LOOKED_AGAIN, "/answered_at", json!(moment(69)), "cancelled no earlier than"),
    ];
    let hospital = Hospital::live(&steps(), 0).await;
    for (index, member, value, expected) in differences {
        let mut history = history();
        put(&mut history[index], member, value.clone());
        let found = rows(&hospital, &history, true).await;
        assert_eq!(found.len(), 1, "{member} of {index} is {value}: {found:?}");
        assert!(found[0].contains(expected), "{member} of {index} is {value}: {found:?}");
    }
    // What the log has lost is no request on its way.
    let mut lost = history();
    put(&mut lost[BOOKED], "/log", beyond);
    let found = rows(&hospital, &lost, false).await;
    assert!(found.iter().any(|row| row.contains("the log ends before it")), "{found:?}");
}

/// What waited for the outcome may be told it as it was made, however late.
#[tokio::test]
async fn a_booking_that_was_heard_may_be_told_after_its_cancellation() {
    let hospital = Hospital::live(&steps(), 0).await;
    let late = json!({ "sent_at": moment(76), "answered_at": moment(77) });
    for waited in [json!({ "wait_ms": 5_000 }), json!({ "asked": "follow" })] {
        let mut history = history();
        let again = with(with(history[LOOKED].clone(), &late), &waited);
        history.push(again);
        assert_eq!(rows(&hospital, &history, true).await, Vec::<String>::new(), "{waited}");
    }
}

#[tokio::test]
async fn who_was_told_that_a_request_is_taken_gets_a_decision() {
    let hospital = Hospital::live(&steps(), 1).await;
    let mut history = history();
    let last = history.iter().position(|call| call["session"] == "s9").expect("a call");
    let found = rows(&hospital, &history, false).await;
    assert!(found.len() == 1 && found[0].contains("nothing is decided there"), "{found:?}");
    history[last].as_object_mut().expect("a call").remove("outcome");
    assert_eq!(rows(&hospital, &history, false).await, Vec::<String>::new(), "it may be on its way");
    let found = rows(&hospital, &history, true).await;
    assert!(found.len() == 1 && found[0].contains("is not decided"), "{found:?}");
}

/// One amid others, and the last.
#[tokio::test]
async fn a_decision_that_is_missing_is_found() {
    for step in [9, 13] {
        let hospital = Hospital::live(&steps(), 0).await;
        let gone = format!("DELETE FROM decisions WHERE {}", at(step));
        unguarded(hospital.folder.path()).execute_batch(&gone).expect("planted");
        let found = rows(&hospital, &history(), false).await;
        let expected = format!("{}: a request was taken, and", position(step));
        assert!(found.len() == 1 && found[0].starts_with(&expected), "{found:?}");
    }
}

/// Whoever gave a number back before its session closed is told so, the others that it closed.
#[tokio::test]
async fn a_session_that_closes_cancels_what_is_left() {
    let close = Command::CloseSession(CloseSession { session: reference(0), cause: "ill".into() });
    let asked = [open(0, 2), book(1, 0, 0), book(2, 0, 0), cancel(1, 0, 0), close];
    let steps: Vec<_> = std::iter::once(Step::Wait(60)).chain(asked.into_iter().map(Step::Ask)).collect();
    let hospital = Hospital::live(&steps, 0).await;
    // All lie in one partition, that of the doctor.
    let partition = position(0).partition;
    let look = |patient: u8, second, reason: Option<&str>| {
        let outcome = json!({ "status": "cancelled", "number": patient, "reason": reason, "by": "poll" });
        let log = json!({ "partition": partition, "offset": patient });
        with(call("look", (patient, 0, 0), second), &json!({ "log": log, "outcome": outcome }))
    };
    let right = [look(1, 66, None), look(2, 67, Some("session_closed"))];
    assert_eq!(rows(&hospital, &right, true).await, Vec::<String>::new());
    let wrong = [look(1, 66, Some("session_closed")), look(2, 67, None), look(2, 20, Some("session_closed"))];
    let found = rows(&hospital, &wrong, true).await;
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[2].contains("cancelled no earlier than"), "{found:?}");
}

#[test]
fn what_is_no_history_is_an_error() {
    let mut calls = history();
    calls[3]["sent_at"] = json!("yesterday");
    let error = clients(&calls).expect_err("no time").to_string();
    assert!(error.contains("line 4 of a history"), "{error}");
    assert!(clients(&[json!("cut o")]).is_err());
    assert!(clients(&[]).is_ok());
}
