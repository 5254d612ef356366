//! The pages for people: what there is, and the API's description made readable. Nothing is loaded from elsewhere.

use axum::extract::Path;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse as _, Response};

use crate::problem::{Problem, kind};

const HTML: &str = "text/html; charset=utf-8";
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What there is.
pub(crate) async fn index() -> Response {
    page(HTML, include_str!("../web/index.html"))
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

fn page(content_type: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, text).into_response()
}
