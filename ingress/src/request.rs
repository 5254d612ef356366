//! Reads requests: bodies within their bounds, and the headers that mean something here.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::problem::{Problem, kind};

/// The longest Idempotency-Key, in characters.
pub(crate) const IDEMPOTENCY_KEY_CHARS_MAX: usize = 128;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The address that the connection comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<Self>().copied();
        peer.ok_or_else(|| Problem::internal("peer", &"the connection has no address"))
    }
}

/// The query string, read strictly.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri).map(|query| Self(query.0)).map_err(|error| {
            Problem::new(&kind::MALFORMED_REQUEST).detail(format!("The query is not what is taken here: {error}."))
        })
    }
}

/// The body's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Ndjson,
}

/// The body's format, by `Content-Type`.
pub(crate) fn format(headers: &HeaderMap) -> Option<Format> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Some(Format::Json)
    } else if ["application/x-ndjson", "application/ndjson", "application/jsonl"]
        .iter()
        .any(|name| essence.eq_ignore_ascii_case(name))
    {
        Some(Format::Ndjson)
    } else {
        None
    }
}

/// Reads a whole body of at most `bytes_max` bytes that arrives within `time_max`.
pub(crate) async fn body(body: Body, bytes_max: usize, time_max: Duration) -> Result<Bytes, Problem> {
    let read = tokio::time::timeout(time_max, Limited::new(body, bytes_max).collect());
    match read.await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::new(&kind::TOO_LARGE)
            .detail(format!("The body may have at most {bytes_max} bytes."))
            .header(header::CONNECTION, "close")),
        Ok(Err(_)) => Err(Problem::new(&kind::MALFORMED_REQUEST).detail("The body broke off.")),
        Err(_) => Err(Problem::new(&kind::SLOW_REQUEST)
            .detail(format!("The body must arrive within {} seconds.", time_max.as_secs_f64()))
            .header(header::CONNECTION, "close")),
    }
}

/// Reads a JSON document of known shape.
pub(crate) fn json<T: DeserializeOwned>(headers: &HeaderMap, bytes: &[u8]) -> Result<T, Problem> {
    if format(headers) != Some(Format::Json) {
        return Err(Problem::new(&kind::UNSUPPORTED_MEDIA_TYPE).detail("Send Content-Type: application/json."));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        Problem::new(&kind::MALFORMED_REQUEST).detail(format!("The body is not the JSON that is taken here: {error}."))
    })
}

/// The Idempotency-Key: 1 to 128 visible ASCII characters, as they are or as a quoted string.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let value = values.next().ok_or_else(|| {
        Problem::new(&kind::IDEMPOTENCY_KEY_MISSING)
            .detail("Send an Idempotency-Key header, new for every booking and the same for its retries.")
    })?;
    let invalid = || {
        Problem::new(&kind::IDEMPOTENCY_KEY_INVALID).detail(format!(
            "Send one Idempotency-Key of 1 to {IDEMPOTENCY_KEY_CHARS_MAX} visible ASCII characters, such as a UUID."
        ))
    };
    if values.next().is_some() {
        return Err(invalid());
    }
    let value = value.to_str().map_err(|_| invalid())?;
    let key = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    let usable = (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
    if usable { Ok(key) } else { Err(invalid()) }
}

/// How long `Prefer: wait=N` (RFC 7240) asks to wait, at most `wait_max`.
pub(crate) fn prefer_wait(headers: &HeaderMap, wait_max: Duration) -> Option<Duration> {
    let mut preferences = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    preferences.find_map(|value| {
        value.split(',').find_map(|preference| {
            let (name, seconds) = preference.split(';').next()?.split_once('=')?;
            let seconds = seconds.trim().trim_matches('"').parse().ok()?;
            name.trim().eq_ignore_ascii_case("wait").then(|| Duration::from_secs(seconds).min(wait_max))
        })
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let name = HeaderName::from_static(name);
        values.iter().map(|value| (name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap())).collect()
    }

    #[test]
    fn reads_idempotency_keys() {
        let read = |value: &str| idempotency_key(&headers("idempotency-key", &[value])).map(str::to_owned).ok();
        let long = "x".repeat(IDEMPOTENCY_KEY_CHARS_MAX);
        assert_eq!(read("8e03978e-40d5"), Some("8e03978e-40d5".into()));
        assert_eq!(read("\"8e03978e-40d5\""), Some("8e03978e-40d5".into()));
        assert_eq!(read(&long), Some(long.clone()));
        for wrong in ["", "\"\"", "\"", "a b", "a\"b", "schlüssel", &format!("{long}x")] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
        assert!(idempotency_key(&HeaderMap::new()).is_err());
        assert!(idempotency_key(&headers("idempotency-key", &["a", "b"])).is_err());
    }

    #[test]
    fn reads_preferences() {
        let max = Duration::from_secs(60);
        let read = |values: &[&str]| prefer_wait(&headers("prefer", values), max).map(|wait| wait.as_secs());
        assert_eq!(read(&["wait=5"]), Some(5));
        assert_eq!(read(&["respond-async, Wait = \"7\"; x=y"]), Some(7));
        assert_eq!(read(&["return=minimal", "wait=100"]), Some(60));
        assert_eq!(read(&["wait", "wait=-1", "waits=3"]), None);
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn reads_formats() {
        let read = |value: &str| format(&headers("content-type", &[value]));
        assert_eq!(read("Application/JSON; charset=utf-8"), Some(Format::Json));
        assert_eq!(read("application/x-ndjson"), Some(Format::Ndjson));
        assert_eq!(read("text/plain"), None);
    }
}
