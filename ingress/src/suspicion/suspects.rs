//! Who is suspicious just now, for ops.

use axum::Json;
use axum::extract::State;
use orderly_domain::Timestamp;
use serde::{Deserialize, Serialize};

use super::signal::Who;
use super::{Active, Suspicion};
use crate::problem::{Problem, kind};
use crate::request::Query;
use crate::state::Shared;

/// Suspects of one answer when nothing is said.
const LIMIT_DEFAULT: usize = 20;
/// Suspects of one answer, at most.
const LIMIT_MAX: usize = 1_000;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// How many at most: 1 to 1,000.
    #[param(default = 20, minimum = 1, maximum = 1_000)]
    limit: Option<usize>,
}

/// Who is suspicious on this node.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Suspects)]
pub(crate) struct View {
    /// Whether the policy in force has a section `suspicion`; without it nobody is watched.
    watching: bool,
    /// From which score on a booking is challenged, by the sum of its patient's and its address's.
    challenge_score: Option<f64>,
    /// Those with a score, the most suspicious first.
    suspects: Vec<Suspect>,
}

/// Somebody suspicious.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Suspect {
    /// `patient` or `address`.
    kind: &'static str,
    /// A patient's id, masked; an address, an IPv6 one as its /64.
    #[schema(example = "138****1234")]
    name: String,
    /// The sum of the points of its causes.
    score: f64,
    /// Whether its score alone has every booking challenged.
    challenged: bool,
    /// When something was counted last.
    #[schema(value_type = String, format = DateTime)]
    seen_at: Timestamp,
    /// What was counted, most points first.
    causes: Vec<Cause>,
}

/// Something that was counted.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = SuspicionCause)]
pub(crate) struct Cause {
    /// As the policy names it.
    #[schema(example = "sessions")]
    signal: &'static str,
    /// How many, halved with time.
    count: f64,
    /// What that adds to the score.
    points: f64,
}

/// Who is suspicious just now on this node, and why. Other nodes see others: ask each.
#[utoipa::path(get, path = "/v1/suspects", tag = "ops", security(("bearer" = [])), params(Page),
    responses((status = 200, description = "The most suspicious first", body = View),
        (status = 400, description = "Not readable", body = crate::problem::Shape)))]
pub(crate) async fn get(State(state): State<Shared>, Query(page): Query<Page>) -> Result<Json<View>, Problem> {
    let limit = page.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::new(&kind::MALFORMED_REQUEST).detail(format!("limit is {limit}; use 1 to {LIMIT_MAX}.")));
    }
    Ok(Json(state.policy.suspicion.suspects(limit, state.ports.clock.now())))
}

impl Suspicion {
    fn suspects(&self, limit: usize, now: Timestamp) -> View {
        let active = self.active.load();
        let Some(active) = active.as_ref() else {
            return View { watching: false, challenge_score: None, suspects: Vec::new() };
        };
        let mut suspects = Vec::new();
        for who in [Who::Patient, Who::Address] {
            self.gather(active, who, now, &mut suspects);
        }
        suspects.sort_by(|a, b| b.score.total_cmp(&a.score));
        suspects.truncate(limit);
        View { watching: true, challenge_score: Some(active.policy.challenge_score), suspects }
    }

    fn gather(&self, active: &Active, who: Who, now: Timestamp, suspects: &mut Vec<Suspect>) {
        let policy = &active.policy;
        active.meters(who).each(now.as_millis(), policy.half_life_s, |key, seen, meter| {
            let score = meter.score(who, policy);
            if score <= 0.0 {
                return;
            }
            let name = self.names.get(&key).map_or_else(|| "(not remembered)".to_owned(), |name| name.to_string());
            let cause = |(signal, count, points): (super::Signal, f64, f64)| Cause {
                signal: signal.as_str(who),
                count: rounded(count),
                points: rounded(points),
            };
            let mut causes: Vec<_> = meter.causes(who, policy).map(cause).collect();
            causes.sort_by(|a, b| b.points.total_cmp(&a.points));
            suspects.push(Suspect {
                kind: who.as_str(),
                name,
                score: rounded(score),
                challenged: score >= policy.challenge_score,
                seen_at: Timestamp::from_millis(seen),
                causes,
            });
        });
    }
}

/// For people: what is behind the second digit nobody wants to know.
fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
