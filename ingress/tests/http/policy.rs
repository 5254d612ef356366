//! The throttle policy over the API.

use std::sync::Arc;
use std::time::Duration;

use orderly_domain::Timestamp;
use orderly_domain::port::Store as _;
use orderly_domain::port::store::PolicyVersion;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::faults::{Switches, switched};
use crate::kit::{Kit, PATIENCE, Setup, at, keys, options, problem, session};

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
    assert_eq!(reasons, ["over", "a rush is coming", "in force until another is set"]);
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
    let interval = Duration::from_millis(5);
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

/// A second is two looks: one that may have begun before the policy was set, and the next.
#[tokio::test(flavor = "multi_thread")]
async fn another_node_needs_one_look_which_it_takes_within_a_second() {
    let one = Kit::with_session(5).await;
    let (switches, store) = (Arc::new(Switches::default()), Arc::clone(&one.store));
    let seen = Arc::clone(&switches);
    let edges = Box::new(move |ports| switched(orderly_ingress::Ports { store, ..ports }, &seen));
    switches.policy_looks.send_replace(Some(1));
    let other = Kit::of(Setup { edges, ..Setup::default() }).await;
    assert!(options().policy_interval * 2 <= Duration::from_secs(1), "of the defaults");

    let looks = &switches.policy_looks;
    looks.subscribe().wait_for(|left| *left == Some(0)).await.unwrap();
    let set = one.ops(Method::PUT, "/v1/policy?reason=a%20rush").json(&tight()).send().await.unwrap();
    assert_eq!(set.status(), StatusCode::OK);
    // No other look than this one.
    looks.send_replace(Some(1));
    let view = async {
        loop {
            let answer = other.ops(Method::GET, "/v1/policy").send().await.unwrap();
            let view: Value = answer.json().await.unwrap();
            if view["version"] == 1 {
                break view;
            }
        }
    };
    let view = tokio::time::timeout(PATIENCE, view).await.expect("one look is enough");
    assert_eq!((&view["policy"], &view["reason"]), (&tight(), &"a rush".into()));
    assert_eq!(*looks.borrow(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_hangs_when_it_is_asked_holds_up_neither_schedule_nor_change() {
    let switches = Arc::new(Switches::default());
    let seen = Arc::clone(&switches);
    let options = orderly_ingress::Options { policy_interval: Duration::from_millis(5), ..options() };
    let edges = Box::new(move |ports| switched(ports, &seen));
    let kit = Kit::of(Setup { edges, options, ..Setup::default() }).await;
    switches.policy_looks.send_replace(Some(0));
    let policy = json!({"limits": {}, "schedule": [{
        "name": "late rush", "from": "08:50", "to": "09:10", "timezone": "Asia/Shanghai", "lanes": [],
    }]});
    let set = kit.ops(Method::PUT, "/v1/policy").json(&policy).send();
    let set = tokio::time::timeout(PATIENCE, set).await.expect("nobody is in the way").unwrap();
    assert_eq!(set.status(), StatusCode::OK);
    kit.clock.set(at("2026-11-23T00:50:00Z"));
    let begins = async {
        loop {
            let view: Value = kit.ops(Method::GET, "/v1/policy").send().await.unwrap().json().await.unwrap();
            if view["scheduled"] == json!(["late rush"]) {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, begins).await.expect("the schedule is kept");
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

/// At ten to nine in Shanghai half of what the ingress takes is put aside for members, less may wait, and who looks like a
/// program is challenged.
#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_changes_lanes_bounds_and_suspicion() {
    let interval = Duration::from_millis(5);
    let kit = Kit::with(orderly_ingress::Options { policy_interval: interval, ..options() }, keys()).await;
    kit.open(&[session("s1", "li", 5)]).await;
    let policy = json!({"limits": {}, "schedule": [{
        "name": "late rush", "from": "08:50", "to": "09:10", "timezone": "Asia/Shanghai",
        "limits": {"global": {"rate_per_s": 0.01, "burst": 4}},
        "lanes": [{"name": "members", "levels": ["gold"], "share": 0.5}],
        "shed": {"wait_max_ms": 60_000, "undecided_max": 7},
        "suspicion": {"half_life_s": 30.0},
    }]});
    let set = kit.ops(Method::PUT, "/v1/policy").json(&policy).send().await.unwrap();
    assert_eq!(set.status(), StatusCode::OK);
    let bound = async || {
        let view = kit.ops(Method::GET, "/v1/pipeline").send().await.unwrap().json::<Value>().await.unwrap();
        view["undecided_max"].clone()
    };
    let watching = async || {
        let view = kit.ops(Method::GET, "/v1/suspects").send().await.unwrap().json::<Value>().await.unwrap();
        view["watching"].clone()
    };
    let ordinary = bound().await;
    assert_eq!((ordinary == 7, watching().await), (false, false.into()));

    kit.clock.set(at("2026-11-23T00:50:00Z"));
    let changed = async { while watching().await == false {} };
    tokio::time::timeout(PATIENCE, changed).await.expect("the schedule is kept");
    assert_eq!(bound().await, 7);
    let mut answers = Vec::new();
    for key in ["k1", "k2", "k3", "k4"] {
        answers.push(kit.booking("ann", key, "s1").send().await.unwrap().status().as_u16());
    }
    assert_eq!(answers, [202, 202, 202, 429], "one of the four is kept for members");

    kit.clock.set(at("2026-11-23T01:10:00Z"));
    let changed = async { while watching().await == true {} };
    tokio::time::timeout(PATIENCE, changed).await.expect("the schedule is kept");
    assert_eq!(bound().await, ordinary);
    assert_eq!(kit.booking("ann", "k4", "s1").send().await.unwrap().status(), StatusCode::ACCEPTED);
}
