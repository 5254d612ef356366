//! The pages for people: the web app, the page to wait at, and the API's description made readable. Nothing is loaded from
//! elsewhere.

mod app;

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use orderly_domain::breaker;

use crate::jitter;
use crate::problem::{Problem, kind};
use crate::state::Shared;

/// The soonest that the page to wait at tries again.
const WAIT_MIN: Duration = Duration::from_secs(3);

/// When it tries again while somebody holds the breaker open.
const WAIT_HELD: Duration = Duration::from_secs(15);

const HTML: &str = "text/html; charset=utf-8";
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; worker-src 'self'; connect-src 'self'; \
                      img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The patients' room, also while no request can be taken: it waits and tries again by itself, and keeps what its address
/// holds behind the `#`, a token or a ticket, which another page would lose. Where it was not built there is a page to wait
/// at.
pub(crate) async fn index(State(state): State<Shared>, headers: HeaderMap) -> Response {
    if let Some(built) = app::index(&headers) {
        return guarded(built);
    }
    // Not while the breaker waits for a probe: then it needs somebody who books.
    let open = state.ports.breakers.get("log").filter(|log| !log.is_closed()).map(|log| log.snapshot());
    match open {
        Some(log) if log.state == breaker::State::Open => {
            let now = state.ports.clock.now();
            let pause = log.probe_at.map_or(WAIT_HELD, |probe_at| probe_at.since(now));
            waiting(jitter::later(pause.max(WAIT_MIN)))
        }
        _ => unbuilt(),
    }
}

/// A room of the app. Which one, the app reads from the address.
pub(crate) async fn room(headers: HeaderMap) -> Response {
    app::index(&headers).map_or_else(unbuilt, guarded)
}

fn unbuilt() -> Response {
    page(HTML, include_str!("../../web/plain/unbuilt.html"))
}

/// A file that the app is made of.
pub(crate) async fn asset(Path(file): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let built = app::asset(&file, &headers).map(guarded);
    built.ok_or_else(|| Problem::new(&kind::NO_SUCH_ROUTE).detail("The pages have changed. Load the page again."))
}

/// A page for people that tries again by itself after that time. It is all text: it works without scripts.
pub(crate) fn waiting(after: Duration) -> Response {
    let seconds = after.as_millis().div_ceil(1_000).max(1).to_string();
    let mut response = page(HTML, include_str!("../../web/plain/waiting.html").replace("{seconds}", &seconds));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(seconds) = HeaderValue::from_str(&seconds) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

/// The API's description.
pub(crate) async fn docs() -> Response {
    page(HTML, include_str!("../../web/plain/docs.html"))
}

/// What the pages are made of.
pub(crate) async fn file(Path(file): Path<String>) -> Result<Response, Problem> {
    match file.as_str() {
        "docs.js" => Ok(page("text/javascript; charset=utf-8", include_str!("../../web/plain/docs.js"))),
        "style.css" => Ok(page("text/css; charset=utf-8", include_str!("../../web/plain/style.css"))),
        _ => Err(Problem::new(&kind::NO_SUCH_ROUTE).detail("See /docs.")),
    }
}

fn page(content_type: &'static str, text: impl Into<Body>) -> Response {
    guarded(([(header::CONTENT_TYPE, content_type)], text.into()).into_response())
}

/// With what a browser must not do with it.
fn guarded(mut response: Response) -> Response {
    let headers: [(HeaderName, &'static str); 3] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    response.headers_mut().extend(headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}
