//! The throttle over the API: every kind of limit, phases and lanes, and when those who are refused may come back.

use std::collections::BTreeSet;

use orderly_ingress::auth::{Grant, Role};
use orderly_ingress::throttle::Kind;
use orderly_ingress::{Options, Proxies};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::kit::{Kit, PATIENCE, at, keys, options, problem, session};

/// How long one place takes to be free again, in milliseconds: longer than any test.
const REFILL_MS: u64 = 1_000_000;

/// A limit of so many requests at once.
fn rate(burst: u32) -> Value {
    json!({"rate_per_s": 0.001, "burst": burst})
}

async fn follow(kit: &Kit, policy: Value) {
    let set = kit.ops(Method::PUT, "/v1/policy").json(&policy).send().await.unwrap();
    assert_eq!(set.status(), StatusCode::OK, "{policy}");
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

/// Expects that this limit refuses, and answers with what is told of it.
async fn refused(request: RequestBuilder, limit: &str) -> Value {
    let told = problem(request.send().await.unwrap(), 429, "rate-limited").await;
    assert_eq!(told["limit"], limit, "{told}");
    told
}

/// A key of a kind, and another one.
fn two_of(kind: Kind) -> [&'static str; 2] {
    match kind {
        Kind::Patient => ["ann", "bob"],
        Kind::Address => ["203.0.113.1", "203.0.113.2"],
        Kind::Doctor => ["li", "wang"],
        Kind::Department => ["cardiology", "neurology"],
        Kind::Campus => ["east", "west"],
        Kind::Client => ["app", "kiosk"],
        Kind::Global => panic!("it has no keys"),
    }
}

fn session_of(doctor: &str, department: &str, campus: &str) -> String {
    format!("{doctor}-{department}-{campus}")
}

/// A booking with the other key of those kinds, and the first of the rest.
fn booking(kit: &Kit, key: &str, other: impl Fn(Kind) -> bool) -> RequestBuilder {
    let of = |kind| two_of(kind)[usize::from(other(kind))];
    let patient = of(Kind::Patient).parse().unwrap();
    let token = kit.granted(Grant { client: Some(of(Kind::Client)), ..Grant::plain(&patient, Role::Patient) });
    let session = session_of(of(Kind::Doctor), of(Kind::Department), of(Kind::Campus));
    kit.booking_by(&token, key, &session).header("x-forwarded-for", of(Kind::Address))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_limit_holds_for_its_key_alone() {
    let trusted_proxies: Proxies = "127.0.0.0/8".parse().unwrap();
    let kit = Kit::with(Options { trusted_proxies, ..options() }, keys()).await;
    let mut sessions = Vec::new();
    for doctor in two_of(Kind::Doctor) {
        for department in two_of(Kind::Department) {
            for campus in two_of(Kind::Campus) {
                let mut session = session(&session_of(doctor, department, campus), doctor, 50);
                session["department"] = department.into();
                session["campus"] = campus.into();
                sessions.push(session);
            }
        }
    }
    kit.open(&sessions).await;
    for kind in [Kind::Global].into_iter().chain(Kind::KEYED) {
        let name = kind.as_str();
        follow(&kit, json!({"limits": {name: rate(1)}})).await;
        let key = |number: u8| format!("{name}-{number}");
        assert_eq!(status(booking(&kit, &key(1), |_| false)).await, 202, "{name}");
        // The same key, and everything else is another.
        refused(booking(&kit, &key(2), |of| of != kind), name).await;
        // Another key, and everything else is the same.
        let another = status(booking(&kit, &key(3), |of| of == kind)).await;
        assert_eq!(another, if kind == Kind::Global { 429 } else { 202 }, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_other_limits_until_it_is_released() {
    let kit = Kit::with_session(5).await;
    let release_at = "2026-11-23T00:40:00Z";
    let mut unreleased = session("s2", "wang", 5);
    unreleased["release_at"] = release_at.into();
    kit.open(&[unreleased]).await;
    follow(&kit, json!({"limits": {}, "phases": {"before": {"patient": rate(1)}}})).await;
    for key in ["k1", "k2"] {
        assert_eq!(status(kit.booking("ann", key, "s1")).await, 202);
    }
    assert_eq!(status(kit.booking("ann", "k3", "s2")).await, 202);
    refused(kit.booking("ann", "k4", "s2"), "patient").await;
    kit.clock.set(at(release_at));
    assert_eq!(status(kit.booking("ann", "k4", "s2")).await, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_takes_the_place_of_a_lane_that_a_stranger_is_refused() {
    let kit = Kit::with_session(50).await;
    let lanes = json!([{"name": "members", "levels": ["gold"], "share": 0.5}]);
    follow(&kit, json!({"limits": {"global": rate(4)}, "lanes": lanes})).await;
    let patient = "ann".parse().unwrap();
    let by = |level, key: &str| {
        let token = kit.granted(Grant { level, ..Grant::plain(&patient, Role::Patient) });
        kit.booking_by(&token, key, "s1")
    };
    // Everybody's two, and one of the lane's two, which is lent.
    for key in ["k1", "k2", "k3"] {
        assert_eq!(status(by(None, key)).await, 202);
    }
    refused(by(None, "k4"), "global").await;
    refused(by(Some("silver"), "k4"), "global").await;
    assert_eq!(status(by(Some("gold"), "k4")).await, 202);
    refused(by(Some("gold"), "k5"), "global").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_behind_one_limit_are_not_called_back_at_once() {
    let kit = Kit::with_session(50).await;
    for limit in ["doctor", "address", "patient"] {
        follow(&kit, json!({"limits": {limit: rate(1)}})).await;
        assert_eq!(status(kit.booking("ann", limit, "s1")).await, 202);
        let mut waits = BTreeSet::new();
        for _ in 0..30 {
            let told = refused(kit.booking("ann", "k1", "s1"), limit).await;
            let wait_ms = told["retry_after_ms"].as_u64().unwrap();
            assert!(told["detail"].as_str().unwrap().ends_with(&format!("try again in {wait_ms} ms")), "{told}");
            waits.insert(wait_ms);
        }
        let (soonest, latest) = (*waits.first().unwrap(), *waits.last().unwrap());
        let passed_max = u64::try_from(PATIENCE.as_millis()).unwrap();
        assert!(soonest > REFILL_MS - passed_max, "{limit}: nobody is called too early: {waits:?}");
        if limit == "patient" {
            assert!(latest <= REFILL_MS, "nobody else waits for it: {waits:?}");
        } else {
            // As long again at most; thirty do not fall into a tenth of that by chance.
            assert!(latest - soonest > REFILL_MS / 10, "{limit}: {waits:?}");
        }
    }
}
