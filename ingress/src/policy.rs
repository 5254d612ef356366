//! The throttle policy in force: read, set, and where it came from.

#[cfg(test)]
mod interleaved;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse as _, Response};
use orderly_domain::port;
use orderly_domain::port::store::PolicyVersion;
use orderly_domain::{Clock, Timestamp};
use serde::{Deserialize, Serialize};

use crate::auth::Caller;
use crate::problem::{Problem, kind};
use crate::request::{self, Query};
use crate::state::Shared;
use crate::suspicion::Suspicion;
use crate::sync::{ArcSwap, Mutex};
use crate::throttle::{self, Policy, Throttle};

/// The longest reason for a change, in bytes of UTF-8.
const REASON_BYTES_MAX: usize = 1_000;

/// How many versions the history shows, besides the configured one.
const HISTORY_MAX: usize = 1_000;

/// The throttle, what it finds suspicious, and the version of the policy that both follow.
pub(crate) struct Current {
    pub(crate) throttle: Throttle,
    pub(crate) suspicion: Suspicion,
    /// Suspicion is told one policy after the other, the newest last.
    telling: Mutex<()>,
    /// Version 0: what is in force until a policy is set.
    configured: PolicyVersion,
    version: ArcSwap<PolicyVersion>,
    /// Changes are made one after the other.
    changing: tokio::sync::Mutex<()>,
    /// And policies are rehearsed one after the other.
    pub(crate) rehearsing: tokio::sync::Mutex<()>,
}

impl Current {
    /// The throttle under the policy of the configuration, which has version 0.
    pub(crate) fn new(throttle: Throttle, suspicion: Suspicion, now: Timestamp) -> Self {
        suspicion.follow(throttle.in_force().suspicion.as_ref());
        let configured = PolicyVersion {
            version: 0,
            document: serde_json::to_string(throttle.policy().as_ref()).unwrap_or_default(),
            author: "configuration".into(),
            reason: "in force until another is set".into(),
            set_at: now,
        };
        Self {
            throttle,
            suspicion,
            telling: Mutex::default(),
            version: ArcSwap::from_pointee(configured.clone()),
            configured,
            changing: tokio::sync::Mutex::default(),
            rehearsing: tokio::sync::Mutex::default(),
        }
    }

    /// Follows the newest stored policy, if it is newer than the one in force.
    pub(crate) async fn refresh(&self, store: &dyn port::Store, now: Timestamp) -> port::Result<()> {
        // Asked before the turn is taken: a store that hangs holds up nobody who sets a policy.
        let newest = store.policies(1).await?.into_iter().next();
        let _changing = self.changing.lock().await;
        if let Some(newest) = newest.filter(|newest| newest.version > self.version.load().version) {
            let followed = Policy::from_json(&newest.document)
                .map_err(|problems| problems.join("; "))
                .and_then(|policy| self.swap(policy, now).map_err(|error| error.to_string()));
            match followed {
                Ok(()) => tracing::info!(version = newest.version, author = newest.author, "a new policy is in force"),
                // It was valid where it was set: this program is the older one. What is in force stays.
                Err(error) => {
                    tracing::error!(version = newest.version, error, "a stored policy cannot be followed");
                    return Ok(());
                }
            }
            self.version.store(Arc::new(newest));
        }
        Ok(())
    }

    /// Follows another policy at once.
    fn swap(&self, policy: Policy, now: Timestamp) -> Result<(), throttle::Error> {
        self.throttle.swap(policy, now)?;
        self.tell();
        Ok(())
    }

    /// Lets what the policy has scheduled begin and end. Returns the names of what holds now, if that has changed.
    fn keep_time(&self, now: Timestamp) -> Option<Vec<String>> {
        let scheduled = self.throttle.keep_time(now)?;
        self.tell();
        Some(scheduled)
    }

    /// Tells suspicion what is in force. Whoever comes last reads it last, so that a schedule which moves on while another
    /// policy is set does not bring the old one back.
    fn tell(&self) {
        let _telling = self.telling.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.suspicion.follow(self.throttle.in_force().suspicion.as_ref());
    }

    async fn set(
        &self,
        store: &dyn port::Store,
        clock: &dyn Clock,
        policy: Policy,
        author: &str,
        reason: String,
        expected: Option<u64>,
    ) -> Result<Arc<PolicyVersion>, Problem> {
        policy.validate().map_err(|problems| invalid(&problems))?;
        let _changing = self.changing.lock().await;
        let before = self.version.load().version;
        if expected.is_some_and(|expected| expected != before) {
            return Err(changed(before));
        }
        let next = Arc::new(PolicyVersion {
            version: before + 1,
            document: serde_json::to_string(&policy).map_err(|error| Problem::internal("policy", &error))?,
            author: author.to_owned(),
            reason,
            set_at: clock.now(),
        });
        match store.save_policy(&next).await {
            Ok(()) => {}
            Err(port::Error::Conflict { found, .. }) => return Err(changed(found)),
            Err(port::Error::StorageFull(_)) => {
                return Err(Problem::new(&kind::STORAGE_FULL).detail("The policy was not changed."));
            }
            Err(error) => return Err(Problem::from_read("policy", &error)),
        }
        self.swap(policy, next.set_at).map_err(|error| Problem::internal("policy", &error))?;
        self.version.store(Arc::clone(&next));
        tracing::info!(version = next.version, author, "a new policy is in force");
        Ok(next)
    }
}

/// Follows policies that other nodes set, and the schedule of the one in force, each for itself: a store that hangs stops no
/// clock.
pub(crate) async fn follow(state: Shared) {
    tokio::join!(follow_schedule(&state), follow_store(&state));
}

