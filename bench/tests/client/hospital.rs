//! A server that speaks the API, decides at once by the domain's rules, and keeps everything in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use orderly_domain::command::{Book, Cancel, Command};
use orderly_domain::inventory::DepartmentDay;
use orderly_domain::{Clock as _, DepartmentId, Exclusivity, Outcome, PatientId, Session, Timestamp, ticket};
use serde_json::{Value, json};

/// What it does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Every fourth booking is asked to come back, in turns by 429 and by 503.
    Busy,
    /// A retry is decided anew.
    DecidesTwice,
    /// Every number is 1.
    GivesNumbersTwice,
    /// Sessions have one number more than was asked for.
    Oversells,
    /// Every seventh booking is refused although a number is free.
    TurnsAway,
    /// The tenth ticket is never decided.
    Forgets,
    /// What is pushed of a booking has the next number.
    PushesOtherwise,
}

struct Record {
    ticket: ticket::Id,
    patient: PatientId,
    session: Session,
    outcome: Outcome,
    cancelled: bool,
    decided_at: Timestamp,
}

struct Hospital {
    fault: Fault,
    sessions: Vec<Session>,
    days: HashMap<(DepartmentId, jiff::civil::Date), DepartmentDay>,
    records: Vec<Record>,
    asked: u64,
}

type Shared = Arc<Mutex<Hospital>>;

