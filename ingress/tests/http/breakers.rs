//! Breakers: what patients, browsers and ops see of them.

use std::sync::Arc;
use std::time::Duration;

use orderly_domain::breaker::Settings;
use orderly_ingress::{Bounds, Options, Ports};
use orderly_sinks::guarded::Guards;
use prometheus::Registry;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::faults::{Switches, switched};
use crate::kit::{Kit, Setup, options, problem, session};

/// All edges behind breakers.
fn guarded(ports: Ports) -> Ports {
    let guards = Guards::new(Settings::default(), &ports.clock, &Registry::new()).unwrap();
    Ports {
        log: guards.log(ports.log),
        store: guards.store(ports.store),
        analytics: guards.analytics(ports.analytics),
        breakers: guards.breakers(),
        ..ports
    }
}

async fn kit_with(options: Options) -> (Kit, Arc<Switches>) {
    let switches = Arc::new(Switches::default());
    let edges = {
        let switches = Arc::clone(&switches);
        Box::new(move |ports| guarded(switched(ports, &switches)))
    };
    let kit = Kit::of(Setup { edges, options, ..Setup::default() }).await;
    kit.open(&[session("s1", "li", 100)]).await;
    (kit, switches)
}

async fn kit() -> (Kit, Arc<Switches>) {
    kit_with(options()).await
}

async fn pipeline(kit: &Kit) -> Value {
    kit.ops(Method::GET, "/v1/pipeline").send().await.unwrap().json().await.unwrap()
}

async fn breaker(kit: &Kit, name: &str) -> Value {
    let view = pipeline(kit).await;
    view["breakers"].as_array().unwrap().iter().find(|breaker| breaker["name"] == name).unwrap().clone()
}

