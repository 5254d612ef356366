//! The demo's token issuer: gives a token to whoever asks. Only there with `--demo`.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use orderly_domain::PatientId;
use serde::{Deserialize, Serialize};

use crate::auth::{Grant, Role};
use crate::problem::{Problem, kind};
use crate::request;
use crate::state::Shared;

/// How long a demo's token is good.
const TTL: Duration = Duration::from_secs(12 * 60 * 60);

/// Who wants to be whom.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DemoTokenRequest)]
pub(crate) struct Request {
    /// The subject: for a patient, the patient.
    #[schema(value_type = String, example = "patient-1")]
    sub: PatientId,
    /// The role.
    role: Role,
    /// The program that asks for them.
    #[serde(default)]
    #[schema(example = "portal")]
    client: Option<String>,
    /// Their member level.
    #[serde(default)]
    #[schema(example = "gold")]
    level: Option<String>,
}

/// A token.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = DemoToken)]
pub(crate) struct Token {
    access_token: String,
    /// `Bearer`.
    token_type: &'static str,
    /// In seconds.
    expires_in: u64,
}

/// A token for whoever asks. Only a server that was started with `--demo` answers.
#[utoipa::path(post, path = "/v1/demo/token", tag = "demo", request_body = Request,
    responses((status = 200, description = "A token", body = Token),
        (status = 404, description = "This is no demo", body = crate::problem::Shape)))]
pub(crate) async fn token(State(state): State<Shared>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    if !state.options.demo {
        return Err(Problem::new(&kind::NO_SUCH_ROUTE).detail("Only a server started with --demo gives out tokens."));
    }
    let bytes = request::body(body, state.options.body_bytes_max, state.options.body_timeout).await?;
    let Request { sub, role, client, level } = request::json(&headers, &bytes)?;
    let grant = Grant { subject: &sub, role, client: client.as_deref(), level: level.as_deref() };
    let minted = state.verifier.keys().mint(grant, state.ports.clock.now(), TTL);
    let access_token = minted.map_err(|error| Problem::internal("token", &error))?;
    let token = Token { access_token, token_type: "Bearer", expires_in: TTL.as_secs() };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(token)).into_response())
}
