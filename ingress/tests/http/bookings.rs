//! Booking: accepted, decided, retried, throttled.

use orderly_ingress::throttle::{Limits, Policy, Rate};
use reqwest::StatusCode;
use serde_json::Value;

use crate::kit::{Kit, keys, options, problem, session, ticket_of};

#[tokio::test(flavor = "multi_thread")]
async fn is_accepted_once_durable_and_followed_by_its_ticket() {
    let kit = Kit::with_session(1).await;
    kit.decide(false);
    let before = kit.logged().await;
    let answer = kit.booking("ann", "k1", "s1").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let queued: Value = answer.json().await.unwrap();
    assert_eq!((&queued["status"], queued["position"].as_u64()), (&"queued".into(), Some(0)));
    assert_eq!(queued["links"]["self"], location);
    assert!(queued["eta_ms"].is_null() || queued["eta_ms"].is_u64());
    assert_eq!(kit.logged().await, before + 1);

    // The next one in line has one ahead.
    let second: Value = kit.booking("bob", "k1", "s1").send().await.unwrap().json().await.unwrap();
    assert_eq!(second["position"], 1);

    kit.decide(true);
    let path = format!("{location}?wait_ms=60000");
    let booked: Value = kit.patient("ann", reqwest::Method::GET, &path).send().await.unwrap().json().await.unwrap();
    assert_eq!((&booked["status"], &booked["number"]), (&"booked".into(), &1.into()));
    assert_eq!(booked["session"]["session_id"], "s1");
    assert_eq!(booked["log"], queued["log"]);
    assert!(booked["decided_at"].is_string() && booked.get("position").is_none());
    let path = format!("/v1/tickets/{}?wait_ms=60000", ticket_of(&second));
    let refused: Value = kit.patient("bob", reqwest::Method::GET, &path).send().await.unwrap().json().await.unwrap();
    assert_eq!((&refused["status"], &refused["reason"]), (&"rejected".into(), &"sold_out".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_the_outcome_when_asked_to() {
    let kit = Kit::with_session(1).await;
    let answer = kit.booking("ann", "k1", "s1").header("prefer", "wait=60").send().await.unwrap();
    assert_eq!((answer.status(), &answer.headers()["preference-applied"]), (StatusCode::OK, &"wait".parse().unwrap()));
    assert_eq!(answer.json::<Value>().await.unwrap()["status"], "booked");
    kit.decide(false);
    let answer = kit.booking("bob", "k1", "s1").header("prefer", "wait=0").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_the_same_ticket_and_no_new_record() {
    let kit = Kit::with_session(5).await;
    let first = kit.book("ann", "k1", "s1").await;
    let logged = kit.logged().await;
    let retry = kit.booking("ann", "k1", "s1").send().await.unwrap();
    assert_eq!(retry.status(), StatusCode::ACCEPTED);
    let retry: Value = retry.json().await.unwrap();
    assert_eq!((&retry["ticket"], &retry["number"]), (&first["ticket"], &first["number"]));
    // Quoted as the draft has it, it is the same key; another patient's is another.
    let quoted: Value = kit.booking("ann", "\"k1\"", "s1").send().await.unwrap().json().await.unwrap();
    assert_eq!(quoted["ticket"], first["ticket"]);
    assert_eq!(kit.logged().await, logged);
    let other = kit.book("bob", "k1", "s1").await;
    assert_ne!(other["number"], first["number"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_the_window_forgot_gets_the_first_outcome() {
    let kit = Kit::with(orderly_ingress::Options { idempotency_window: 0, ..options() }, keys()).await;
    kit.open(&[session("s1", "li", 1)]).await;
    assert_eq!(kit.book("ann", "k1", "s1").await["number"], 1);
    assert_eq!(kit.book("bob", "k1", "s1").await["reason"], "sold_out");
    let logged = kit.logged().await;
    assert_eq!(kit.book("ann", "k1", "s1").await["number"], 1);
    assert_eq!(kit.book("bob", "k1", "s1").await["reason"], "sold_out");
    assert_eq!(kit.logged().await, logged + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_booked_something_else_is_refused() {
    let kit = Kit::with_session(5).await;
    kit.open(&[session("s2", "wang", 5)]).await;
    kit.book("ann", "k1", "s1").await;
    let logged = kit.logged().await;
    let answer = kit.booking("ann", "k1", "s2").send().await.unwrap();
    problem(answer, 422, "idempotency-key-reused").await;
    assert_eq!(kit.logged().await, logged);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_session_is_told_at_once() {
    let kit = Kit::with_session(5).await;
    problem(kit.booking("ann", "k1", "s9").send().await.unwrap(), 404, "unknown-session").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_patient_is_told_which_limit_and_how_long() {
    let limits = Limits { patient: Some(Rate { rate_per_s: 0.01, burst: 1 }), ..Limits::default() };
    let policy = Policy::of(limits);
    let kit = Kit::with(orderly_ingress::Options { policy, ..options() }, keys()).await;
    kit.open(&[session("s1", "li", 5)]).await;
    let first = kit.booking("ann", "k1", "s1").send().await.unwrap();
    assert_eq!(first.status(), StatusCode::ACCEPTED);
    assert_eq!(first.headers()["ratelimit-policy"], "\"patient\";q=1;w=100");
    assert_eq!(first.headers()["ratelimit"], "\"patient\";r=0;t=100");
    let logged = kit.logged().await;
    let second = kit.booking("ann", "k2", "s1").send().await.unwrap();
    let retry_after: u64 = second.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert_eq!(second.headers()["ratelimit-policy"], "\"patient\";q=1;w=100");
    assert!(second.headers()["ratelimit"].to_str().unwrap().starts_with("\"patient\";r=0;t="));
    let body = problem(second, 429, "rate-limited").await;
    assert_eq!(body["limit"], "patient");
    let retry_after_ms = body["retry_after_ms"].as_u64().unwrap();
    assert_eq!(retry_after, retry_after_ms.div_ceil(1_000));
    assert_eq!(kit.logged().await, logged);
    assert_eq!(kit.booking("bob", "k1", "s1").send().await.unwrap().status(), StatusCode::ACCEPTED);
}
