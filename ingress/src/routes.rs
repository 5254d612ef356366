//! The route table: every address of the API, and who may call it. What is not in it is denied.

use std::collections::BTreeMap;
use std::sync::LazyLock;

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

/// What shows data of patients to ops: without its entry in the trail nobody sees them.
const fn disclosure(path: &'static str) -> Route {
    Route { method: Method::GET, path, access: OPS, pace: Pace::Prompt, audited: Some(Urgency::Waits) }
}

const PATIENT: Access = Access::Only(Role::Patient);
const OPS: Access = Access::Only(Role::Ops);
const ANALYST: Access = Access::Only(Role::Analyst);
const AUDITOR: Access = Access::Only(Role::Auditor);

/// Who comes in at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Everybody, where there is one listener for all.
    Everybody,
    /// Patients, where there is another one for ops.
    Patients,
    /// Ops, analysts, auditors, and what watches the node.
    Ops,
}

/// Public addresses that patients have no use for: where there is a listener for ops, they are there only.
const FOR_OPS: [&str; 3] = ["/metrics", "/ops", "/reports"];

impl Route {
    /// Whether there is this route for those who come in at that side.
    fn is_at(&self, side: Side) -> bool {
        match (side, self.access) {
            (Side::Everybody, _) => true,
            (Side::Ops, access) => access != PATIENT,
            (Side::Patients, Access::Public) => !FOR_OPS.contains(&self.path),
            (Side::Patients, access) => access == PATIENT,
        }
    }
}

/// Every route.
pub(crate) static TABLE: [Route; 36] = [
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
    disclosure("/v1/sessions/{session_id}/appointments"),
    disclosure("/v1/appointments/{appointment}/patient"),
    route(Method::GET, "/v1/policy", OPS, Pace::Prompt),
    route(Method::PUT, "/v1/policy", OPS, Pace::Prompt),
    route(Method::GET, "/v1/policy/history", OPS, Pace::Prompt),
    route(Method::GET, "/v1/suspects", OPS, Pace::Prompt),
    route(Method::POST, "/v1/policy/rehearsals", OPS, Pace::Prompt),
    route(Method::GET, "/v1/pipeline", OPS, Pace::Prompt),
    route(Method::GET, "/v1/pipeline/events", OPS, Pace::Waits),
    route(Method::PUT, "/v1/breakers/{name}", OPS, Pace::Prompt),
    route(Method::GET, "/v1/reports", ANALYST, Pace::Prompt),
    route(Method::GET, "/v1/reports/{name}", ANALYST, Pace::Prompt),
    route(Method::GET, "/v1/audit", AUDITOR, Pace::Prompt),
    route(Method::GET, "/v1/hospital", Access::Public, Pace::Prompt),
    route(Method::GET, "/v1/time", Access::Public, Pace::Prompt),
    route(Method::POST, "/v1/demo/token", Access::Public, Pace::Prompt),
    route(Method::GET, "/metrics", Access::Public, Pace::Prompt),
    route(Method::GET, "/healthz", Access::Public, Pace::Prompt),
    route(Method::GET, "/readyz", Access::Public, Pace::Prompt),
    route(Method::GET, "/openapi.json", Access::Public, Pace::Prompt),
    route(Method::GET, "/docs", Access::Public, Pace::Prompt),
    route(Method::GET, "/docs/{file}", Access::Public, Pace::Prompt),
    route(Method::GET, "/assets/{file}", Access::Public, Pace::Prompt),
    route(Method::GET, "/ops", Access::Public, Pace::Prompt),
    route(Method::GET, "/reports", Access::Public, Pace::Prompt),
    route(Method::GET, "/", Access::Public, Pace::Prompt),
];

/// What a process serves that takes no requests of patients.
pub(crate) const OPERATIONS: [&str; 5] = ["/metrics", "/healthz", "/readyz", "/v1/pipeline", "/v1/breakers/{name}"];

/// The indices in [`TABLE`] of the routes of a path.
static PATHS: LazyLock<matchit::Router<Vec<usize>>> = LazyLock::new(|| {
    let mut indices = BTreeMap::<_, Vec<_>>::new();
    for (index, route) in TABLE.iter().enumerate() {
        indices.entry(route.path).or_default().push(index);
    }
    let mut paths = matchit::Router::new();
    for (path, indices) in indices {
        paths.insert(path, indices).expect("the table's paths do not contradict each other");
    }
    paths
});

/// What a call finds in [`TABLE`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A route, by its index.
    Route(usize),
    /// Routes of this path that take these methods.
    OtherMethods(Vec<&'static Method>),
    /// Nothing.
    Nothing,
}

/// Looks a call up, for those who come in at that side.
pub(crate) fn find(side: Side, method: &Method, path: &str) -> Found {
    let Ok(found) = PATHS.at(path) else { return Found::Nothing };
    let asked = if *method == Method::HEAD { &Method::GET } else { method };
    let indices = || found.value.iter().filter(|index| TABLE[**index].is_at(side));
    let methods = || indices().map(|index| &TABLE[*index].method);
    match indices().find(|index| TABLE[**index].method == *asked) {
        Some(index) => Found::Route(*index),
        None if indices().next().is_none() => Found::Nothing,
        None => {
            let head = methods().any(|method| *method == Method::GET).then_some(&Method::HEAD);
            Found::OtherMethods(methods().chain(head).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_found_by_its_path() {
        for (index, route) in TABLE.iter().enumerate() {
            assert_eq!(
                find(Side::Everybody, &route.method, &route.path.replace(['{', '}'], "")),
                Found::Route(index),
                "{}",
                route.path
            );
        }
    }

    #[test]
    fn other_methods_and_paths_are_told_apart() {
        assert_eq!(find(Side::Everybody, &Method::HEAD, "/healthz"), find(Side::Everybody, &Method::GET, "/healthz"));
        let taken = [&Method::PUT, &Method::GET, &Method::HEAD];
        let Found::OtherMethods(found) = find(Side::Everybody, &Method::DELETE, "/v1/sessions") else {
            panic!("it takes no DELETE")
        };
        assert!(found.len() == 3 && taken.iter().all(|method| found.contains(method)), "{found:?}");
        for path in ["/v1/bookings/", "/v1", "", "*", "/v1/tickets/a/b/c"] {
            assert_eq!(find(Side::Everybody, &Method::GET, path), Found::Nothing, "{path}");
        }
    }

    #[test]
    fn with_a_listener_for_ops_each_side_has_its_own() {
        let is_at = |side, method: &Method, path: &str| matches!(find(side, method, path), Found::Route(_));
        for route in &TABLE {
            let path = route.path.replace(['{', '}'], "");
            let at = [Side::Patients, Side::Ops].map(|side| is_at(side, &route.method, &path));
            let expected = match route.access {
                Access::Only(Role::Patient) => [true, false],
                Access::Only(Role::Ops | Role::Analyst | Role::Auditor) => [false, true],
                Access::Public => [!["/metrics", "/ops", "/reports"].contains(&route.path), true],
            };
            assert_eq!(at, expected, "{} {}", route.method, route.path);
        }
        // What is not there is not told by its methods either.
        assert_eq!(find(Side::Patients, &Method::DELETE, "/v1/policy"), Found::Nothing);
        let taken = Found::OtherMethods(vec![&Method::GET, &Method::HEAD]);
        assert_eq!(find(Side::Patients, &Method::PUT, "/v1/sessions"), taken);
    }
}
