//! The audit trail over HTTP: what leaves an entry, who reads it, and what is done when it cannot be written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use orderly_domain::Timestamp;
use orderly_domain::audit::{Algorithm, Entry, Linked, Place, request_hash, ticket_hash};
use orderly_domain::port::audit::Extent;
use orderly_domain::port::{Audit, Error, Result};
use orderly_ingress::audit::Options as AuditOptions;
use orderly_ingress::auth::Role;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::kit::{Kit, NOW, PATIENCE, Setup, at, options, problem, session, ticket_of};

/// Everything in the trail from `from` on.
async fn trail(kit: &Kit, from: u64) -> Vec<Linked> {
    kit.audit.scan(from, usize::MAX).await.unwrap()
}

/// How many entries there are.
async fn entries(kit: &Kit) -> u64 {
    kit.audit.extent().await.unwrap().head.seq
}

/// Who leaves entries by calling a route.
fn audited(method: &str, path: &str) -> Option<Role> {
    match (method, path) {
        ("delete", "/v1/tickets/{ticket}") => Some(Role::Patient),
        (_, "/v1/audit") => Some(Role::Auditor),
        (_, path) if path.starts_with("/v1/reports") => Some(Role::Analyst),
        (_, path) if path.starts_with("/v1/policy") || path.starts_with("/v1/breakers") => Some(Role::Ops),
        (_, "/v1/pipeline" | "/v1/pipeline/events" | "/v1/suspects") => Some(Role::Ops),
        ("get", "/v1/sessions/{session_id}/appointments" | "/v1/appointments/{appointment}/patient") => Some(Role::Ops),
        ("put" | "patch" | "post", path) if path.starts_with("/v1/sessions") => Some(Role::Ops),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_on_an_audited_route_leaves_one_entry_and_no_other_does() {
    let audit = AuditOptions { refusals_per_minute: 10_000, ..AuditOptions::default() };
    let kit = Kit::with(orderly_ingress::Options { audit, ..options() }, crate::kit::keys()).await;
    let description: Value = kit.ask(Method::GET, "/openapi.json").send().await.unwrap().json().await.unwrap();
    let mut audited_routes = 0;
    for (path, item) in description["paths"].as_object().unwrap() {
        let address = path.replace("{ticket}", "x").replace("{session_id}", "x").replace("{name}", "x");
        let address = address.replace("{appointment}", "x");
        for method in item.as_object().unwrap().keys() {
            let audited = audited(method, path);
            audited_routes += u64::from(audited.is_some());
            for role in [None].into_iter().chain(Role::ALL.map(Some)) {
                let before = entries(&kit).await;
                let ask = kit.ask(method.to_uppercase().parse().unwrap(), &address);
                let ask = match role {
                    Some(role) => ask.bearer_auth(kit.token("ann", role)),
                    None => ask.bearer_auth("no token"),
                };
                let status = ask.send().await.unwrap().status().as_u16();
                let new = trail(&kit, before + 1).await;
                if audited.is_none() {
                    assert_eq!(new.len(), 0, "{method} {path} as {role:?}");
                    continue;
                }
                let [Linked { entry, .. }] = &new[..] else { panic!("{method} {path} as {role:?}: {new:?}") };
                assert_eq!((entry.method.to_lowercase(), &entry.route), (method.clone(), path));
                assert_eq!((entry.status, entry.calls), (status, 1), "{method} {path} as {role:?}");
                assert_eq!(entry.actor.as_deref(), role.map(|_| "ann"));
                assert_eq!(entry.roles, role.map_or("", Role::as_str));
                assert_eq!(entry.client, "127.0.0.1");
                assert_eq!(entry.at, orderly_domain::Clock::now(&*kit.clock));
                let expected = match role {
                    None => Some("unauthenticated"),
                    Some(role) if Some(role) != audited => Some("forbidden"),
                    Some(_) => entry.problem.as_deref().filter(|kind| !["unauthenticated", "forbidden"].contains(kind)),
                };
                assert_eq!(entry.problem.as_deref(), expected);
                assert_eq!(entry.problem.is_some(), status >= 400, "{entry:?}");
            }
        }
    }
    assert!(audited_routes >= 11, "{audited_routes}");
    let mut verifier = orderly_domain::audit::Verifier::new(Place::BEGINNING, [], Timestamp::default());
    trail(&kit, 1).await.iter().for_each(|linked| verifier.check(linked));
    assert!(verifier.finish().holds());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_tells_what_was_asked_and_what_came_of_it() {
    let kit = Kit::start().await;
    let body = serde_json::to_vec(&[session("s1", "li", 5)]).unwrap();
    let put =
        kit.ops(Method::PUT, "/v1/sessions?x=1").header("content-type", "application/json").header("prefer", "wait=60");
    let status = put.body(body.clone()).send().await.unwrap().status();
    let ticket = ticket_of(&kit.book("ann", "k1", "s1").await);
    let path = format!("/v1/tickets/{ticket}");
    let cancelled = kit.patient("ann", Method::DELETE, &path).send().await.unwrap();
    assert_eq!(cancelled.status(), StatusCode::ACCEPTED);
    kit.ops(Method::POST, "/v1/sessions/s1/close").send().await.unwrap();

    let all = trail(&kit, 1).await;
    let [opened, cancelled, closed] = &all[..] else { panic!("{all:?}") };
    let mut hasher = request_hash(Algorithm::Sm3, "PUT", "/v1/sessions", "x=1");
    hasher.update(&body);
    assert_eq!((opened.entry.request, opened.entry.body_bytes), (hasher.finish(), body.len() as u64));
    assert_eq!((opened.entry.actor.as_deref(), opened.entry.status), (Some("chief"), status.as_u16()));
    let hash = ticket_hash(Algorithm::Sm3, &ticket);
    assert_eq!((&cancelled.entry.target, cancelled.entry.status), (&format!("ticket={hash}"), 202));
    assert_eq!((cancelled.entry.actor.as_deref(), &*cancelled.entry.roles), (Some("ann"), "patient"));
    assert_eq!(closed.entry.target, "session_id=s1");
    assert!(!format!("{all:?}").contains(&ticket), "a ticket is told by its hash");
}

#[tokio::test(flavor = "multi_thread")]
async fn auditors_read_it_page_by_page_and_are_seen() {
    let kit = Kit::start().await;
    for _ in 0..3 {
        kit.ops(Method::GET, "/v1/policy").send().await.unwrap();
    }
    let read = async |query: &str| -> Value {
        let ask = kit.ask(Method::GET, &format!("/v1/audit{query}")).bearer_auth(kit.token("eve", Role::Auditor));
        let answer = ask.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json().await.unwrap()
    };
    let seqs = |page: &Value| -> Vec<u64> {
        page["entries"].as_array().unwrap().iter().map(|entry| entry["seq"].as_u64().unwrap()).collect()
    };
    let first = read("?from=1&limit=2").await;
    assert_eq!((seqs(&first), &first["next"], &first["head"]["seq"]), (vec![1, 2], &json!(3), &json!(3)));
    assert_eq!(first["entries"][1]["previous"], first["entries"][0]["hash"]);
    let rest = read("?from=3").await;
    assert_eq!((seqs(&rest), &rest["next"]), (vec![3, 4], &Value::Null), "the first reading has left an entry");
    assert_eq!((&rest["entries"][1]["actor"], &rest["entries"][1]["route"]), (&json!("eve"), &json!("/v1/audit")));
    assert_eq!(seqs(&read("?limit=2").await), [4, 5], "the last ones, when nothing is said");
    assert_eq!(seqs(&read("?from=18446744073709551615").await), Vec::<u64>::new());
    for wrong in ["?limit=0", "?limit=1001", "?from=-1", "?form=1"] {
        let ask = kit.ask(Method::GET, &format!("/v1/audit{wrong}")).bearer_auth(kit.token("eve", Role::Auditor));
        problem(ask.send().await.unwrap(), 400, "malformed-request").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_refused_calls_is_told_by_its_number() {
    let audit = AuditOptions { refusals_per_minute: 3, ..AuditOptions::default() };
    let mut kit = Kit::with(orderly_ingress::Options { audit, ..options() }, crate::kit::keys()).await;
    for _ in 0..20 {
        problem(kit.ask(Method::GET, "/v1/policy").send().await.unwrap(), 401, "unauthenticated").await;
        // A patient's cancellations of what is not theirs cost them nothing either.
        problem(kit.patient("ann", Method::DELETE, "/v1/tickets/x").send().await.unwrap(), 404, "unknown-ticket").await;
    }
    assert_eq!(entries(&kit).await, 3);
    kit.until_metric("orderly_audit_summed_total 37\n").await;
    // What ops do is listed all the same.
    kit.ops(Method::GET, "/v1/policy").send().await.unwrap();
    kit.stop.take().unwrap().send(()).unwrap();
    (&mut kit.server).await.unwrap();
    let all = trail(&kit, 4).await;
    let told: Vec<_> = all.iter().map(|linked| (linked.entry.method.as_str(), linked.entry.calls)).collect();
    assert_eq!(told, [("GET", 1), ("-", 37)], "{all:?}");
}

/// The store goes by the machine's clock when it looks whether entries may go, so these are old by any.
#[tokio::test(flavor = "multi_thread")]
async fn entries_older_than_are_kept_go_and_their_number_is_told() {
    let day = Duration::from_secs(24 * 60 * 60);
    let before = |days: u32| Entry {
        node: "before".into(),
        number: days.into(),
        ..Entry::system(at(NOW).minus(day * days), "a call", String::new(), 1)
    };
    let kept_days = 365 * 5;
    let kept = day * kept_days;
    let audit = AuditOptions { retention: Some(kept), ..AuditOptions::default() };
    let kit = Kit::of(Setup {
        options: orderly_ingress::Options { audit, ..options() },
        trail: [kept_days + 35, kept_days + 1, kept_days - 1].map(before).into(),
        ..Setup::default()
    })
    .await;
    let told = async { while entries(&kit).await == 3 {} };
    tokio::time::timeout(PATIENCE, told).await.expect("old entries are looked for at the start");
    let all = trail(&kit, 1).await;
    let [young, forgotten] = &all[..] else { panic!("{all:?}") };
    assert_eq!((young.seq, &*young.entry.route), (3, "a call"));
    assert_eq!((forgotten.seq, &*forgotten.entry.route), (4, "entries that are forgotten"));
    assert_eq!((forgotten.entry.calls, &forgotten.entry.target), (2, &format!("before={}", at(NOW).minus(kept))));
}

/// A trail that fails as a full or absent store does.
struct Failing {
    audit: Arc<dyn Audit>,
    down: Arc<AtomicBool>,
}

#[async_trait]
impl Audit for Failing {
    fn algorithm(&self) -> Algorithm {
        self.audit.algorithm()
    }
    async fn append(&self, entries: &[Entry]) -> Result<Vec<Place>> {
        if self.down.load(Ordering::SeqCst) {
            return Err(Error::StorageFull("no space".into()));
        }
        self.audit.append(entries).await
    }
    async fn scan(&self, from: u64, entries_max: usize) -> Result<Vec<Linked>> {
        self.audit.scan(from, entries_max).await
    }
    async fn extent(&self) -> Result<Extent> {
        self.audit.extent().await
    }
    async fn prune(&self, before: Timestamp) -> Result<u64> {
        self.audit.prune(before).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_cannot_be_written_ops_wait_and_patients_do_not() {
    let down = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&down);
    // Long for a disk that others use too; one call here waits it out.
    let timeout = Duration::from_secs(2);
    let audit = AuditOptions { write_timeout: timeout, ..AuditOptions::default() };
    let setup = Setup {
        options: orderly_ingress::Options { audit, ..options() },
        edges: Box::new(move |ports| {
            let audit = Failing { audit: ports.audit, down: switch };
            orderly_ingress::Ports { audit: Arc::new(audit), ..ports }
        }),
        ..Setup::default()
    };
    let kit = Kit::of(setup).await;
    // The opening's entry may take longer than its answer waits.
    kit.ops(Method::PUT, "/v1/sessions")
        .header("prefer", "wait=60")
        .json(&[session("s1", "li", 5)])
        .send()
        .await
        .unwrap();
    let ticket = ticket_of(&kit.book("ann", "k1", "s1").await);
    kit.until_metric("orderly_audit_queue_entries 0\n").await;
    let before = entries(&kit).await;

    down.store(true, Ordering::SeqCst);
    // The first one is made before it is known, and says so.
    let change = json!({"policy": {"limits": {}, "keys_max": 1000}});
    let put = || kit.ops(Method::PUT, "/v1/policy").json(&change);
    let told = problem(put().send().await.unwrap(), 503, "audit-unavailable").await;
    assert_eq!(told["carried_out"], true);
    kit.until_metric("orderly_audit_up 0\n").await;
    let refused = put().send().await.unwrap();
    assert!(refused.headers().contains_key("retry-after"));
    let told = problem(refused, 503, "audit-unavailable").await;
    assert_eq!(told["carried_out"], Value::Null);
    assert_eq!(orderly_domain::port::Store::policies(&*kit.store, 9).await.unwrap().len(), 1, "nothing more was done");
    let reports = kit.ask(Method::GET, "/v1/reports").bearer_auth(kit.token("ada", Role::Analyst));
    problem(reports.send().await.unwrap(), 503, "audit-unavailable").await;
    problem(kit.ask(Method::GET, "/v1/policy").send().await.unwrap(), 401, "unauthenticated").await;
    let look = kit.ops(Method::GET, "/v1/pipeline").send().await.unwrap();
    assert_eq!(look.status(), StatusCode::OK, "ops see what is wrong");
    let path = format!("/v1/tickets/{ticket}");
    let cancelled = kit.patient("ann", Method::DELETE, &path).send().await.unwrap();
    assert_eq!(cancelled.status(), StatusCode::ACCEPTED, "the patient's cancellation is taken");
    kit.book("bob", "k2", "s1").await;
    assert_eq!(entries(&kit).await, before);

    down.store(false, Ordering::SeqCst);
    kit.until_metric("orderly_audit_up 1\n").await;
    kit.until_metric("orderly_audit_queue_entries 0\n").await;
    let new = trail(&kit, before + 1).await;
    let told: Vec<_> = new.iter().map(|linked| (&*linked.entry.method, linked.entry.status)).collect();
    assert_eq!(told, [("PUT", 200), ("DELETE", 202)], "what was done is there, in the order in which it was");
    assert_eq!(put().send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_its_entry() {
    let kit = Kit::with_session(5).await;
    let before = entries(&kit).await;
    kit.decide(false);
    // It waits for the decision, and nobody decides.
    let close = kit.ops(Method::POST, "/v1/sessions/s1/close").header("prefer", "wait=60");
    let logged = kit.logged().await;
    let asking = tokio::spawn(close.send());
    while kit.logged().await == logged {
        tokio::task::yield_now().await;
    }
    asking.abort();
    kit.decide(true);
    while entries(&kit).await == before {
        tokio::task::yield_now().await;
    }
    let new = trail(&kit, before + 1).await;
    assert_eq!((&*new[0].entry.route, new[0].entry.status), ("/v1/sessions/{session_id}/close", 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn cancellations_that_wait_leave_room_for_ops() {
    let audit = AuditOptions { queue_entries_max: 4, ..AuditOptions::default() };
    let kit = Kit::with(orderly_ingress::Options { audit, ..options() }, crate::kit::keys()).await;
    kit.open(&[session("s1", "li", 9)]).await;
    let mut tickets = Vec::new();
    for patient in ["ann", "bob", "cho", "dan", "eve"] {
        tickets.push((patient, ticket_of(&kit.book(patient, "k1", "s1").await)));
    }
    kit.until_metric("orderly_audit_queue_entries 0\n").await;
    kit.decide(false);
    let logged = kit.logged().await;
    let cancel = |(patient, ticket): (&str, String)| {
        kit.patient(patient, Method::DELETE, &format!("/v1/tickets/{ticket}")).header("prefer", "wait=60").send()
    };
    let waiting: Vec<_> = tickets.into_iter().map(|ticket| tokio::spawn(cancel(ticket))).collect();
    while kit.logged().await < logged + 5 {
        tokio::task::yield_now().await;
    }
    // Three of the four places are taken; two cancellations are told by their number.
    kit.until_metric("orderly_audit_queue_entries 3\n").await;
    let change = json!({"policy": {"limits": {}, "keys_max": 1000}});
    let put = kit.ops(Method::PUT, "/v1/policy").json(&change).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::OK);
    kit.decide(true);
    for cancelled in waiting {
        assert_eq!(cancelled.await.unwrap().unwrap().status(), StatusCode::OK);
    }
    kit.until_metric("orderly_audit_summed_total 2\n").await;
}