async fn follow_schedule(state: &Shared) {
    let mut interval = interval(state);
    loop {
        interval.tick().await;
        if let Some(scheduled) = state.policy.keep_time(state.ports.clock.now()) {
            tracing::info!(scheduled = scheduled.join(", "), "the policy's schedule has moved on");
        }
    }
}

async fn follow_store(state: &Shared) {
    let mut interval = interval(state);
    loop {
        interval.tick().await;
        if let Err(error) = state.policy.refresh(state.ports.store.as_ref(), state.ports.clock.now()).await {
            tracing::warn!(%error, "the store could not be asked for a new policy; the one in force stays");
        }
    }
}

fn interval(state: &Shared) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(state.options.policy_interval);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    interval
}

pub(crate) fn invalid(problems: &[String]) -> Problem {
    Problem::new(&kind::INVALID_POLICY).detail(problems.join("; ")).member("errors", problems.to_vec())
}

fn changed(found: u64) -> Problem {
    Problem::new(&kind::POLICY_CHANGED)
        .detail(format!("Version {found} is in force. Read it, and set yours again on top of it."))
        .member("version", found)
}

/// A version of the throttle policy.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = PolicyVersion)]
pub(crate) struct View {
    /// 0 for the configuration's policy; 1, 2, 3, … for those that were set.
    version: u64,
    /// The policy.
    #[schema(value_type = Policy)]
    policy: serde_json::Value,
    /// Who set it.
    author: String,
    /// Why.
    reason: String,
    /// When. For version 0, when the node that answers was started.
    #[schema(value_type = String, format = DateTime)]
    set_at: Timestamp,
    /// Of the policy in force: the names of the scheduled entries that hold now.
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduled: Option<Vec<String>>,
}

impl View {
    fn of(version: &PolicyVersion) -> Result<Self, Problem> {
        Ok(Self {
            version: version.version,
            policy: serde_json::from_str(&version.document).map_err(|error| Problem::internal("policy", &error))?,
            author: version.author.clone(),
            reason: version.reason.clone(),
            set_at: version.set_at,
            scheduled: None,
        })
    }

    fn respond(current: &Current, version: &PolicyVersion) -> Result<Response, Problem> {
        let tag = format!("\"{}\"", version.version);
        let view = Self { scheduled: Some(current.throttle.scheduled()), ..Self::of(version)? };
        Ok(([(header::ETAG, tag)], Json(view)).into_response())
    }
}

/// A policy with the reason for it.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PolicyChange)]
pub(crate) struct Explained {
    /// The document.
    policy: Policy,
    /// Why it is set, for those who read the history.
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SetQuery {
    /// Why it is set, for those who read the history.
    reason: Option<String>,
}

/// The throttle policy in force. Its version is the `ETag`.
#[utoipa::path(get, path = "/v1/policy", tag = "ops", security(("bearer" = [])),
    responses((status = 200, description = "The policy in force", body = View)))]
pub(crate) async fn get(State(state): State<Shared>) -> Result<Response, Problem> {
    View::respond(&state.policy, &state.policy.version.load())
}

/// Sets the throttle policy. It is stored, and in force at once: here before the answer, on other nodes within about a
/// second. With `If-Match` it is only set on top of that version. The body may also
/// be the policy document itself.
#[utoipa::path(put, path = "/v1/policy", tag = "ops", security(("bearer" = [])), request_body = Explained,
    params(SetQuery, ("If-Match" = Option<String>, Header, description = "The version that is to be replaced")),
    responses(
        (status = 200, description = "It is in force", body = View),
        (status = 412, description = "Another version is in force", body = crate::problem::Shape),
        (status = 422, description = "It breaks a rule; `errors` has all of them", body = crate::problem::Shape)))]
pub(crate) async fn put(
    State(state): State<Shared>,
    Caller(caller): Caller,
    Query(query): Query<SetQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let expected = if_match(&headers)?;
    let bytes = request::body(body, state.options.body_bytes_max, state.options.body_timeout).await?;
    let document: serde_json::Value = request::json(&headers, &bytes)?;
    let read = |error: serde_json::Error| invalid(&[error.to_string()]);
    let Explained { policy, reason } = if document.get("policy").is_some() {
        serde_json::from_value(document).map_err(read)?
    } else {
        Explained { policy: serde_json::from_value(document).map_err(read)?, reason: String::new() }
    };
    let reason = query.reason.unwrap_or(reason);
    if reason.len() > REASON_BYTES_MAX {
        return Err(invalid(&[format!("reason is {} bytes long; use at most {REASON_BYTES_MAX}", reason.len())]));
    }
    let (store, clock) = (state.ports.store.as_ref(), state.ports.clock.as_ref());
    let version = state.policy.set(store, clock, policy, caller.subject.as_str(), reason, expected).await?;
    View::respond(&state.policy, &version)
}

/// The policies that were set, newest first, at most 1,000, and after them version 0: what the node that answers is
/// configured with. Nodes may be configured differently.
#[utoipa::path(get, path = "/v1/policy/history", tag = "ops", security(("bearer" = [])),
    responses((status = 200, description = "Newest first", body = Vec<View>)))]
pub(crate) async fn history(State(state): State<Shared>) -> Result<Json<Vec<View>>, Problem> {
    let versions = state.ports.store.policies(HISTORY_MAX).await;
    let versions = versions.map_err(|error| Problem::from_read("policies", &error))?;
    let all = versions.iter().chain([&state.policy.configured]);
    Ok(Json(all.map(View::of).collect::<Result<_, _>>()?))
}

fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    const IF_MATCH: HeaderName = header::IF_MATCH;
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    text.trim_matches('"').parse().map(Some).map_err(|_| {
        Problem::new(&kind::MALFORMED_REQUEST)
            .detail("If-Match must be a version, as the ETag of GET /v1/policy has it.")
    })
}
