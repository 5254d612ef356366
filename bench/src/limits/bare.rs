//! The limit of the accept path: an axum handler that parses the same body and answers, and does nothing else.

use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Booking {
    session_id: String,
}

#[derive(Serialize)]
struct Accepted {
    ticket: String,
    status: &'static str,
}

/// Serves `POST /v1/bookings` until the process ends.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener) -> std::io::Result<()> {
    let accept = async |Json(booking): Json<Booking>| {
        (StatusCode::ACCEPTED, Json(Accepted { ticket: booking.session_id, status: "queued" }))
    };
    axum::serve(listener, Router::new().route("/v1/bookings", post(accept))).await
}
