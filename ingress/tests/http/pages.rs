//! What the web app is made of and asks for: its files, the hospital, the rush, rehearsals.

use std::time::Duration;

use orderly_domain::port::Audit as _;
use orderly_ingress::throttle::{Kind, Limits, Policy, Rate};
use orderly_ingress::{HospitalNames, Options};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::kit::{Kit, NOW, keys, options, problem, session};
use crate::streams::Events;

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_guarded_and_their_files_never_change() {
    let kit = Kit::start().await;
    for path in ["/", "/ops", "/reports"] {
        let page = kit.ask(Method::GET, path).send().await.unwrap();
        assert_eq!(page.status(), StatusCode::OK, "{path}");
        let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(page.headers()["x-content-type-options"], "nosniff");
        let tag = page.headers().get("etag").cloned();
        let text = page.text().await.unwrap();
        // Without the pages' build the server says how to make them, and has no files of theirs.
        let Some(tag) = tag else {
            assert!(text.contains("make web"), "{text}");
            continue;
        };
        let again = kit.ask(Method::GET, path).header("if-none-match", tag).send().await.unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        let script = text.split("src=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a script");
        let packed = kit.ask(Method::GET, script).header("accept-encoding", "br").send().await.unwrap();
        assert_eq!(packed.headers()["content-encoding"], "br");
        assert_eq!(packed.headers()["content-type"], "text/javascript; charset=utf-8");
        assert!(packed.headers()["cache-control"].to_str().unwrap().contains("immutable"));
        assert!(packed.headers().contains_key("content-security-policy"));
    }
    problem(kit.ask(Method::GET, "/assets/gone-1234.js").send().await.unwrap(), 404, "no-such-route").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hospital_is_told_by_what_can_be_looked_for() {
    let names = HospitalNames::from_toml("[cardiology]\nen = \"Heart centre\"\nzh = \"心脏中心\"\n").unwrap();
    let kit = Kit::with(Options { names, ..options() }, keys()).await;
    let mut other = session("s2", "wang", 3);
    other["campus"] = "west".into();
    other["day"] = "2026-11-24".into();
    kit.open(&[session("s1", "li", 5), other]).await;
    kit.book("ann", "k1", "s1").await;
    let told: Value = kit.ask(Method::GET, "/v1/hospital").send().await.unwrap().json().await.unwrap();
    assert_eq!((&told["demo"], &told["now"]), (&true.into(), &NOW.into()));
    assert_eq!(told["campuses"], json!(["east", "west"]));
    assert_eq!((&told["departments"], &told["timezones"]), (&json!(["cardiology"]), &json!(["Asia/Shanghai"])));
    assert_eq!(told["names"], json!({"cardiology": {"en": "Heart centre", "zh": "心脏中心"}}));
    let doctors = told["doctors"].as_array().unwrap();
    assert_eq!(doctors.iter().map(|doctor| &doctor["doctor_id"]).collect::<Vec<_>>(), ["li", "wang"]);
    let days = json!([{"day": "2026-11-23", "sessions": 1, "remaining": 4}, {"day": "2026-11-24", "sessions": 1, "remaining": 3}]);
    assert_eq!(told["days"], days);
    let time: Value = kit.ask(Method::GET, "/v1/time").send().await.unwrap().json().await.unwrap();
    assert_eq!(time, json!({"now": NOW}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rush_is_streamed_and_whoever_watches_leaves_one_entry() {
    let kit = Kit::with_session(5).await;
    let before = kit.audit.extent().await.unwrap().head.seq;
    let mut samples = Events::of(kit.ops(Method::GET, "/v1/pipeline/events").send().await.unwrap());
    let (name, _, first) = samples.next().await.unwrap();
    assert_eq!((name.as_str(), &first["totals"]["bookings"]["2xx"]), ("sample", &0.into()));
    for patient in ["ann", "bob", "cem"] {
        kit.book(patient, "k1", "s1").await;
    }
    let last = loop {
        let (_, _, sample) = samples.next().await.unwrap();
        if sample["hottest"][0]["doctor_id"] == "li" && sample["totals"]["decision"]["count"] == 4 {
            break sample;
        }
    };
    assert_eq!(last["totals"]["bookings"]["2xx"], 3);
    assert_eq!(last["totals"]["accept"]["count"], 3);
    assert!(last["hottest"][0]["requests_per_s"].as_f64().unwrap() > 0.0);
    assert_eq!(last["pipeline"]["partitions"].as_array().unwrap().len(), 4);
    kit.until_metric(r#"orderly_ingress_streams{kind="ops"} 1"#).await;
    kit.until_metric("orderly_ingress_heat_doctors 1").await;
    assert_eq!(kit.audit.extent().await.unwrap().head.seq, before + 1, "however long it is watched");
    drop(samples);
    kit.until_metric(r#"orderly_ingress_streams{kind="ops"} 0"#).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_rehearsed_before_it_is_set() {
    let kit = Kit::with_session(5).await;
    let rehearse = |policy: Value| kit.ops(Method::POST, "/v1/policy/rehearsals").json(&policy);
    let nobody: Value = rehearse(json!({"limits": {}})).send().await.unwrap().json().await.unwrap();
    assert_eq!((&nobody["arrivals"], &nobody["from"]), (&0.into(), &Value::Null));
    for patient in ["ann", "bob", "cem"] {
        kit.book(patient, "k1", "s1").await;
    }
    let limits = Limits { doctor: Some(Rate { rate_per_s: 0.001, burst: 1 }), ..Limits::default() };
    let policy = serde_json::to_value(Policy::of(limits)).unwrap();
    let told: Value = rehearse(policy).send().await.unwrap().json().await.unwrap();
    assert_eq!((&told["arrivals"], &told["in_force"]["admitted"]), (&3.into(), &3.into()));
    assert_eq!(told["rehearsed"]["admitted"], 1);
    assert_eq!(told["rehearsed"]["refused"][Kind::Doctor.as_str()]["patients"], 2);
    assert_eq!(told["most_affected"], json!({"doctor": [{"key": "li", "in_force": 0, "rehearsed": 2}]}));
    assert_eq!(told["not_recorded"], json!(["address", "client", "member_level"]));
    let wrong = json!({"limits": {"doctor": {"rate_per_s": 1.0, "burst": 0}}});
    let refused = problem(rehearse(wrong).send().await.unwrap(), 422, "invalid-policy").await;
    assert!(refused["errors"][0].as_str().unwrap().contains("burst"), "{refused}");
    // Nothing was set.
    kit.clock.advance(Duration::from_secs(1));
    let in_force: Value = kit.ops(Method::GET, "/v1/policy").send().await.unwrap().json().await.unwrap();
    assert_eq!(in_force["version"], 0);
}
