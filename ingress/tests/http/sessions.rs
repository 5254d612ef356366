//! The public list.

use reqwest::Method;
use serde_json::{Value, json};

use crate::kit::{Kit, at, problem, session};

async fn list(kit: &Kit, query: &str) -> Value {
    let answer = kit.ask(Method::GET, &format!("/v1/sessions{query}")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

fn ids(page: &Value) -> Vec<&str> {
    page["sessions"].as_array().unwrap().iter().map(|session| session["session_id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn is_filtered_and_paged() {
    let kit = Kit::start().await;
    let mut later = session("s0", "li", 5);
    later["day"] = json!("2026-11-24");
    later["campus"] = json!("west");
    let mut other = session("s3", "wang", 5);
    other["department"] = json!("心内科");
    other["start"] = json!("07:30:30");
    kit.open(&[later, session("s2", "li", 5), session("s1", "wang", 5), other]).await;
    let all = list(&kit, "").await;
    assert_eq!(ids(&all), ["s3", "s1", "s2", "s0"]);
    assert_eq!((&all["sessions"][0]["start"], &all["sessions"][1]["start"]), (&"07:30:30".into(), &"08:00".into()));
    assert!(all["next_cursor"].is_null());
    assert_eq!(ids(&list(&kit, "?doctor=li").await), ["s2", "s0"]);
    assert_eq!(ids(&list(&kit, "?campus=west").await), ["s0"]);
    assert_eq!(ids(&list(&kit, "?day=2026-11-23&department=cardiology").await), ["s1", "s2"]);
    assert_eq!(ids(&list(&kit, "?department=%E5%BF%83%E5%86%85%E7%A7%91").await), ["s3"]);

    let first = list(&kit, "?limit=3").await;
    assert_eq!(ids(&first), ["s3", "s1", "s2"]);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = list(&kit, &format!("?limit=3&cursor={cursor}")).await;
    assert_eq!(ids(&second), ["s0"]);
    assert!(second["next_cursor"].is_null());
    assert!(list(&kit, "?limit=4").await["next_cursor"].is_null());

    for wrong in ["?limit=0", "?limit=x", "?day=tomorrow", "?cursor=x", "?colour=red"] {
        let answer = kit.ask(Method::GET, &format!("/v1/sessions{wrong}")).send().await.unwrap();
        problem(answer, 400, "malformed-request").await;
    }
    let answer = kit.ask(Method::GET, "/v1/sessions/s9").send().await.unwrap();
    problem(answer, 404, "unknown-session").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn state_follows_the_clock() {
    let kit = Kit::start().await;
    let mut scheduled = session("s1", "li", 5);
    scheduled["release_at"] = json!("2026-11-23T01:00:00Z");
    kit.open(&[scheduled]).await;
    for (moment, state) in [
        ("2026-11-23T00:59:59Z", "scheduled"),
        ("2026-11-23T01:00:00Z", "open"),
        ("2026-11-23T03:59:59Z", "open"),
        ("2026-11-23T04:00:00Z", "closed"),
    ] {
        kit.clock.set(at(moment));
        let answer: Value = kit.ask(Method::GET, "/v1/sessions/s1").send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["state"], state, "{moment}");
        let found = list(&kit, &format!("?state={state}")).await;
        assert_eq!(ids(&found), ["s1"]);
    }
}
