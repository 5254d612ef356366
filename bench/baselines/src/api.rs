//! The one API of all systems. `POST /bookings` answers with the final outcome, in the words of Orderly's tickets.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use crate::booking::{Attempt, Booked, Error, Outcome, Session};
use crate::systems::System;

type Shared = Arc<dyn System>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    session_id: String,
    patient_id: String,
}

/// The routes: `POST /sessions`, `POST /bookings`, `GET /bookings` (the record, once nothing is on its way to it), and
/// `GET /readyz`.
pub fn router(system: Shared) -> Router {
    Router::new()
        .route("/readyz", get(async || StatusCode::OK))
        .route("/sessions", post(open))
        .route("/bookings", post(book).get(record))
        .with_state(system)
}

async fn open(State(system): State<Shared>, Json(sessions): Json<Vec<Session>>) -> Result<StatusCode, Error> {
    system.open(sessions).await?;
    Ok(StatusCode::CREATED)
}

async fn book(State(system): State<Shared>, headers: HeaderMap, Json(wish): Json<Wish>) -> Response {
    let Some(key) = headers.get("idempotency-key").and_then(|key| key.to_str().ok()) else {
        return (StatusCode::BAD_REQUEST, "an Idempotency-Key is needed").into_response();
    };
    let attempt = Attempt { session_id: wish.session_id, patient_id: wish.patient_id, key: key.to_owned() };
    // In a task of its own it goes on when its client leaves: half a transaction or a held lock would keep all others waiting.
    let decided = tokio::spawn(async move { system.book(attempt).await });
    decided.await.map_or_else(
        |_| StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        |outcome| outcome.map(Json::<Outcome>).into_response(),
    )
}

async fn record(State(system): State<Shared>) -> Result<Json<Vec<Booked>>, Error> {
    system.record().await.map(Json)
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = match self {
            Self::UnknownSession => StatusCode::NOT_FOUND,
            Self::Busy(_) | Self::Pool(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Postgres(_) | Self::Redis(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, self.to_string()).into_response()
    }
}
