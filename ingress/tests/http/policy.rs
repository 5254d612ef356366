//! The throttle policy over the API.

use orderly_domain::Timestamp;
use orderly_domain::port::Store as _;
use orderly_domain::port::store::PolicyVersion;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::kit::{Kit, keys, options, problem, session};

fn tight() -> Value {
    json!({"limits": {"patient": {"rate_per_s": 0.01, "burst": 1}}, "keys_max": 1000})
}

#[tokio::test(flavor = "multi_thread")]
async fn is_in_force_at_once_and_kept() {
    let kit = Kit::with_session(5).await;
    let before = kit.ops(Method::GET, "/v1/policy").send().await.unwrap();
    assert_eq!(before.headers()["etag"], "\"0\"");
    let change = json!({"policy": tight(), "reason": "a rush is coming"});
    let answer = kit.ops(Method::PUT, "/v1/policy").header("if-match", "\"0\"").json(&change).send().await.unwrap();
    assert_eq!((answer.status(), &answer.headers()["etag"]), (StatusCode::OK, &"\"1\"".parse().unwrap()));
    let view: Value = answer.json().await.unwrap();
    assert_eq!(
        (&view["version"], &view["author"], &view["reason"]),
        (&1.into(), &"chief".into(), &"a rush is coming".into())
    );
    assert_eq!(view["policy"], tight());
    assert_eq!(kit.booking("ann", "k1", "s1").send().await.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(kit.booking("ann", "k2", "s1").send().await.unwrap().status(), StatusCode::TOO_MANY_REQUESTS);

    let stale = kit.ops(Method::PUT, "/v1/policy").header("if-match", "\"0\"").json(&tight());
    problem(stale.send().await.unwrap(), 412, "policy-changed").await;
    // The bare document, with the reason beside it.
    let answer = kit.ops(Method::PUT, "/v1/policy?reason=over").json(&json!({"limits": {}})).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(kit.booking("ann", "k2", "s1").send().await.unwrap().status(), StatusCode::ACCEPTED);
    let history: Value = kit.ops(Method::GET, "/v1/policy/history").send().await.unwrap().json().await.unwrap();
    let reasons: Vec<_> =
        history.as_array().unwrap().iter().map(|version| version["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["over", "a rush is coming"]);
    assert_eq!(kit.store.policies(10).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_one_changes_nothing() {
    let kit = Kit::start().await;
    for (wrong, count) in [
        (json!({"limits": {"patient": {"rate_per_s": 0, "burst": 0}}}), 2),
        (json!({"limits": {"patients": {"rate_per_s": 1, "burst": 1}}}), 1),
        (json!({"limits": {"patient": {"rate_per_s": "1", "burst": 1}}}), 1),
        (json!({"policy": tight(), "raeson": "typo"}), 1),
        (json!([]), 1),
    ] {
        let answer = kit.ops(Method::PUT, "/v1/policy").json(&wrong).send().await.unwrap();
        let body = problem(answer, 422, "invalid-policy").await;
        assert_eq!(body["errors"].as_array().unwrap().len(), count, "{wrong}");
    }
    let answer = kit.ops(Method::GET, "/v1/policy").send().await.unwrap();
    assert_eq!(answer.headers()["etag"], "\"0\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_another_node_set_is_followed() {
    let interval = std::time::Duration::from_millis(5);
    let kit = Kit::with(orderly_ingress::Options { policy_interval: interval, ..options() }, keys()).await;
    kit.open(&[session("s1", "li", 5)]).await;
    let version = PolicyVersion {
        version: 1,
        document: tight().to_string(),
        author: "another node".into(),
        reason: String::new(),
        set_at: Timestamp::default(),
    };
    kit.store.save_policy(&version).await.unwrap();
    loop {
        let view: Value = kit.ops(Method::GET, "/v1/policy").send().await.unwrap().json().await.unwrap();
        if view["author"] == "another node" {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(kit.booking("ann", "k1", "s1").send().await.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(kit.booking("ann", "k2", "s1").send().await.unwrap().status(), StatusCode::TOO_MANY_REQUESTS);
}

/// A frozen session takes no new bookings; who has a ticket keeps it, and other sessions notice nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_session_takes_no_bookings() {
    let kit = Kit::with_session(5).await;
    kit.open(&[session("s2", "wang", 5)]).await;
    let before = kit.booking("ann", "k1", "s1").send().await.unwrap();
    assert_eq!(before.status(), StatusCode::ACCEPTED);
    let freeze = json!({"limits": {}, "frozen": ["s1"]});
    let set =
        kit.ops(Method::PUT, "/v1/policy?reason=two%20patients%20one%20number").json(&freeze).send().await.unwrap();
    assert_eq!(set.status(), StatusCode::OK);
    let body = problem(kit.booking("bob", "k1", "s1").send().await.unwrap(), 503, "session-frozen").await;
    assert!(body["retry_after_ms"].as_u64().unwrap() > 0, "{body}");
    assert_eq!(kit.booking("ann", "k1", "s1").send().await.unwrap().status(), StatusCode::ACCEPTED, "a retry");
    assert_eq!(kit.booking("bob", "k2", "s2").send().await.unwrap().status(), StatusCode::ACCEPTED);
    kit.ops(Method::PUT, "/v1/policy?reason=mended").json(&json!({"limits": {}})).send().await.unwrap();
    assert_eq!(kit.booking("bob", "k1", "s1").send().await.unwrap().status(), StatusCode::ACCEPTED);
}
