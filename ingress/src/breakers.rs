//! Breakers as ops see and hold them. Each node has its own.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use orderly_domain::Timestamp;
use orderly_domain::breaker::{Held, Snapshot, State as Position};
use serde::{Deserialize, Serialize};

use crate::auth::Caller;
use crate::problem::{Problem, kind};
use crate::request;
use crate::state::Shared;

/// The longest reason, in bytes.
const REASON_BYTES_MAX: usize = 500;

/// The breaker before a dependency, on this node.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Breaker)]
pub(crate) struct View {
    /// `log`, `ledger`, `store`, `store-reads` or `analytics`.
    name: &'static str,
    /// `closed`: calls go through; `half_open`: one at a time does, as a probe; `open`: they are refused.
    #[schema(value_type = String, example = "closed")]
    state: Position,
    /// `automatic`: its measurements say so; `open` or `closed`: it is held so by hand.
    #[schema(value_type = String, example = "automatic")]
    held: Held,
    /// Why, in words; empty for one that has never opened.
    cause: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// When the next probe may go through; `null` at once, or when it is held open.
    #[schema(value_type = Option<String>, format = DateTime)]
    probe_at: Option<Timestamp>,
    /// Calls that ended within its window.
    calls: u64,
    /// The share of them that failed; `null` without calls.
    failed_share: Option<f64>,
    /// The mean response time in milliseconds; `null` without calls.
    mean_ms: Option<u64>,
    /// Times that it opened since the start.
    opened_total: u64,
    /// Calls that it refused since the start.
    refused_total: u64,
}

impl From<Snapshot> for View {
    fn from(snapshot: Snapshot) -> Self {
        let Snapshot { name, state, held, cause, since, probe_at, calls, .. } = snapshot;
        Self {
            name,
            state,
            held,
            cause: cause.to_string(),
            since,
            probe_at,
            calls,
            failed_share: snapshot.failed_share,
            mean_ms: snapshot.mean.map(|mean| u64::try_from(mean.as_millis()).unwrap_or(u64::MAX)),
            opened_total: snapshot.opened_total,
            refused_total: snapshot.refused_total,
        }
    }
}

/// What a breaker is to do.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BreakerChange)]
pub(crate) struct Change {
    /// `open` or `closed`: hold it so until told otherwise; `automatic`: let it go, closed and with nothing measured.
    #[schema(value_type = String, example = "open")]
    state: Held,
    /// Why, for those who see it.
    #[serde(default)]
    reason: String,
}

/// All of this node's.
pub(crate) fn views(state: &Shared) -> Vec<View> {
    state.ports.breakers.iter().map(|breaker| breaker.snapshot().into()).collect()
}

/// Holds a breaker of this node open or closed, or lets it go. Other nodes have breakers of their own: ask each. It is not
/// kept over a restart.
#[utoipa::path(put, path = "/v1/breakers/{name}", tag = "ops", security(("bearer" = [])), request_body = Change,
    params(("name" = String, Path, description = "What it guards: log, ledger, store, store-reads or analytics")),
    responses((status = 200, description = "The breaker now", body = View),
        (status = 400, description = "Not readable", body = crate::problem::Shape),
        (status = 404, description = "There is no such breaker on this node", body = crate::problem::Shape)))]
pub(crate) async fn put(
    State(state): State<Shared>,
    Caller(caller): Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<View>, Problem> {
    let bytes = request::body(body, state.options.body_bytes_max, state.options.body_timeout).await?;
    let Change { state: held, reason } = request::json(&headers, &bytes)?;
    if reason.len() > REASON_BYTES_MAX {
        return Err(Problem::new(&kind::MALFORMED_REQUEST)
            .detail(format!("reason is {} bytes long; use at most {REASON_BYTES_MAX}.", reason.len())));
    }
    let Some(breaker) = state.ports.breakers.get(&name) else {
        let names: Vec<_> = state.ports.breakers.iter().map(|breaker| breaker.name()).collect();
        return Err(Problem::new(&kind::UNKNOWN_BREAKER).detail(format!("The breakers are: {}.", names.join(", "))));
    };
    let verb = match held {
        Held::Automatic => "let go by",
        Held::Open => "held open by",
        Held::Closed => "held closed by",
    };
    let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
    let cause = format!("{verb} {}{reason}", caller.subject.as_str()).replace(char::is_control, " ");
    tracing::warn!(breaker = breaker.name(), %cause, "a breaker was changed by hand");
    Ok(Json(breaker.hold(held, &cause).into()))
}
