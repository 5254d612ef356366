//! Whether this process lives, whether it can serve, and its metrics.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use prometheus::TextEncoder;
use serde::Serialize;

use crate::lost_log;
use crate::problem::Problem;
use crate::state::Shared;

/// How long each part may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Alive.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    status: &'static str,
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "operations",
    responses((status = 200, description = "It lives", body = Health)))]
pub(crate) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Ready, or why not.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Readiness {
    ready: bool,
    /// What stands in the way.
    causes: Vec<Cause>,
}

/// What stands in the way of serving.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Cause {
    /// `log`, `store`, `pipeline`, `fan-out` or `server`.
    part: &'static str,
    /// What is wrong with it.
    cause: String,
}

/// Whether the process can serve: log and store answer, the pipeline decides, outcomes are heard.
#[utoipa::path(get, path = "/readyz", tag = "operations",
    responses((status = 200, description = "Ready", body = Readiness),
        (status = 503, description = "Not ready, with the causes", body = Readiness)))]
pub(crate) async fn readyz(State(state): State<Shared>) -> Response {
    let decided = lost_log::decided(&state.progress, state.ports.log.partitions());
    let log = async {
        let extents = tokio::time::timeout(PATIENCE, state.ports.log.extents()).await;
        extents.map(|extents| extents.map(|extents| lost_log::early_end(&decided, &extents)))
    };
    let store = async { tokio::time::timeout(PATIENCE, state.ports.store.progress()).await.map(|r| r.map(|_| None)) };
    let (log, store) = tokio::join!(log, store);
    let mut causes = Vec::new();
    for (part, answer) in [("log", log), ("store", store)] {
        match answer {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(sign))) => causes.push(Cause { part, cause: sign }),
            Ok(Err(error)) => causes.push(Cause { part, cause: error.to_string() }),
            Err(_) => causes.push(Cause { part, cause: "it does not answer in time".into() }),
        }
    }
    causes.extend(state.lost_log.cause().map(|cause| Cause { part: "log", cause: cause.to_owned() }));
    // Who takes no requests appends nothing.
    if !state.options.operations_only {
        causes.extend(state.ports.log.trouble().map(|cause| Cause { part: "log", cause }));
    }
    // One that runs has a cause too, while it waits for a store that is full or away.
    if let Some(pipeline) = state.ports.pipeline.as_ref().map(|pipeline| pipeline.state()) {
        let idle = (!pipeline.running).then(|| "it does not run".to_owned());
        causes.extend(pipeline.cause.or(idle).map(|cause| Cause { part: "pipeline", cause }));
    }
    if !state.is_following() {
        causes.push(Cause { part: "fan-out", cause: "outcomes are not heard; restart this process".into() });
    }
    if state.is_stopping() {
        causes.push(Cause { part: "server", cause: "it is stopping".into() });
    }
    let status = if causes.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready: causes.is_empty(), causes })).into_response()
}

/// Metrics, as Prometheus reads them.
#[utoipa::path(get, path = "/metrics", tag = "operations",
    responses((status = 200, description = "Prometheus text", body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(State(state): State<Shared>) -> Result<Response, Problem> {
    state.shed.measure(&state.progress);
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    state.metrics.tasks.set(i64::try_from(tasks).unwrap_or(i64::MAX));
    let text = TextEncoder::new().encode_to_string(&state.registry.gather());
    let text = text.map_err(|error| Problem::internal("metrics", &error))?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response())
}
