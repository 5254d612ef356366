//! What ops do: sessions, pipeline, health.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::kit::{Kit, problem, session};

#[tokio::test(flavor = "multi_thread")]
async fn opens_sessions_by_array_and_by_lines() {
    let kit = Kit::start().await;
    let list = [session("s1", "li", 5), session("s2", "wang", 5)];
    let answer = kit.ops(Method::PUT, "/v1/sessions").json(&list).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let taken: Value = answer.json().await.unwrap();
    assert_eq!((&taken["accepted"], &taken["log"][1]["session_id"]), (&2.into(), &"s2".into()));
    assert!(taken["log"][0]["partition"].is_u64() && taken["log"][0]["offset"].is_u64());
    let lines = format!("{}\n{}\n", session("s1", "li", 7), session("s3", "wang", 5));
    let request = kit.ops(Method::PUT, "/v1/sessions").header("content-type", "application/x-ndjson");
    let answer = request.header("prefer", "wait=60").body(lines).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.json::<Value>().await.unwrap()["refused"], json!([]));
    let session: Value = kit.ask(Method::GET, "/v1/sessions/s1").send().await.unwrap().json().await.unwrap();
    assert_eq!((&session["capacity"], &session["remaining"]), (&7.into(), &7.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_wrong_session_opens_none() {
    let kit = Kit::start().await;
    let mut wrong = session("s2", "wang", 5);
    wrong["timezone"] = json!("Mars/Olympus");
    let list = [session("s1", "li", 5), wrong];
    let answer = kit.ops(Method::PUT, "/v1/sessions").json(&list).send().await.unwrap();
    let body = problem(answer, 422, "invalid-sessions").await;
    assert_eq!((&body["errors"][0]["index"], &body["errors"][0]["field"]), (&1.into(), &"timezone".into()));
    assert_eq!(kit.logged().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_keeps_its_doctor() {
    let kit = Kit::with_session(5).await;
    let logged = kit.logged().await;
    let list = [session("s1", "wang", 5)];
    let answer = kit.ops(Method::PUT, "/v1/sessions").json(&list).send().await.unwrap();
    problem(answer, 409, "session-conflict").await;
    assert_eq!(kit.logged().await, logged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_only_the_pipeline_sees_is_told_with_the_list() {
    let kit = Kit::with_session(3).await;
    let first = kit.book("ann", "k1", "s1").await;
    kit.book("bob", "k1", "s1").await;
    // Number 2 is held and 1 is not: one number is booked, and a capacity of 1 is too small all the same.
    let path = first["links"]["self"].as_str().unwrap();
    kit.patient("ann", Method::DELETE, path).header("prefer", "wait=60").send().await.unwrap();
    let list = [session("s1", "li", 1), session("s2", "wang", 5)];
    let put = || kit.ops(Method::PUT, "/v1/sessions").json(&list);
    let refused = json!([{"session_id": "s1", "reason": "below_booked"}]);

    kit.decide(false);
    let answer = put().header("prefer", "wait=0").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let taken: Value = answer.json().await.unwrap();
    assert_eq!((&taken["accepted"], &taken["decided"], taken.get("refused")), (&2.into(), &false.into(), None));

    kit.decide(true);
    let answer = put().header("prefer", "wait=60").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let decided: Value = answer.json().await.unwrap();
    assert_eq!((&decided["decided"], &decided["refused"]), (&true.into(), &refused));
    // Nobody has to ask for the wait to be told, when it is a short one.
    loop {
        let answer = put().send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        assert!(answer.headers().get("preference-applied").is_none());
        let taken: Value = answer.json().await.unwrap();
        if taken["decided"] == true {
            assert_eq!(taken["refused"], refused);
            break;
        }
    }
    for (id, capacity) in [("s1", 3), ("s2", 5)] {
        let known: Value =
            kit.ask(Method::GET, &format!("/v1/sessions/{id}")).send().await.unwrap().json().await.unwrap();
        assert_eq!(known["capacity"], capacity);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn capacity_does_not_fall_below_what_is_booked() {
    let kit = Kit::with_session(3).await;
    let first = kit.book("ann", "k1", "s1").await;
    kit.book("bob", "k1", "s1").await;
    let resize = |capacity: u32| kit.ops(Method::PATCH, "/v1/sessions/s1").json(&json!({"capacity": capacity}));
    let body = problem(resize(1).send().await.unwrap(), 409, "below-booked").await;
    assert_eq!(body["booked"], 2);
    // Number 2 is still held: the catalogue cannot see it, the decision can.
    let path = first["links"]["self"].as_str().unwrap();
    kit.patient("ann", Method::DELETE, path).header("prefer", "wait=60").send().await.unwrap();
    let answer = resize(1).header("prefer", "wait=60").send().await.unwrap();
    problem(answer, 409, "below-booked").await;
    let answer = resize(2).header("prefer", "wait=60").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let body: Value = answer.json().await.unwrap();
    assert_eq!((&body["session"]["capacity"], &body["session"]["remaining"]), (&2.into(), &1.into()));
    for wrong in
        [json!({"capacity": 0}), json!({"capacity": "2"}), json!({"capacity": 2, "day": "2026-11-24"}), json!({})]
    {
        let answer = kit.ops(Method::PATCH, "/v1/sessions/s1").json(&wrong).send().await.unwrap();
        problem(answer, 400, "malformed-request").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shows_lag_and_health() {
    let kit = Kit::with_session(5).await;
    kit.decide(false);
    for patient in ["ann", "bob"] {
        kit.booking(patient, "k1", "s1").send().await.unwrap();
    }
    let view: Value = kit.ops(Method::GET, "/v1/pipeline").send().await.unwrap().json().await.unwrap();
    assert_eq!((&view["lag"], view["partitions"].as_array().unwrap().len()), (&2.into(), 4));
    assert!(view["pipeline"].is_null());
    let busy = view["partitions"].as_array().unwrap().iter().find(|partition| partition["lag"] == 2).unwrap();
    assert_eq!((&busy["owner"], &busy["next_offset"]), (&"test".into(), &1.into()));
    let ready = kit.ask(Method::GET, "/readyz").send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::OK);
    assert_eq!(ready.json::<Value>().await.unwrap(), json!({"ready": true, "causes": []}));
    assert_eq!(kit.ask(Method::GET, "/healthz").send().await.unwrap().status(), StatusCode::OK);
    let metrics = kit.ask(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let requests = r#"orderly_ingress_requests_total{class="2xx",method="POST",route="/v1/bookings"} 2"#;
    assert!(metrics.contains(requests), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_description_are_there() {
    let kit = Kit::start().await;
    for path in ["/", "/docs", "/docs/docs.js", "/docs/style.css", "/openapi.json"] {
        let answer = kit.ask(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    for path in ["/nowhere", "/docs/nothing.js"] {
        problem(kit.ask(Method::GET, path).send().await.unwrap(), 404, "no-such-route").await;
    }
    problem(kit.ask(Method::DELETE, "/v1/bookings").send().await.unwrap(), 405, "method-not-allowed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_given_as_json_and_csv() {
    let kit = Kit::start().await;
    let ask =
        |path: &str| kit.ask(Method::GET, path).bearer_auth(kit.token("ada", orderly_ingress::auth::Role::Analyst));
    let reports: Value = ask("/v1/reports").send().await.unwrap().json().await.unwrap();
    let name = reports[0]["name"].as_str().unwrap();
    let path = format!("/v1/reports/{name}?from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z");
    let report: Value = ask(&path).send().await.unwrap().json().await.unwrap();
    assert_eq!((&report["name"], &report["from"]), (&name.into(), &"2026-11-01T00:00:00Z".into()));
    let columns = report["columns"].as_array().unwrap().iter().map(|column| column.as_str().unwrap());
    let columns: Vec<_> = columns.collect();
    let csv = ask(&path).header("accept", "text/csv").send().await.unwrap();
    assert_eq!(csv.headers()["content-type"], "text/csv; charset=utf-8");
    assert!(csv.text().await.unwrap().starts_with(&columns.join(",")));
    // A choice among rows needs their column.
    let chosen = ask("/v1/reports/departments?department=cardiology&campus=east").send().await.unwrap();
    let told = problem(chosen, 400, "malformed-request").await;
    assert!(told["detail"].as_str().unwrap().contains("no column `campus`"), "{told}");
    let chosen =
        ask("/v1/reports/departments?department=cardiology").header("accept", "text/csv").send().await.unwrap();
    assert!(chosen.text().await.unwrap().starts_with("department,"));
    problem(ask("/v1/reports/nothing").send().await.unwrap(), 404, "unknown-report").await;
    let backwards = format!("/v1/reports/{name}?from=2026-12-01T00:00:00Z&to=2026-11-01T00:00:00Z");
    problem(ask(&backwards).send().await.unwrap(), 400, "malformed-request").await;
}
