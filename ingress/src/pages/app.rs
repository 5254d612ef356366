//! The web app's files, as `make web` built them: held by the program, packed already.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// A built file, as it is and packed.
#[derive(Debug)]
struct File {
    name: &'static str,
    plain: &'static [u8],
    gzip: Option<&'static [u8]>,
    brotli: Option<&'static [u8]>,
}

/// All of them; empty when the pages were not built.
static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/web.rs"));

/// Names of assets carry a hash of what is in them, so they never change.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// The page is asked for anew each time, and answered shortly when it is still the same.
const ASK_FIRST: &str = "no-cache";

/// The page that every room of the app starts from; `None` when the pages were not built.
pub(super) fn index(headers: &HeaderMap) -> Option<Response> {
    let file = FILES.iter().find(|file| file.name == "index.html")?;
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&Sha256::digest(file.plain)[..12]));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = if known.is_some_and(|known| known.split(',').any(|one| one.trim().ends_with(&tag))) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        file.respond(headers)
    };
    let answered = response.headers_mut();
    answered.insert(header::CACHE_CONTROL, HeaderValue::from_static(ASK_FIRST));
    // Packings differ in their bytes and not in what they say: the tag is a weak one.
    if let Ok(tag) = HeaderValue::try_from(format!("W/{tag}")) {
        answered.insert(header::ETAG, tag);
    }
    Some(response)
}

/// A file that the page is made of.
pub(super) fn asset(name: &str, headers: &HeaderMap) -> Option<Response> {
    let file = FILES.iter().find(|file| file.name.strip_prefix("assets/") == Some(name))?;
    let mut response = file.respond(headers);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(FOR_EVER));
    Some(response)
}

impl File {
    fn respond(&self, headers: &HeaderMap) -> Response {
        let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let accepts = |encoding: &str| {
            accepted.split(',').any(|one| {
                let mut parts = one.split(';').map(str::trim);
                parts.next() == Some(encoding) && !parts.any(|weight| matches!(weight, "q=0" | "q=0.0"))
            })
        };
        let packed = [("br", self.brotli), ("gzip", self.gzip)];
        let packed = packed.into_iter().find_map(|(name, bytes)| bytes.filter(|_| accepts(name)).map(|b| (name, b)));
        let (encoding, bytes) = packed.map_or((None, self.plain), |(name, bytes)| (Some(name), bytes));
        let mut response = Response::new(Body::from(bytes));
        let answered = response.headers_mut();
        answered.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type()));
        answered.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if let Some(encoding) = encoding {
            answered.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        response
    }

    fn content_type(&self) -> &'static str {
        match self.name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "application/octet-stream",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static FILE: File = File { name: "assets/a.js", plain: b"plain", gzip: Some(b"gzip"), brotli: Some(b"brotli") };

    fn encoding_for(accepted: &str) -> Option<String> {
        let headers: HeaderMap =
            [(header::ACCEPT_ENCODING, HeaderValue::from_str(accepted).unwrap())].into_iter().collect();
        let response = FILE.respond(&headers);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
        response.headers().get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn packs_as_the_client_can_unpack() {
        assert_eq!(encoding_for("gzip, deflate, br").as_deref(), Some("br"));
        assert_eq!(encoding_for("br;q=0, gzip;q=0.5").as_deref(), Some("gzip"));
        assert_eq!(encoding_for("identity"), None);
        assert_eq!(encoding_for(""), None);
    }
}
