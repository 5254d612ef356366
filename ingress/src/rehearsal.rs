//! Lets those who asked so far pass a policy that is not in force yet.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use orderly_domain::Timestamp;
use serde::Serialize;

use crate::policy::invalid;
use crate::problem::Problem;
use crate::request;
use crate::state::Shared;
use crate::throttle::{Affected, Kind, Policy, Rehearsal, most_affected, not_recorded, past, rehearse};

/// The newest records of the log that are rehearsed on. More would keep others waiting; the command line takes them all.
const RECORDS_MAX: u64 = 100_000;

/// A policy beside the one in force, over the same requests.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = PolicyRehearsal)]
pub(crate) struct View {
    /// How many requests they were let pass: the newest that the log has.
    arrivals: usize,
    /// When the first of them came; `null` without any.
    #[schema(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// When the last of them came.
    #[schema(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// What the policy in force does to them.
    in_force: Rehearsal,
    /// What the other one does.
    rehearsed: Rehearsal,
    /// The doctors, departments, campuses and API clients whom each limit refuses most under one of them, at most ten a
    /// limit. Patients and addresses are only counted.
    #[schema(value_type = std::collections::HashMap<String, Vec<Affected>>)]
    most_affected: BTreeMap<Kind, Vec<Affected>>,
    /// What no request tells, of `address`, `client` and `member_level`: limits of these count nothing, and everybody is a
    /// stranger to every lane.
    not_recorded: Vec<&'static str>,
}

/// Checks a throttle policy, and lets the requests of the newest 100,000 records of the log pass it and the one in force.
/// Nothing is set. Those who were throttled do not lie in the log; addresses, API clients and member levels neither.
/// Whoever is refused is taken not to ask again.
#[utoipa::path(post, path = "/v1/policy/rehearsals", tag = "ops", security(("bearer" = [])), request_body = Policy,
    responses((status = 200, description = "It is valid; what it would have done", body = View),
        (status = 422, description = "It breaks a rule; `errors` has all of them", body = crate::problem::Shape)))]
pub(crate) async fn create(State(state): State<Shared>, headers: HeaderMap, body: Body) -> Result<Json<View>, Problem> {
    let bytes = request::body(body, state.options.body_bytes_max, state.options.body_timeout).await?;
    let document: serde_json::Value = request::json(&headers, &bytes)?;
    let policy: Policy = serde_json::from_value(document).map_err(|error| invalid(&[error.to_string()]))?;
    policy.validate().map_err(|problems| invalid(&problems))?;
    // One at a time: it reads much.
    let _alone = state.policy.rehearsing.lock().await;
    let (log, store) = (state.ports.log.as_ref(), state.ports.store.as_ref());
    let arrivals = past(log, store, RECORDS_MAX, &|_, _| {}).await;
    let arrivals = arrivals.map_err(|error| Problem::from_read("past requests", &error))?;
    let in_force = state.policy.throttle.policy();
    let rehearsed = tokio::task::spawn_blocking(move || {
        let [before, after] = [rehearse(&in_force, &arrivals)?, rehearse(&policy, &arrivals)?];
        let (from, to) = (arrivals.first().map(|first| first.at), arrivals.last().map(|last| last.at));
        let (most_affected, not_recorded) = (most_affected(&before, &after), not_recorded(&arrivals));
        let arrivals = arrivals.len();
        let (in_force, rehearsed) = (before, after);
        Ok::<_, crate::throttle::Error>(View { arrivals, from, to, in_force, rehearsed, most_affected, not_recorded })
    });
    let rehearsed = rehearsed.await.map_err(|error| Problem::internal("rehearsal", &error))?;
    rehearsed.map(Json).map_err(|error| Problem::internal("rehearsal", &error))
}
