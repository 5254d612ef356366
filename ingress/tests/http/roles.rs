//! Who may call what: every route with every role.

use orderly_ingress::auth::Role;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::kit::Kit;

/// Who may call a route; `None` for everybody, without a token.
fn allowed(method: &str, path: &str) -> Option<Role> {
    match (method, path) {
        ("get", "/v1/sessions" | "/v1/sessions/events" | "/v1/sessions/{session_id}") => None,
        ("get", "/v1/hospital" | "/v1/time" | "/healthz" | "/readyz" | "/metrics") | ("post", "/v1/demo/token") => None,
        (_, path) if path.starts_with("/v1/tickets") || path == "/v1/bookings" => Some(Role::Patient),
        (_, "/v1/audit") => Some(Role::Auditor),
        (_, path) if path.starts_with("/v1/reports") => Some(Role::Analyst),
        (_, path) if path.starts_with("/v1/policy") || path.starts_with("/v1/pipeline") => Some(Role::Ops),
        ("get", "/v1/suspects") => Some(Role::Ops),
        ("put", "/v1/breakers/{name}") => Some(Role::Ops),
        ("get", "/v1/sessions/{session_id}/appointments" | "/v1/appointments/{appointment}/patient") => Some(Role::Ops),
        ("put" | "patch" | "post", path) if path.starts_with("/v1/sessions") => Some(Role::Ops),
        other => panic!("say here who may call {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_in_its_role_alone() {
    let kit = Kit::start().await;
    let description: Value = kit.ask(Method::GET, "/openapi.json").send().await.unwrap().json().await.unwrap();
    let mut calls = 0;
    for (path, item) in description["paths"].as_object().unwrap() {
        let address = path.replace("{ticket}", "x").replace("{session_id}", "x").replace("{name}", "x");
        let address = address.replace("{appointment}", "x");
        for method in item.as_object().unwrap().keys() {
            let allowed = allowed(method, path);
            let ask = || kit.ask(method.to_uppercase().parse().unwrap(), &address);
            let status = ask().send().await.unwrap().status();
            assert_eq!(status == StatusCode::UNAUTHORIZED, allowed.is_some(), "{method} {path}: {status}");
            for role in Role::ALL {
                let status = ask().bearer_auth(kit.token("ann", role)).send().await.unwrap().status();
                assert_ne!(status, StatusCode::UNAUTHORIZED, "{method} {path} as {role:?}");
                let refused = allowed.is_some_and(|allowed| allowed != role);
                assert_eq!(status == StatusCode::FORBIDDEN, refused, "{method} {path} as {role:?}: {status}");
                assert!(!status.is_server_error(), "{method} {path} as {role:?}: {status}");
                calls += 1;
            }
        }
    }
    assert!(calls >= 60, "{calls}");
}
