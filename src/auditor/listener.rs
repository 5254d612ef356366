//! What the auditor tells over HTTP: health, metrics and the report.

use axum::Json;
use axum::Router;
use axum::extract::State as Held;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use orderly_ingress::tls;
use prometheus::{Registry, TextEncoder};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::State;
use crate::check;

/// Where the auditor is asked.
pub(super) enum Listener {
    Plain(TcpListener),
    Tls(tls::Listener),
}

type Told = (Registry, watch::Receiver<State>);

/// Serves what the auditor tells; where there are certificates, by TLS, to whoever shows one of their roots.
pub(super) async fn serve(listener: Listener, registry: Registry, told: watch::Receiver<State>) {
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/report", get(report))
        .with_state((registry, told));
    let served = match listener {
        Listener::Plain(listener) => axum::serve(listener, routes).await,
        Listener::Tls(listener) => axum::serve(listener, routes).await,
    };
    if let Err(error) = served {
        tracing::error!(%error, "nothing is told over HTTP any more");
    }
}

async fn ready(Held((_, told)): Held<Told>) -> (StatusCode, &'static str) {
    match told.borrow().up {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "log and store were not read yet, or cannot be read now"),
    }
}

async fn metrics(Held((registry, _)): Held<Told>) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn report(Held((_, told)): Held<Told>) -> Json<Value> {
    let State { report, up } = told.borrow().clone();
    let mut told = check::to_json(&report);
    told["up"] = json!(up);
    told["suspects"] = json!(report.suspects);
    Json(told)
}
