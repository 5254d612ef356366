//! Sessions as everybody sees them: the list, one, and their changes as they happen.

pub(crate) mod events;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::civil::{Date, Time};
use orderly_domain::port::store::SessionState;
use orderly_domain::{CampusId, DepartmentId, DoctorId, SessionId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::catalogue;
use crate::problem::{Problem, kind};
use crate::request::Query;
use crate::state::Shared;

/// Sessions in a list when nothing is said.
const LIMIT_DEFAULT: usize = 5_000;

/// Sessions in a list at most.
const LIMIT_MAX: usize = 20_000;

/// Whether a session can be booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Its release is still to come.
    Scheduled,
    /// It can be booked.
    Open,
    /// It was closed, or is over.
    Closed,
}

impl Phase {
    fn of(state: &SessionState, now: Timestamp) -> Self {
        if state.closed || now >= state.session.ends_at {
            Self::Closed
        } else if now < state.session.release_at {
            Self::Scheduled
        } else {
            Self::Open
        }
    }
}

/// A clinic session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = Session)]
pub(crate) struct View {
    #[schema(value_type = String, example = "card-2026-11-23-am-li")]
    session_id: SessionId,
    #[schema(value_type = String, example = "li")]
    doctor_id: DoctorId,
    /// The doctor's name, for people.
    #[schema(example = "李明 Li Ming")]
    doctor_name: String,
    #[schema(value_type = String, example = "cardiology")]
    department: DepartmentId,
    #[schema(value_type = String, example = "east")]
    campus: CampusId,
    /// The local day.
    #[schema(value_type = String, format = Date)]
    day: Date,
    /// Local time of its start.
    #[schema(example = "08:00")]
    start: String,
    /// Local time of its end.
    #[schema(example = "12:00")]
    end: String,
    /// IANA name of the zone of day, start and end.
    #[schema(example = "Asia/Shanghai")]
    timezone: String,
    /// How many numbers it has.
    capacity: u32,
    /// How many can still be had; 0 when it was closed.
    remaining: u32,
    /// From when on it can be booked.
    #[schema(value_type = String, format = DateTime)]
    release_at: Timestamp,
    /// Whether it can be booked now.
    state: Phase,
}

impl View {
    pub(crate) fn of(state: &SessionState, now: Timestamp) -> Self {
        let session = &state.session;
        Self {
            session_id: session.session_id.clone(),
            doctor_id: session.doctor_id.clone(),
            doctor_name: session.doctor_name.clone(),
            department: session.department.clone(),
            campus: session.campus.clone(),
            day: session.day,
            start: clock(session.start),
            end: clock(session.end),
            timezone: session.timezone.clone(),
            capacity: session.capacity,
            remaining: state.remaining(),
            release_at: session.release_at,
            state: Phase::of(state, now),
        }
    }
}

fn clock(time: Time) -> String {
    if time.second() == 0 { time.strftime("%H:%M").to_string() } else { time.strftime("%H:%M:%S").to_string() }
}

/// A page of sessions, ordered by day, start and id.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = SessionPage)]
pub(crate) struct Page {
    sessions: Vec<View>,
    /// Ask again with this `cursor` for the sessions that follow; `null` on the last page.
    next_cursor: Option<String>,
}

/// Which sessions.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    #[param(value_type = Option<String>)]
    department: Option<DepartmentId>,
    /// A `doctor_id`.
    #[param(value_type = Option<String>)]
    doctor: Option<DoctorId>,
    #[param(value_type = Option<String>)]
    campus: Option<CampusId>,
    /// A local day, such as 2026-11-23.
    #[param(value_type = Option<String>)]
    day: Option<Date>,
    #[param(inline)]
    state: Option<Phase>,
    /// How many at most: 1 to 20,000; 5,000 when left out. Not for streams.
    limit: Option<usize>,
    /// Where to go on: the `next_cursor` of the page before. Not for streams.
    cursor: Option<String>,
}

impl Filter {
    pub(crate) fn lets_through(&self, state: &SessionState, now: Timestamp) -> bool {
        let session = &state.session;
        self.department.as_ref().is_none_or(|department| *department == session.department)
            && self.doctor.as_ref().is_none_or(|doctor| *doctor == session.doctor_id)
            && self.campus.as_ref().is_none_or(|campus| *campus == session.campus)
            && self.day.is_none_or(|day| day == session.day)
            && self.state.is_none_or(|phase| phase == Phase::of(state, now))
    }
}

#[derive(Serialize, Deserialize)]
struct Cursor(Date, Time, SessionId);

impl Cursor {
    fn of(state: &SessionState) -> Self {
        Self(state.session.day, state.session.start, state.session.session_id.clone())
    }

    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).expect("a day, a time and a text are always JSON"))
    }

    fn decode(text: &str) -> Result<Self, Problem> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).ok_or_else(|| {
            Problem::new(&kind::MALFORMED_REQUEST).detail("cursor must be the next_cursor of an earlier page.")
        })
    }
}

/// The sessions of today and later, ordered by day, start and id. No token is needed.
#[utoipa::path(get, path = "/v1/sessions", tag = "sessions", params(Filter),
    responses((status = 200, description = "A page of sessions", body = Page),
        (status = 400, description = "A filter cannot be read", body = crate::problem::Shape)))]
pub(crate) async fn list(State(state): State<Shared>, Query(filter): Query<Filter>) -> Result<Json<Page>, Problem> {
    let limit = filter.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::new(&kind::MALFORMED_REQUEST).detail(format!("limit must be 1 to {LIMIT_MAX}.")));
    }
    let after = filter.cursor.as_deref().map(Cursor::decode).transpose()?;
    let now = state.ports.clock.now();
    let found: Vec<Arc<SessionState>> = state.catalogue.list(|session| {
        filter.lets_through(session, now)
            && after.as_ref().is_none_or(|Cursor(day, start, id)| catalogue::order(session) > (*day, *start, id))
    });
    let next_cursor = found.get(limit).and_then(|_| found.get(limit - 1)).map(|last| Cursor::of(last).encode());
    let sessions = found.iter().take(limit).map(|session| View::of(session, now)).collect();
    Ok(Json(Page { sessions, next_cursor }))
}

/// One session. No token is needed.
#[utoipa::path(get, path = "/v1/sessions/{session_id}", tag = "sessions",
    params(("session_id" = String, Path, description = "The session")),
    responses((status = 200, description = "The session", body = View),
        (status = 404, description = "There is no such session", body = crate::problem::Shape)))]
pub(crate) async fn get(State(state): State<Shared>, Path(session_id): Path<String>) -> Result<Json<View>, Problem> {
    let session = known(&state, session_id)?;
    Ok(Json(View::of(&session, state.ports.clock.now())))
}

/// The session of that id, if it is known here.
pub(crate) fn known(state: &Shared, session_id: String) -> Result<Arc<SessionState>, Problem> {
    let session = SessionId::try_from(session_id).ok().and_then(|id| state.catalogue.get(&id));
    session.ok_or_else(unknown)
}

pub(crate) fn unknown() -> Problem {
    Problem::new(&kind::UNKNOWN_SESSION)
        .detail("No session of this id is known, or its day is past. GET /v1/sessions lists those that are.")
}
