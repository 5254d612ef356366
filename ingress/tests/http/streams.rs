//! Server-sent events.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::faults::{Switches, switched};
use crate::kit::{Kit, Setup, keys, options, problem, retry_after, session, ticket_of};

/// Reads a stream event by event.
pub(crate) struct Events {
    answer: Response,
    text: String,
    events: VecDeque<(String, String, Value)>,
}

impl Events {
    pub(crate) fn of(answer: Response) -> Self {
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { answer, text: String::new(), events: VecDeque::new() }
    }

    /// The next event: name, id and data; `None` when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<(String, String, Value)> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let chunk = self.answer.chunk().await.expect("the stream ends as it should")?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                    line.unwrap_or_default().to_owned()
                };
                if block.contains("data: ") {
                    self.events.push_back((field("event"), field("id"), serde_json::from_str(&field("data")).unwrap()));
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn position_then_outcome_then_the_end() {
    let kit = Kit::with_session(5).await;
    kit.decide(false);
    kit.booking("bob", "k1", "s1").send().await.unwrap();
    let queued: Value = kit.booking("ann", "k1", "s1").send().await.unwrap().json().await.unwrap();
    let path = queued["links"]["events"].as_str().unwrap().to_owned();
    let mut events = Events::of(kit.patient("ann", Method::GET, &path).send().await.unwrap());
    let (name, _, data) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &data["position"]), ("position", &1.into()));
    assert!(data.get("eta_ms").is_some() && data.get("rate_per_s").is_some());
    kit.decide(true);
    let (id, outcome) = loop {
        match events.next().await.expect("an outcome before the end") {
            (name, id, data) if name == "outcome" => break (id, data),
            (name, ..) => assert_eq!(name, "position"),
        }
    };
    assert_eq!((&outcome["status"], &outcome["number"]), (&"booked".into(), &2.into()));
    assert_eq!(outcome["ticket"], queued["ticket"]);
    assert_eq!(events.next().await, None);

    // Whoever comes again has it already; whoever comes late gets it at once.
    let again = kit.patient("ann", Method::GET, &path).header("last-event-id", id).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NO_CONTENT);
    let mut late = Events::of(kit.patient("ann", Method::GET, &path).send().await.unwrap());
    assert_eq!(late.next().await.unwrap().0, "outcome");
    assert_eq!(late.next().await, None);
}

/// Longer than a test: streams look at nothing by themselves.
const NEVER: Duration = Duration::from_secs(3_600);