/// Starts one on a free port, and tells its URL. It ends with the test's runtime.
pub(crate) async fn start(fault: Fault, sessions: &[Value]) -> String {
    let mut hospital = Hospital { fault, sessions: Vec::new(), days: HashMap::new(), records: Vec::new(), asked: 0 };
    sessions.iter().for_each(|session| hospital.open(session));
    let router = Router::new()
        .route("/v1/demo/token", post(token))
        .route("/v1/sessions", get(list).put(open))
        .route("/v1/bookings", post(book))
        .route("/v1/tickets/{ticket}", get(look).delete(cancel))
        .route("/v1/tickets/{ticket}/events", get(events))
        .route("/metrics", get(|| async { "process_resident_memory_bytes 1048576\n" }))
        .with_state(Arc::new(Mutex::new(hospital)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

impl Hospital {
    fn open(&mut self, told: &Value) {
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        let (day, end, timezone) = (text("day").parse().unwrap(), text("end").parse().unwrap(), text("timezone"));
        let session = Session {
            session_id: text("session_id").parse().unwrap(),
            doctor_id: text("doctor_id").parse().unwrap(),
            doctor_name: text("doctor_name"),
            department: text("department").parse().unwrap(),
            campus: text("campus").parse().unwrap(),
            day,
            start: text("start").parse().unwrap(),
            end,
            ends_at: orderly_domain::session::resolve(day, end, &timezone).unwrap(),
            timezone,
            capacity: u32::try_from(told["capacity"].as_u64().unwrap()).unwrap(),
            release_at: text("release_at").parse::<jiff::Timestamp>().unwrap().into(),
            exclusivity: Exclusivity::default(),
        };
        session.validate().unwrap();
        let extra = u32::from(self.fault == Fault::Oversells);
        let command = Command::OpenSession(Box::new(Session { capacity: session.capacity + extra, ..session.clone() }));
        let outcome = self.decide(&command);
        assert_eq!(outcome, Outcome::Applied, "{told}");
        self.sessions.push(session);
    }

    fn decide(&mut self, command: &Command) -> Outcome {
        let (department, day) = command.department_day();
        let offset = self.records.len() as u64;
        let day = self.days.entry((department.clone(), day)).or_default();
        day.apply(command, offset, orderly_domain::clock::System.now()).outcome
    }

    fn book(&mut self, patient: PatientId, key: &str, session_id: &str) -> usize {
        let mut ticket = ticket::Id::derive(&patient, key);
        if let Some(known) = self.records.iter().position(|record| record.ticket == ticket) {
            if self.fault != Fault::DecidesTwice {
                return known;
            }
            ticket = ticket::Id::derive(&patient, &format!("{key}-again"));
        }
        let session = self.sessions.iter().find(|session| session.session_id.as_str() == session_id).unwrap().clone();
        let book = Book { ticket, patient_id: patient.clone(), session: session.reference(), details: None };
        let mut outcome = self.decide(&Command::Book(book));
        if self.fault == Fault::GivesNumbersTwice && matches!(outcome, Outcome::Booked { .. }) {
            outcome = Outcome::Booked { number: 1 };
        }
        if self.fault == Fault::TurnsAway && self.records.len() % 7 == 6 {
            outcome = Outcome::Rejected(orderly_domain::Reason::SoldOut);
        }
        let decided_at = orderly_domain::clock::System.now();
        self.records.push(Record { ticket, patient, session, outcome, cancelled: false, decided_at });
        self.records.len() - 1
    }

    fn cancel(&mut self, index: usize) {
        let record = &self.records[index];
        let cancel =
            Cancel { ticket: record.ticket, patient_id: record.patient.clone(), session: record.session.reference() };
        let outcome = self.decide(&Command::Cancel(cancel));
        self.records[index].cancelled |= matches!(outcome, Outcome::Cancelled { .. });
    }

    /// What is pushed of it.
    fn push(&self, index: usize) -> Value {
        let mut view = self.view(index);
        if self.fault == Fault::PushesOtherwise
            && let Some(number) = view["number"].as_u64()
        {
            view["number"] = json!(number + 1);
        }
        view
    }

    fn view(&self, index: usize) -> Value {
        let record = &self.records[index];
        let log = json!({ "partition": 0, "offset": index });
        if self.fault == Fault::Forgets && index == 9 {
            return json!({ "ticket": index.to_string(), "status": "queued", "log": log });
        }
        let status = if record.cancelled { "cancelled" } else { record.outcome.as_str() };
        let reason = record.outcome.reason().map(|reason| reason.as_str());
        json!({
            "ticket": index.to_string(), "status": status, "reason": reason, "number": record.outcome.number(),
            "decided_at": record.decided_at, "log": log,
        })
    }
}

async fn token(Json(wanted): Json<Value>) -> Json<Value> {
    Json(json!({ "access_token": wanted["sub"], "token_type": "Bearer", "expires_in": 3600 }))
}

async fn list(State(hospital): State<Shared>) -> Json<Value> {
    let hospital = hospital.lock().unwrap();
    let view = |session: &Session| {
        let mut view = serde_json::to_value(session).unwrap();
        view["remaining"] = json!(session.capacity);
        view["state"] = json!("open");
        view
    };
    Json(json!({ "sessions": hospital.sessions.iter().map(view).collect::<Vec<_>>(), "next_cursor": null }))
}

async fn open(State(hospital): State<Shared>, body: String) -> StatusCode {
    let mut hospital = hospital.lock().unwrap();
    body.lines().for_each(|line| hospital.open(&serde_json::from_str(line).unwrap()));
    StatusCode::ACCEPTED
}

async fn book(State(hospital): State<Shared>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let text = |name: &str| headers[name].to_str().unwrap();
    let patient = text("authorization").strip_prefix("Bearer ").unwrap().parse().unwrap();
    let mut hospital = hospital.lock().unwrap();
    hospital.asked += 1;
    if hospital.fault == Fault::Busy && hospital.asked.is_multiple_of(4) {
        return if hospital.asked.is_multiple_of(8) {
            (StatusCode::TOO_MANY_REQUESTS, Json(json!({ "retry_after_ms": 5 }))).into_response()
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")]).into_response()
        };
    }
    let index = hospital.book(patient, text("idempotency-key"), body["session_id"].as_str().unwrap());
    if headers.contains_key("prefer") {
        return Json(hospital.view(index)).into_response();
    }
    let log = json!({ "partition": 0, "offset": index });
    (StatusCode::ACCEPTED, Json(json!({ "ticket": index.to_string(), "status": "queued", "log": log }))).into_response()
}

async fn look(State(hospital): State<Shared>, Path(index): Path<usize>) -> Json<Value> {
    Json(hospital.lock().unwrap().view(index))
}

async fn cancel(State(hospital): State<Shared>, Path(index): Path<usize>) -> Json<Value> {
    let mut hospital = hospital.lock().unwrap();
    hospital.cancel(index);
    Json(hospital.view(index))
}

async fn events(State(hospital): State<Shared>, Path(index): Path<usize>) -> Response {
    let view = hospital.lock().unwrap().push(index);
    let position = "event: position\ndata: {\"position\":0}\n\n";
    let outcome = if view["status"] == "queued" { String::new() } else { format!("event: outcome\ndata: {view}\n\n") };
    ([("content-type", "text/event-stream")], format!("{position}{outcome}")).into_response()
}
