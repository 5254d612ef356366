//! One audited call, from its request to its entry.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http_body_util::BodyExt as _;
use orderly_domain::Timestamp;
use orderly_domain::audit::{Algorithm, Entry, Hasher, request_hash, ticket_hash};

use crate::auth::Caller;
use crate::problem::Kind;
use crate::request::Peer;
use crate::routes::Route;

/// The longest parameter that is written down, in bytes. Longer ones are cut; the request's hash has all of it.
const TARGET_BYTES_MAX: usize = 256;

/// What is known of a call so far.
#[derive(Debug)]
pub(crate) struct Call {
    at: Timestamp,
    actor: Option<String>,
    roles: String,
    client: String,
    method: String,
    route: &'static str,
    target: String,
    read: Arc<Mutex<Read>>,
}

/// What was read of the request.
#[derive(Debug)]
struct Read {
    hasher: Hasher,
    body_bytes: u64,
}

impl Call {
    pub(crate) fn of(route: &Route, request: &Request, algorithm: Algorithm, at: Timestamp) -> Self {
        let uri = request.uri();
        let method = request.method().as_str();
        let hasher = request_hash(algorithm, method, uri.path(), uri.query().unwrap_or_default());
        Self {
            at,
            actor: None,
            roles: String::new(),
            client: request.extensions().get::<Peer>().map(|peer| peer.0.to_string()).unwrap_or_default(),
            method: method.to_owned(),
            route: route.path,
            target: target(route.path, uri.path(), algorithm),
            read: Arc::new(Mutex::new(Read { hasher, body_bytes: 0 })),
        }
    }

    /// Notes who calls.
    pub(crate) fn by(&mut self, caller: &Caller) {
        self.actor = Some(caller.0.subject.as_str().to_owned());
        self.roles = caller.0.roles.names();
    }

    /// The same request; its body is hashed while it is read.
    pub(crate) fn listen(&self, request: Request) -> Request {
        let read = Arc::clone(&self.read);
        request.map(|body| {
            Body::new(body.map_frame(move |frame| {
                if let Some(bytes) = frame.data_ref() {
                    let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
                    read.hasher.update(bytes);
                    read.body_bytes += bytes.len() as u64;
                }
                frame
            }))
        })
    }

    /// The entry of this call, which was answered like that.
    pub(crate) fn answered(self, response: &Response) -> Entry {
        let problem = response.extensions().get::<&'static Kind>().map(|kind| kind.name.to_owned());
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        Entry {
            at: self.at,
            // The trail sets these two.
            node: String::new(),
            number: 0,
            actor: self.actor,
            roles: self.roles,
            client: self.client,
            method: self.method,
            route: self.route.to_owned(),
            target: self.target,
            request: read.hasher.clone().finish(),
            body_bytes: read.body_bytes,
            status: response.status().as_u16(),
            problem,
            calls: 1,
        }
    }
}

/// The parameters of a path, by their names in the route. A ticket is a secret of its holder, and told by its hash.
fn target(route: &str, path: &str, algorithm: Algorithm) -> String {
    let pairs = route.split('/').zip(path.split('/')).filter_map(|(name, value)| {
        let name = name.strip_prefix('{')?.strip_suffix('}')?;
        if name == "ticket" {
            return Some(format!("{name}={}", ticket_hash(algorithm, value)));
        }
        let mut end = value.len().min(TARGET_BYTES_MAX);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        Some(format!("{name}={}", &value[..end]))
    });
    pairs.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_name_what_is_meant_and_no_ticket() {
        let of = |route, path| target(route, path, Algorithm::Sm3);
        assert_eq!(of("/v1/policy", "/v1/policy"), "");
        assert_eq!(of("/v1/sessions/{session_id}/close", "/v1/sessions/s%201/close"), "session_id=s%201");
        let hash = ticket_hash(Algorithm::Sm3, "abc");
        assert_eq!(of("/v1/tickets/{ticket}", "/v1/tickets/abc"), format!("ticket={hash}"));
        assert_eq!(of("/v1/reports/{name}", &format!("/v1/reports/{}", "x".repeat(9_000))).len(), 5 + TARGET_BYTES_MAX);
    }
}