/// Books without waiting for the outcome, and answers with the path of the ticket's stream.
async fn queued(kit: &Kit, patient: &str) -> String {
    let answer = kit.booking(patient, "k1", "s1").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    answer.json::<Value>().await.unwrap()["links"]["events"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_is_told_as_the_line_moves() {
    let position_interval = Duration::from_millis(10);
    let kit = Kit::with(orderly_ingress::Options { position_interval, ..options() }, keys()).await;
    kit.open(&[session("s1", "li", 5)]).await;
    kit.decide(false);
    for ahead in ["bob", "cid"] {
        queued(&kit, ahead).await;
    }
    let path = queued(&kit, "ann").await;
    let mut events = Events::of(kit.patient("ann", Method::GET, &path).send().await.unwrap());
    for position in [2, 1] {
        let (name, id, data) = events.next().await.unwrap();
        assert_eq!((name.as_str(), &data["position"]), ("position", &position.into()));
        assert_eq!(id, format!("queued-{position}"));
        kit.decide_one();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_nothing_to_tell_says_that_it_lives() {
    let heartbeat_interval = Duration::from_millis(20);
    let quiet = orderly_ingress::Options { heartbeat_interval, position_interval: NEVER, ..options() };
    let kit = Kit::with(quiet, keys()).await;
    kit.open(&[session("s1", "li", 5)]).await;
    kit.decide(false);
    let path = queued(&kit, "ann").await;
    for path in [path.as_str(), LIST] {
        let mut stream = kit.patient("ann", Method::GET, path).send().await.unwrap();
        // As many as would not come in time at the interval that they have by default.
        for _ in 0..10 {
            while !stream.chunk().await.unwrap().expect("it does not end").starts_with(b":") {}
        }
    }
}

/// The decision is made while the fan-out loses what it is given: nobody hears of it before the gap is told.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_fanout_lost_is_told_after_the_gap() {
    let switches = Arc::new(Switches::default());
    let edges = {
        let switches = Arc::clone(&switches);
        Box::new(move |ports| switched(ports, &switches))
    };
    let options = orderly_ingress::Options { position_interval: NEVER, ..options() };
    let kit = Kit::of(Setup { options, edges, ..Setup::default() }).await;
    kit.open(&[session("s1", "li", 5)]).await;
    let remaining = || async {
        let answer = kit.ask(Method::GET, "/v1/sessions/s1").send().await.unwrap();
        answer.json::<Value>().await.unwrap()["remaining"].clone()
    };
    kit.decide(false);
    let path = queued(&kit, "ann").await;
    let mut events = Events::of(kit.patient("ann", Method::GET, &path).send().await.unwrap());
    assert_eq!(events.next().await.unwrap().0, "position");
    switches.fanout_lost.send_replace(Some(0));
    kit.decide(true);
    switches.fanout_lost.subscribe().wait_for(|lost| *lost == Some(1)).await.unwrap();
    assert_eq!(remaining().await, 5);
    switches.fanout_lost.send_replace(None);
    let (name, _, outcome) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &outcome["status"]), ("outcome", &"booked".into()));
    assert_eq!(remaining().await, 4);
    kit.until_metric("orderly_ingress_fanout_gaps_total 1\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_hears_that_the_session_is_closed() {
    let kit = Kit::with_session(5).await;
    let ticket = ticket_of(&kit.book("ann", "k1", "s1").await);
    let path = format!("/v1/tickets/{ticket}/events?follow=true");
    let request = kit.patient("ann", Method::GET, &path).header("last-event-id", "booked");
    let mut events = Events::of(request.send().await.unwrap());
    kit.ops(Method::POST, "/v1/sessions/s1/close").json(&json!({"cause": "ill"})).send().await.unwrap();
    let (name, id, data) = events.next().await.unwrap();
    assert_eq!((name.as_str(), id.as_str()), ("outcome", "cancelled"));
    assert_eq!((&data["reason"], &data["cause"]), (&"session_closed".into(), &"ill".into()));
    assert_eq!(events.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_told_as_they_change() {
    let kit = Kit::with_session(5).await;
    kit.open(&[session("s2", "wang", 5)]).await;
    let answer = kit.ask(Method::GET, "/v1/sessions/events?doctor=li").send().await.unwrap();
    let mut events = Events::of(answer);
    let (name, _, snapshot) = events.next().await.unwrap();
    assert_eq!((name.as_str(), snapshot.as_array().unwrap().len()), ("snapshot", 1));
    assert_eq!(snapshot[0]["remaining"], 5);
    kit.book("bob", "k1", "s2").await;
    kit.book("ann", "k1", "s1").await;
    // Changes may come in one round or in several; the last one tells.
    loop {
        let (name, _, changes) = events.next().await.unwrap();
        assert_eq!(name, "changes");
        assert!(changes.as_array().unwrap().iter().all(|session| session["session_id"] == "s1"));
        if changes[0]["remaining"] == 4 {
            break;
        }
    }
}

/// The public list's streams.
const LIST: &str = "/v1/sessions/events";

/// Asserts that there was no room, and for want of what.
async fn refused(answer: Response, limit: &str) {
    assert!((5..=10).contains(&retry_after(&answer)), "{answer:?}");
    assert_eq!(problem(answer, 503, "overloaded").await["limit"], limit);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_stream_has_room_of_its_own() {
    let limits = orderly_ingress::Options { session_streams_max: 1, ticket_streams_max: 1, ..options() };
    let kit = Kit::with(limits, keys()).await;
    kit.open(&[session("s1", "li", 5)]).await;
    kit.decide(false);
    let queued: Value = kit.booking("ann", "k1", "s1").send().await.unwrap().json().await.unwrap();
    let ticket = queued["links"]["events"].as_str().unwrap().to_owned();
    let mut list = Events::of(kit.ask(Method::GET, LIST).send().await.unwrap());
    list.next().await.unwrap();
    refused(kit.ask(Method::GET, LIST).send().await.unwrap(), "session-streams").await;
    let mut events = Events::of(kit.patient("ann", Method::GET, &ticket).send().await.unwrap());
    events.next().await.unwrap();
    refused(kit.patient("ann", Method::GET, &ticket).send().await.unwrap(), "ticket-streams").await;
    for kind in ["sessions", "tickets"] {
        kit.until_metric(&format!("orderly_ingress_streams{{kind=\"{kind}\"}} 1\n")).await;
    }
    kit.until_metric("orderly_ingress_streams_refused_total{limit=\"session-streams\"} 1\n").await;
    kit.until_metric("orderly_ingress_streams_refused_total{limit=\"ticket-streams\"} 1\n").await;
    let view: Value = kit.ops(Method::GET, "/v1/pipeline").send().await.unwrap().json().await.unwrap();
    assert_eq!(view["streams"], 2);
    drop(list);
    kit.until_metric("orderly_ingress_streams{kind=\"sessions\"} 0\n").await;
    assert_eq!(kit.ask(Method::GET, LIST).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_streams_of_both_kinds() {
    let limits = orderly_ingress::Options { streams_per_address_max: 1, ..options() };
    let kit = Kit::with(limits, keys()).await;
    kit.open(&[session("s1", "li", 5)]).await;
    let mut first = Events::of(kit.ask(Method::GET, LIST).send().await.unwrap());
    first.next().await.unwrap();
    let ticket = ticket_of(&kit.book("ann", "k1", "s1").await);
    let path = format!("/v1/tickets/{ticket}/events");
    refused(kit.patient("ann", Method::GET, &path).send().await.unwrap(), "address-streams").await;
    refused(kit.ask(Method::GET, LIST).send().await.unwrap(), "address-streams").await;
    kit.until_metric("orderly_ingress_streams_refused_total{limit=\"address-streams\"} 2\n").await;
    // Another address has room.
    let elsewhere = reqwest::Client::builder().local_address(IpAddr::from([127, 0, 0, 2])).build().unwrap();
    let mut second = Events::of(elsewhere.get(format!("{}{LIST}", kit.url)).send().await.unwrap());
    second.next().await.unwrap();
    kit.until_metric("orderly_ingress_addresses{holding=\"streams\"} 2\n").await;
    drop(first);
    kit.until_metric("orderly_ingress_addresses{holding=\"streams\"} 1\n").await;
    let mut events = Events::of(kit.patient("ann", Method::GET, &path).send().await.unwrap());
    assert_eq!(events.next().await.unwrap().0, "outcome");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_finds_no_room_to_wait_is_answered_at_once() {
    let limits = orderly_ingress::Options { waiters_max: 1, ..options() };
    let kit = Kit::with(limits, keys()).await;
    kit.open(&[session("s1", "li", 5)]).await;
    kit.decide(false);
    let queued: Value = kit.booking("ann", "k1", "s1").send().await.unwrap().json().await.unwrap();
    let path = queued["links"]["events"].as_str().unwrap().to_owned();
    let mut events = Events::of(kit.patient("ann", Method::GET, &path).send().await.unwrap());
    events.next().await.unwrap();
    let second = kit.patient("ann", Method::GET, &path).send().await.unwrap();
    problem(second, 503, "overloaded").await;
    let poll = format!("{}?wait_ms=60000", queued["links"]["self"].as_str().unwrap());
    let poll = kit.patient("ann", Method::GET, &poll).send().await.unwrap();
    assert_eq!(poll.status(), StatusCode::OK);
    assert_eq!(poll.json::<Value>().await.unwrap()["status"], "queued");
    // There is no room to wait; the booking itself is taken.
    let booking = kit.booking("bob", "k1", "s1").header("prefer", "wait=60").send().await.unwrap();
    assert_eq!(booking.status(), StatusCode::ACCEPTED);
    assert_eq!(booking.json::<Value>().await.unwrap()["status"], "queued");
}
