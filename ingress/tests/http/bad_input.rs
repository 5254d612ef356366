//! Requests that are wrong: each is refused with what is wrong, and nothing is taken.

use orderly_ingress::auth::Role;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::kit::{Kit, problem};

fn booking(kit: &Kit) -> RequestBuilder {
    kit.ask(Method::POST, "/v1/bookings").bearer_auth(kit.token("ann", Role::Patient))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_that_cannot_be_read_is_not_taken() {
    let kit = Kit::with_session(5).await;
    let logged = kit.logged().await;
    let deep = format!("{}{}", "[".repeat(3_000), "]".repeat(3_000));
    let deep_field = format!("{{\"session_id\":{deep}}}");
    for wrong in [
        "",
        "{",
        "null",
        "[]",
        "\"s1\"",
        "{}",
        r#"{"session_id":7}"#,
        r#"{"session_id":null}"#,
        r#"{"session_id":""}"#,
        r#"{"session_id":["s1"]}"#,
        r#"{"session_id":"s1","patient_id":"bob"}"#,
        r#"{"session_id":"s1","session_id":"s2"}"#,
        r#"{"session_id":"s1"} {}"#,
        "{\"session_id\":\"\u{0}\"}",
        &deep,
        &deep_field,
    ] {
        let request = booking(&kit).header("idempotency-key", "k1").header("content-type", "application/json");
        problem(request.body(wrong.to_owned()).send().await.unwrap(), 400, "malformed-request").await;
    }
    let request = booking(&kit).header("idempotency-key", "k1").header("content-type", "application/json");
    problem(request.body(vec![b'"', 0xff, b'"']).send().await.unwrap(), 400, "malformed-request").await;
    assert_eq!(kit.logged().await, logged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_or_no_json_is_not_taken() {
    let kit = Kit::with_session(5).await;
    let long = json!({"session_id": "x".repeat(9_000)});
    let request = booking(&kit).header("idempotency-key", "k1").json(&long);
    problem(request.send().await.unwrap(), 413, "too-large").await;
    let request = booking(&kit).header("idempotency-key", "k1").header("content-type", "text/plain");
    problem(request.body(r#"{"session_id":"s1"}"#).send().await.unwrap(), 415, "unsupported-media-type").await;
    let request = booking(&kit).header("idempotency-key", "k1").body(r#"{"session_id":"s1"}"#);
    problem(request.send().await.unwrap(), 415, "unsupported-media-type").await;
    let request = kit.ops(Method::PUT, "/v1/sessions").header("content-type", "text/csv").body("x");
    problem(request.send().await.unwrap(), 415, "unsupported-media-type").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_is_needed_and_has_bounds() {
    let kit = Kit::with_session(5).await;
    let body = json!({"session_id": "s1"});
    problem(booking(&kit).json(&body).send().await.unwrap(), 400, "idempotency-key-missing").await;
    for wrong in ["", "a b", &"x".repeat(129), "\"", "\"\""] {
        let request = booking(&kit).header("idempotency-key", wrong).json(&body);
        problem(request.send().await.unwrap(), 400, "idempotency-key-invalid").await;
    }
    let request = booking(&kit).header("idempotency-key", "x".repeat(128)).json(&body);
    assert_eq!(request.send().await.unwrap().status(), 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_sessions_that_cannot_be_read_open_none() {
    let kit = Kit::start().await;
    for (format, wrong) in [
        ("application/json", "{"),
        ("application/json", "{}"),
        ("application/x-ndjson", "{}\n{"),
        ("application/json", &"[".repeat(5_000)),
    ] {
        let request = kit.ops(Method::PUT, "/v1/sessions").header("content-type", format).body(wrong.to_owned());
        problem(request.send().await.unwrap(), 400, "malformed-request").await;
    }
    assert_eq!(kit.logged().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_read_strictly() {
    let kit = Kit::with_session(5).await;
    let ticket = kit.book("ann", "k1", "s1").await["ticket"].as_str().unwrap().to_owned();
    for query in ["?wait_ms=x", "?wait_ms=-1", "?wait=5"] {
        let answer = kit.patient("ann", Method::GET, &format!("/v1/tickets/{ticket}{query}")).send().await.unwrap();
        problem(answer, 400, "malformed-request").await;
    }
}
