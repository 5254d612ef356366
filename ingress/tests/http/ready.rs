//! `/readyz`: each cause by its name.

use std::sync::Arc;

use orderly_domain::port::pipeline::State;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::faults::{Switches, switched};
use crate::kit::{Kit, Setup, options};
use crate::streams::Events;

fn running() -> State {
    State { running: true, ..State::default() }
}

async fn kit() -> (Kit, Arc<Switches>) {
    let switches = Arc::new(Switches::default());
    *switches.pipeline.lock().unwrap() = running();
    let edges = Box::new({
        let switches = Arc::clone(&switches);
        move |ports| switched(ports, &switches)
    });
    (Kit::of(Setup { edges, ..Setup::default() }).await, switches)
}

/// The causes, by part; also checks that status and body agree.
async fn causes(answer: reqwest::Response) -> Vec<(String, String)> {
    let (status, body): (_, Value) = (answer.status(), answer.json().await.unwrap());
    let causes = body["causes"].as_array().unwrap().clone();
    assert_eq!(body["ready"], json!(causes.is_empty()));
    assert_eq!(status, if causes.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE });
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    causes.iter().map(|cause| (text(&cause["part"]), text(&cause["cause"]))).collect()
}

async fn now(kit: &Kit) -> Vec<(String, String)> {
    causes(kit.ask(Method::GET, "/readyz").send().await.unwrap()).await
}

fn cause(part: &str, cause: &str) -> Vec<(String, String)> {
    vec![(part.to_owned(), cause.to_owned())]
}

#[tokio::test(flavor = "multi_thread")]
async fn names_the_edge_that_fails_until_it_is_back() {
    let (kit, switches) = kit().await;
    assert_eq!(now(&kit).await, []);
    Switches::set(&switches.log_down, true);
    assert_eq!(now(&kit).await, cause("log", "did not happen: the log is away"));
    Switches::set(&switches.store_down, true);
    let both = [cause("log", "did not happen: the log is away"), cause("store", "did not happen: the store is away")];
    assert_eq!(now(&kit).await, both.concat());
    Switches::set(&switches.log_down, false);
    Switches::set(&switches.store_down, false);
    assert_eq!(now(&kit).await, []);
    Switches::set(&switches.log_silent, true);
    assert_eq!(now(&kit).await, cause("log", "it does not answer in time"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_what_stands_in_the_way_of_the_log_though_it_answers() {
    let (kit, switches) = kit().await;
    let set = |trouble: Option<&str>| *switches.log_trouble.lock().unwrap() = trouble.map(str::to_owned);
    set(Some("the producer was made again"));
    assert_eq!(now(&kit).await, cause("log", "the producer was made again"));
    set(None);
    assert_eq!(now(&kit).await, []);
}

/// Only who appends is told of it: one that does not would never deliver the record after which the trouble has passed.
#[tokio::test(flavor = "multi_thread")]
async fn who_takes_no_requests_is_ready_whatever_the_producer_met() {
    let switches = Arc::new(Switches::default());
    *switches.pipeline.lock().unwrap() = running();
    *switches.log_trouble.lock().unwrap() = Some("the producer was made again".into());
    let edges = Box::new({
        let switches = Arc::clone(&switches);
        move |ports| switched(ports, &switches)
    });
    let options = orderly_ingress::Options { operations_only: true, ..options() };
    let kit = Kit::of(Setup { options, edges, ..Setup::default() }).await;
    assert_eq!(now(&kit).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_what_the_pipeline_waits_for() {
    let (kit, switches) = kit().await;
    let set = |state: State| *switches.pipeline.lock().unwrap() = state;
    set(State { cause: Some("the store is full".into()), ..running() });
    assert_eq!(now(&kit).await, cause("pipeline", "the store is full"));
    set(State::default());
    assert_eq!(now(&kit).await, cause("pipeline", "it does not run"));
    set(running());
    assert_eq!(now(&kit).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_that_outcomes_are_not_heard() {
    let (kit, switches) = kit().await;
    switches.fanout_ends.send_replace(true);
    let told = loop {
        let causes = now(&kit).await;
        if !causes.is_empty() {
            break causes;
        }
    };
    assert_eq!(told, cause("fan-out", "outcomes are not heard; restart this process"));
    let view: Value = kit.ops(Method::GET, "/v1/pipeline").send().await.unwrap().json().await.unwrap();
    assert_eq!(view["following"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_that_it_stops() {
    let (mut kit, switches) = kit().await;
    let mut sessions = Events::of(kit.ask(Method::GET, "/v1/sessions/events").send().await.unwrap());
    switches.store_held.send_replace(true);
    let asked = *switches.asked.borrow();
    // A stop takes no new connections: it is told to one who is being answered already. Streams end once it has begun.
    let answer = tokio::spawn(kit.ask(Method::GET, "/readyz").send());
    switches.asked.subscribe().wait_for(|now| *now > asked).await.unwrap();
    kit.stop.take().unwrap().send(()).unwrap();
    while sessions.next().await.is_some() {}
    switches.store_held.send_replace(false);
    assert_eq!(causes(answer.await.unwrap().unwrap()).await, cause("server", "it is stopping"));
    (&mut kit.server).await.unwrap();
}
