//! Reading the trail, for auditors.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use orderly_domain::Timestamp;
use orderly_domain::audit::{Hash, Linked, Place};
use serde::{Deserialize, Serialize};

use crate::problem::{Problem, kind};
use crate::request::Query;
use crate::state::Shared;

/// Entries of one answer when nothing is said.
const LIMIT_DEFAULT: usize = 100;
/// Entries of one answer, at most.
const LIMIT_MAX: usize = 1_000;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// The place of the first entry; without it, the last entries.
    from: Option<u64>,
    /// How many entries at most: 1 to 1,000.
    #[param(default = 100)]
    limit: Option<usize>,
}

/// A place in the chain.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AuditPlace)]
pub(crate) struct Spot {
    /// 0 is before the first entry.
    seq: u64,
    /// 64 hexadecimal digits.
    #[schema(value_type = String)]
    hash: Hash,
}

impl From<Place> for Spot {
    fn from(place: Place) -> Self {
        Self { seq: place.seq, hash: place.hash }
    }
}

/// An entry of the trail.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AuditEntry)]
pub(crate) struct View {
    /// Its place in the chain: 1, 2, 3, …
    seq: u64,
    /// When the call came.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// The process that took it.
    node: String,
    /// Who called; `null` without a valid token.
    actor: Option<String>,
    /// The roles in the token, separated by spaces.
    roles: String,
    /// The address from which the call came.
    client: String,
    /// The method; `-` for what the program did by itself.
    method: String,
    /// The address, with its parameters' names.
    route: String,
    /// The parameters' values; a ticket is told by its hash.
    target: String,
    /// The hash of method, path, query and body.
    #[schema(value_type = String)]
    request: Hash,
    /// Bytes of the body that were read, and are in that hash.
    body_bytes: u64,
    /// The answer's status.
    status: u16,
    /// The problem's kind, if the answer was one.
    problem: Option<String>,
    /// The calls that the entry stands for.
    calls: u64,
    /// `sm3` or `sha256`.
    algorithm: &'static str,
    /// The hash of the entry before it.
    #[schema(value_type = String)]
    previous: Hash,
    /// Its own hash.
    #[schema(value_type = String)]
    hash: Hash,
}

impl From<Linked> for View {
    fn from(linked: Linked) -> Self {
        let Linked { seq, algorithm, previous, hash, entry } = linked;
        Self {
            seq,
            at: entry.at,
            node: entry.node,
            actor: entry.actor,
            roles: entry.roles,
            client: entry.client,
            method: entry.method,
            route: entry.route,
            target: entry.target,
            request: entry.request,
            body_bytes: entry.body_bytes,
            status: entry.status,
            problem: entry.problem,
            calls: entry.calls,
            algorithm: algorithm.as_str(),
            previous,
            hash,
        }
    }
}

/// A part of the trail.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AuditPage)]
pub(crate) struct Entries {
    /// In the order of the chain.
    entries: Vec<View>,
    /// Where to ask on; `null` when the last entry is here.
    next: Option<u64>,
    /// The last entry that was forgotten.
    start: Spot,
    /// The last entry there is.
    head: Spot,
}

/// Entries of the audit trail. Reading them leaves an entry, too.
#[utoipa::path(get, path = "/v1/audit", tag = "auditors", security(("bearer" = [])), params(Page),
    responses((status = 200, description = "Entries", body = Entries),
        (status = 400, description = "Not a page", body = crate::problem::Shape),
        (status = 503, description = "The trail cannot be read or written", body = crate::problem::Shape)))]
pub(crate) async fn get(State(state): State<Shared>, Query(page): Query<Page>) -> Result<Response, Problem> {
    let limit = page.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::new(&kind::MALFORMED_REQUEST).detail(format!("limit must be 1 to {LIMIT_MAX}.")));
    }
    let unread = |error| Problem::from_read("audit", &error);
    let extent = state.ports.audit.extent().await.map_err(unread)?;
    let last = extent.head.seq.saturating_sub(limit as u64) + 1;
    let from = page.from.unwrap_or(last).min(i64::MAX.cast_unsigned());
    let linked = state.ports.audit.scan(from, limit).await.map_err(unread)?;
    let next = linked.last().map(|linked| linked.seq + 1).filter(|next| *next <= extent.head.seq);
    let entries = linked.into_iter().map(View::from).collect();
    let answer = Entries { entries, next, start: extent.start.into(), head: extent.head.into() };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}
