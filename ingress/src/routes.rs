//! The route table: every address of the API, and who may call it. What is not in it is denied.

use axum::http::Method;

use crate::audit::Urgency;
use crate::auth::Role;

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody, without a token.
    Public,
    /// Those whose token has this role.
    Only(Role),
}

/// How long a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As long as a request may.
    Prompt,
    /// It waits, or streams, and bounds itself.
    Waits,
}

/// An address with a method.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) pace: Pace,
    /// Whether each call leaves an entry in the audit trail, and what is done when it cannot.
    pub(crate) audited: Option<Urgency>,
}

const fn route(method: Method, path: &'static str, access: Access, pace: Pace) -> Route {
    let audited = match access {
        Access::Only(Role::Ops) if matches!(method, Method::GET) => Some(Urgency::Looks),
        Access::Only(Role::Ops | Role::Analyst | Role::Auditor) => Some(Urgency::Waits),
        Access::Only(Role::Patient) | Access::Public => None,
    };
    Route { method, path, access, pace, audited }
}

/// What patients do that is audited.
const fn cancellation(method: Method, path: &'static str) -> Route {
    Route { method, path, access: PATIENT, pace: Pace::Waits, audited: Some(Urgency::Goes) }
}

const PATIENT: Access = Access::Only(Role::Patient);
const OPS: Access = Access::Only(Role::Ops);
const ANALYST: Access = Access::Only(Role::Analyst);
const AUDITOR: Access = Access::Only(Role::Auditor);

/// Every route.
pub(crate) static TABLE: [Route; 26] = [
    route(Method::POST, "/v1/bookings", PATIENT, Pace::Waits),
    route(Method::GET, "/v1/tickets/{ticket}", PATIENT, Pace::Waits),
    cancellation(Method::DELETE, "/v1/tickets/{ticket}"),
    route(Method::GET, "/v1/tickets/{ticket}/events", PATIENT, Pace::Waits),
    route(Method::GET, "/v1/sessions", Access::Public, Pace::Prompt),
    route(Method::PUT, "/v1/sessions", OPS, Pace::Waits),
    route(Method::GET, "/v1/sessions/events", Access::Public, Pace::Waits),
    route(Method::GET, "/v1/sessions/{session_id}", Access::Public, Pace::Prompt),
    route(Method::PATCH, "/v1/sessions/{session_id}", OPS, Pace::Waits),
    route(Method::POST, "/v1/sessions/{session_id}/close", OPS, Pace::Waits),
    route(Method::GET, "/v1/policy", OPS, Pace::Prompt),
    route(Method::PUT, "/v1/policy", OPS, Pace::Prompt),
    route(Method::GET, "/v1/policy/history", OPS, Pace::Prompt),
    route(Method::GET, "/v1/pipeline", OPS, Pace::Prompt),
    route(Method::PUT, "/v1/breakers/{name}", OPS, Pace::Prompt),
    route(Method::GET, "/v1/reports", ANALYST, Pace::Prompt),
    route(Method::GET, "/v1/reports/{name}", ANALYST, Pace::Prompt),
    route(Method::GET, "/v1/audit", AUDITOR, Pace::Prompt),
    route(Method::POST, "/v1/demo/token", Access::Public, Pace::Prompt),
    route(Method::GET, "/metrics", Access::Public, Pace::Prompt),
    route(Method::GET, "/healthz", Access::Public, Pace::Prompt),
    route(Method::GET, "/readyz", Access::Public, Pace::Prompt),
    route(Method::GET, "/openapi.json", Access::Public, Pace::Prompt),
    route(Method::GET, "/docs", Access::Public, Pace::Prompt),
    route(Method::GET, "/docs/{file}", Access::Public, Pace::Prompt),
    route(Method::GET, "/", Access::Public, Pace::Prompt),
];

/// What a process serves that takes no requests of patients.
pub(crate) const OPERATIONS: [&str; 5] = ["/metrics", "/healthz", "/readyz", "/v1/pipeline", "/v1/breakers/{name}"];

/// The index in [`TABLE`] of a call.
pub(crate) fn find(method: &Method, path: &str) -> Option<usize> {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    TABLE.iter().position(|route| route.path == path && route.method == *method)
}
