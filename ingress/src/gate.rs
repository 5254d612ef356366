//! The gate: what every request passes, in one step. It finds the route, lets the caller in or not, bounds the time,
//! catches panics, counts the answer, and has what is audited written down.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use tower::Service as _;

use crate::audit::{Call, Urgency};
use crate::auth::Caller;
use crate::jitter;
use crate::pages;
use crate::problem::{ComeBack, Problem, RETRY, kind};
use crate::routes::{self, Access, Found, Pace, Route, Side};
use crate::state::Shared;
use crate::suspicion::Witness;

pub(crate) async fn gate(state: Shared, router: Router, side: Side, mut request: Request) -> Response {
    let index = match routes::find(side, request.method(), request.uri().path()) {
        Found::Route(index) => index,
        Found::OtherMethods(taken) => return method_not_allowed(&taken).into_response(),
        Found::Nothing => return no_such_route().into_response(),
    };
    let route = &routes::TABLE[index];
    if state.options.operations_only && !routes::OPERATIONS.contains(&route.path) {
        return no_such_route().into_response();
    }
    let for_a_person = wants_a_page(request.headers());
    let admitted = admit(&state, request.headers(), route.access);
    let watched = state.policy.suspicion.is_on().then(|| {
        let caller = match &admitted {
            Ok(caller) => caller.clone(),
            Err(refusal) => refusal.caller.clone(),
        };
        (Witness::of(&request), caller)
    });
    let response = match route.audited {
        None => match admitted {
            Ok(caller) => {
                if let Some(caller) = caller {
                    request.extensions_mut().insert(caller);
                }
                answer(&state, route, router, request).await
            }
            Err(refusal) => refusal.problem.into_response(),
        },
        Some(urgency) => audited(&state, route, urgency, admitted, router, request).await,
    };
    if let Some((witness, caller)) = watched {
        state.policy.suspicion.witnessed(witness, caller.as_ref(), &response, state.ports.clock.now());
    }
    state.metrics.answered(index, response.status());
    match response.extensions().get::<ComeBack>() {
        Some(ComeBack(after)) if for_a_person => pages::waiting(*after),
        _ => response,
    }
}

/// Whether a browser asks for a page, rather than a program for data: what browsers send when a person goes somewhere names
/// XHTML; what programs send by default does not.
fn wants_a_page(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/xhtml+xml") && !accept.contains("json"))
}

/// A call that leaves an entry in the audit trail. Its answer goes out when the entry is durable.
async fn audited(
    state: &Shared,
    route: &'static Route,
    urgency: Urgency,
    admitted: Result<Option<Caller>, Refusal>,
    router: Router,
    mut request: Request,
) -> Response {
    let trail = &state.trail;
    let mut call = Call::of(route, &request, trail.algorithm(), state.ports.clock.now());
    match admitted {
        Ok(None) => {}
        Ok(Some(caller)) => {
            call.by(&caller);
            request.extensions_mut().insert(caller);
        }
        Err(Refusal { caller, problem }) => {
            if let Some(caller) = caller {
                call.by(&caller);
            }
            return trail.record_refusal(call, problem.into_response()).await;
        }
    }
    let leave = match trail.leave(urgency) {
        Ok(leave) => leave,
        Err(problem) => return problem.into_response(),
    };
    let request = call.listen(request);
    let state = Arc::clone(state);
    // A task of its own: a client that goes away leaves no action without its entry.
    let task = tokio::spawn(async move {
        let response = answer(&state, route, router, request).await;
        state.trail.record(leave, call, response).await
    });
    task.await.unwrap_or_else(|error| Problem::internal("an audited call", &error).into_response())
}

/// The handler's answer, in time.
async fn answer(state: &Shared, route: &Route, mut router: Router, request: Request) -> Response {
    let answer = AssertUnwindSafe(router.call(request)).catch_unwind();
    let answer = match route.pace {
        Pace::Waits => answer.await,
        Pace::Prompt => match tokio::time::timeout(state.options.request_timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => Ok(Ok(Problem::new(&kind::UNAVAILABLE)
                .detail("The answer took too long. Ask again.")
                .retry_after(jitter::spread(RETRY))
                .into_response())),
        },
    };
    answer.map(|Ok(response)| response).unwrap_or_else(|_| {
        state.metrics.panics.inc();
        tracing::error!(route = route.path, "a handler panicked");
        Problem::new(&kind::INTERNAL).detail("This is a fault of the server. Ask again later.").into_response()
    })
}

/// A call that is not let in.
struct Refusal {
    /// Who called, when their token is good.
    caller: Option<Caller>,
    problem: Problem,
}

/// The caller, where the route asks for one.
fn admit(state: &Shared, headers: &HeaderMap, access: Access) -> Result<Option<Caller>, Refusal> {
    let Access::Only(role) = access else { return Ok(None) };
    let caller = authenticate(state, headers).map_err(|problem| Refusal { caller: None, problem })?;
    if caller.0.roles.has(role) {
        return Ok(Some(caller));
    }
    let problem =
        Problem::new(&kind::FORBIDDEN).detail(format!("This call needs a token with the role {}.", role.as_str()));
    Err(Refusal { caller: Some(caller), problem })
}

fn authenticate(state: &Shared, headers: &HeaderMap) -> Result<Caller, Problem> {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_at_checked("Bearer ".len()))
        .and_then(|(scheme, token)| scheme.eq_ignore_ascii_case("Bearer ").then(|| token.trim()))
        .ok_or_else(|| {
            Problem::new(&kind::UNAUTHENTICATED).detail("Send the header: Authorization: Bearer, a space, the token.")
        })?;
    state.verifier.verify(token, state.ports.clock.now()).map_err(|refused| {
        Problem::new(&kind::UNAUTHENTICATED)
            .detail(refused.to_string())
            .header(header::WWW_AUTHENTICATE, r#"Bearer realm="orderly", error="invalid_token""#)
    })
}

/// Answers what no route matches.
fn no_such_route() -> Problem {
    Problem::new(&kind::NO_SUCH_ROUTE).detail("See /docs for what there is.")
}

/// Answers a method that a route does not take.
fn method_not_allowed(taken: &[&Method]) -> Problem {
    let taken: Vec<_> = taken.iter().map(|method| method.as_str()).collect();
    Problem::new(&kind::METHOD_NOT_ALLOWED)
        .detail("See /docs for what it takes.")
        .header(header::ALLOW, &taken.join(","))
}
