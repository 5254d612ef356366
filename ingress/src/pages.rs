//! The pages for people: what there is, and the API's description made readable. Nothing is loaded from elsewhere.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
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
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What there is; a page to wait at while no request can be taken.
pub(crate) async fn index(State(state): State<Shared>) -> Response {
    // Not while the breaker waits for a probe: then it needs somebody who books.
    let open = state.ports.breakers.get("log").filter(|log| !log.is_closed()).map(|log| log.snapshot());
    match open {
        Some(log) if log.state == breaker::State::Open => {
            let now = state.ports.clock.now();
            let pause = log.probe_at.map_or(WAIT_HELD, |probe_at| probe_at.since(now));
            waiting(jitter::later(pause.max(WAIT_MIN)))
        }
        _ => page(HTML, include_str!("../web/index.html")),
    }
}

/// A page for people that tries again by itself after that time. It is all text: it works without scripts.
pub(crate) fn waiting(after: Duration) -> Response {
    let seconds = after.as_millis().div_ceil(1_000).max(1).to_string();
    let mut response = page(HTML, include_str!("../web/waiting.html").replace("{seconds}", &seconds));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(seconds) = HeaderValue::from_str(&seconds) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

/// The API's description.
pub(crate) async fn docs() -> Response {
    page(HTML, include_str!("../web/docs.html"))
}

/// What the pages are made of.
pub(crate) async fn file(Path(file): Path<String>) -> Result<Response, Problem> {
    match file.as_str() {
        "docs.js" => Ok(page("text/javascript; charset=utf-8", include_str!("../web/docs.js"))),
        "style.css" => Ok(page("text/css; charset=utf-8", include_str!("../web/style.css"))),
        _ => Err(Problem::new(&kind::NO_SUCH_ROUTE).detail("See /docs.")),
    }
}

fn page(content_type: &'static str, text: impl Into<Body>) -> Response {
    let headers: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, text.into()).into_response()
}