async fn hold(kit: &Kit, name: &str, state: &str) -> Value {
    let change = json!({"state": state, "reason": "the database moves"});
    let answer = kit.ops(Method::PUT, &format!("/v1/breakers/{name}")).json(&change).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_fails_is_left_alone_until_probes_go_well() {
    let (kit, switches) = kit().await;
    Switches::set(&switches.doubt, true);
    for patient in 0..4 {
        // With the session's opening, which went well, these are five calls.
        let answer = kit.booking(&format!("p{patient}"), "k1", "s1").send().await.unwrap();
        problem(answer, 503, "outcome-unknown").await;
    }
    let logged = kit.logged().await;
    let answer = kit.booking("ann", "k1", "s1").send().await.unwrap();
    let after: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let told = problem(answer, 503, "breaker-open").await;
    assert_eq!(told["breaker"], "log");
    assert!((1..=2).contains(&after) && told["retry_after_ms"].as_u64().unwrap() >= 1_000, "{told}");
    assert!(!told["detail"].as_str().unwrap().contains("answer got lost"), "causes are for ops: {told}");
    assert_eq!(kit.logged().await, logged, "the log was not asked");
    let view = breaker(&kit, "log").await;
    assert_eq!(
        (&view["state"], &view["held"], &view["opened_total"]),
        (&"open".into(), &"automatic".into(), &1.into())
    );
    assert!(view["cause"].as_str().unwrap().contains("the answer got lost"), "{view}");

    Switches::set(&switches.doubt, false);
    kit.clock.advance(Duration::from_secs(2));
    assert_eq!(breaker(&kit, "log").await["state"], "half_open");
    for patient in ["ann", "bob", "cid"] {
        assert_eq!(kit.book(patient, "k1", "s1").await["status"], "booked");
    }
    assert_eq!(breaker(&kit, "log").await["state"], "closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_a_page_to_wait_at() {
    let (kit, _) = kit().await;
    hold(&kit, "log", "open").await;
    let browser = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8";
    let room = kit.ask(Method::GET, "/").send().await.unwrap();
    let mut told = vec![kit.booking("ann", "k1", "s1").header("accept", browser).send().await.unwrap()];
    // The app, where it was built, waits by itself and keeps what its address holds behind the `#`.
    if room.headers().contains_key("etag") {
        assert_eq!(room.status(), StatusCode::OK);
    } else {
        told.push(room);
    }
    for answer in told {
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
        assert!(answer.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let seconds = answer.headers()["retry-after"].to_str().unwrap().to_owned();
        let page = answer.text().await.unwrap();
        assert!(page.contains(&format!(r#"http-equiv="refresh" content="{seconds}; url=/""#)), "{page}");
        assert!(page.contains("请稍候") && page.contains("Please wait"), "{page}");
        assert!(!page.contains("{seconds}") && !page.contains("http://") && !page.contains("<script"), "{page}");
    }
    problem(kit.booking("ann", "k1", "s1").send().await.unwrap(), 503, "breaker-open").await;
    hold(&kit, "log", "automatic").await;
    assert_eq!(kit.ask(Method::GET, "/").send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(kit.book("ann", "k1", "s1").await["status"], "booked");
}

#[tokio::test(flavor = "multi_thread")]
async fn ops_hold_a_breaker_and_let_it_go() {
    let (kit, _) = kit().await;
    let view = hold(&kit, "log", "open").await;
    assert_eq!((&view["state"], &view["held"]), (&"open".into(), &"open".into()));
    assert_eq!(view["cause"], "held open by chief: the database moves");
    problem(kit.booking("ann", "k1", "s1").send().await.unwrap(), 503, "breaker-open").await;
    let view = hold(&kit, "log", "closed").await;
    assert_eq!((&view["state"], &view["held"]), (&"closed".into(), &"closed".into()));
    assert_eq!(hold(&kit, "log", "automatic").await["held"], "automatic");
    kit.book("ann", "k1", "s1").await;

    let put = |name: &str| kit.ops(Method::PUT, &format!("/v1/breakers/{name}"));
    let told = problem(put("pump").json(&json!({"state": "open"})).send().await.unwrap(), 404, "unknown-breaker").await;
    assert_eq!(told["detail"], "The breakers are: log, ledger, store, store-reads, analytics.");
    let wrong = [json!({"state": "ajar"}), json!({}), json!({"state": "open", "reason": "x".repeat(501)})];
    for body in wrong {
        problem(put("log").json(&body).send().await.unwrap(), 400, "malformed-request").await;
    }
}

/// The store is away: requests are taken, up to a bound, and everybody is told that outcomes are late.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_bookings_are_taken_up_to_a_bound_and_told_as_late() {
    let shed = Bounds { undecided_max: 3, ..Bounds::default() };
    let (kit, _) = kit_with(Options { shed, ..options() }).await;
    kit.decide(false);
    hold(&kit, "store", "open").await;
    let mut tickets = Vec::new();
    for patient in ["ann", "bob", "cid"] {
        let answer = kit.booking(patient, "k1", "s1").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        let view: Value = answer.json().await.unwrap();
        assert_eq!((&view["late"], &view["eta_ms"]), (&true.into(), &Value::Null), "{view}");
        tickets.push((patient, view["ticket"].as_str().unwrap().to_owned()));
    }
    let answer = kit.booking("dan", "k1", "s1").send().await.unwrap();
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(problem(answer, 503, "overloaded").await["limit"], "undecided");
    assert_eq!(kit.logged().await, 4);
    // A retry of one that was taken is no new record.
    assert_eq!(kit.booking("ann", "k1", "s1").send().await.unwrap().status(), StatusCode::ACCEPTED);
    let view = pipeline(&kit).await;
    assert_eq!((&view["undecided"], &view["undecided_max"]), (&3.into(), &3.into()));
    kit.until_metric("orderly_ingress_undecided 3").await;
    kit.until_metric(r#"orderly_ingress_shed_total{bound="undecided"} 1"#).await;

    hold(&kit, "store", "automatic").await;
    kit.decide(true);
    for (patient, ticket) in &tickets {
        let path = format!("/v1/tickets/{ticket}?wait_ms=60000");
        let view: Value = kit.patient(patient, Method::GET, &path).send().await.unwrap().json().await.unwrap();
        assert_eq!((&view["status"], &view["late"]), (&"booked".into(), &Value::Null), "nobody was lost: {view}");
    }
    assert_eq!(kit.book("dan", "k1", "s1").await["number"], 4);
    kit.until_metric("orderly_ingress_undecided 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_stands_still_is_told_as_late() {
    let (kit, _) = kit().await;
    kit.decide(false);
    let ticket = kit.booking("ann", "k1", "s1").send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(ticket["late"], Value::Null);
    kit.clock.advance(Duration::from_secs(6));
    let path = ticket["links"]["self"].as_str().unwrap().to_owned();
    let ticket: Value = kit.patient("ann", Method::GET, &path).send().await.unwrap().json().await.unwrap();
    assert_eq!((&ticket["late"], &ticket["eta_ms"]), (&true.into(), &Value::Null));
    kit.decide(true);
    let path = format!("{path}?wait_ms=60000");
    let ticket: Value = kit.patient("ann", Method::GET, &path).send().await.unwrap().json().await.unwrap();
    assert_eq!(ticket["status"], "booked");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_analytics_nothing_changes_for_patients() {
    let (kit, _) = kit().await;
    hold(&kit, "analytics", "open").await;
    assert_eq!(kit.book("ann", "k1", "s1").await["number"], 1);
    let token = kit.token("eve", orderly_ingress::auth::Role::Analyst);
    let report = || kit.ask(Method::GET, "/v1/reports/summary").bearer_auth(&token).send();
    assert_eq!(problem(report().await.unwrap(), 503, "breaker-open").await["breaker"], "analytics");
    hold(&kit, "analytics", "automatic").await;
    assert_eq!(report().await.unwrap().status(), StatusCode::OK);
}

/// Ops look at the pipeline just when something is away.
#[tokio::test(flavor = "multi_thread")]
async fn the_pipelines_state_is_told_while_log_and_store_are_away() {
    let (kit, switches) = kit().await;
    Switches::set(&switches.store_down, true);
    let view = pipeline(&kit).await;
    assert_eq!(view["unread"], json!([{"part": "store", "cause": "did not happen: the store is away"}]));
    let partitions = view["partitions"].as_array().unwrap();
    assert_eq!((partitions.len(), &view["lag"]), (4, &0.into()), "as this node heard: {view}");
    Switches::set(&switches.log_down, true);
    let view = pipeline(&kit).await;
    assert_eq!((view["unread"].as_array().unwrap().len(), view["breakers"].as_array().unwrap().len()), (2, 5));
    Switches::set(&switches.store_down, false);
    Switches::set(&switches.log_down, false);
    // Progress is asked of the store itself, whatever its breaker says: takeovers begin with it.
    hold(&kit, "store-reads", "open").await;
    assert_eq!(pipeline(&kit).await["unread"], json!([]));
}
