//! Reads the sessions that ops want to open, and says of each what is wrong with it.

use std::collections::HashSet;

use jiff::civil::{Date, Time};
use orderly_domain::session::{Invalid, resolve};
use orderly_domain::{CampusId, DepartmentId, DoctorId, Exclusivity, Session, SessionId, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::problem::{Problem, kind};
use crate::request::Format;

/// Faults that are told at most.
const FAULTS_MAX: usize = 100;

/// What is wrong with one field of one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    /// The session's place in the list, from 0.
    pub(crate) index: usize,
    /// The field; empty when it is the whole item.
    pub(crate) field: String,
    /// What is wrong, and what to do.
    pub(crate) detail: String,
}

/// Reads a whole list. Its sessions are opened under the hospital's rule.
pub(crate) fn read(format: Format, bytes: &[u8], exclusivity: Exclusivity) -> Result<Vec<Session>, Problem> {
    let items = match format {
        Format::Json => serde_json::from_slice::<Vec<Value>>(bytes).map_err(|error| {
            Problem::new(&kind::MALFORMED_REQUEST).detail(format!("The body is not a JSON array of sessions: {error}."))
        })?,
        Format::Ndjson => lines(bytes)?,
    };
    let mut faults = Vec::new();
    let mut sessions = Vec::with_capacity(items.len());
    let mut seen = HashSet::new();
    for (index, item) in items.into_iter().enumerate() {
        let mut fields = Fields { index, fields: Map::new(), faults: &mut faults };
        if let Some(session) = fields.session(item, exclusivity) {
            if seen.insert(session.session_id.clone()) {
                sessions.push(session);
            } else {
                fields.fault("session_id", "comes twice in this list; keep one");
            }
        }
        if faults.len() >= FAULTS_MAX {
            break;
        }
    }
    if faults.is_empty() { Ok(sessions) } else { Err(refused(&kind::INVALID_SESSIONS, &faults)) }
}

/// Says what is wrong with which sessions.
pub(crate) fn refused(kind: &'static crate::problem::Kind, faults: &[Fault]) -> Problem {
    let first = faults.first().map(|Fault { index, field, detail }| format!("Item {index}, {field}: {detail}."));
    Problem::new(kind)
        .detail(format!("{} Nothing was taken; mend the list and send it again.", first.unwrap_or_default()))
        .member("errors", serde_json::to_value(faults).expect("texts and numbers are always JSON"))
}

fn lines(bytes: &[u8]) -> Result<Vec<Value>, Problem> {
    let lines = bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty());
    lines
        .map(|(number, line)| {
            serde_json::from_slice(line).map_err(|error| {
                Problem::new(&kind::MALFORMED_REQUEST).detail(format!("Line {} is not JSON: {error}.", number + 1))
            })
        })
        .collect()
}

struct Fields<'a> {
    index: usize,
    fields: Map<String, Value>,
    faults: &'a mut Vec<Fault>,
}

impl Fields<'_> {
    fn fault(&mut self, field: &str, detail: &(impl std::fmt::Display + ?Sized)) {
        self.faults.push(Fault { index: self.index, field: field.to_owned(), detail: detail.to_string() });
    }

    fn take<T: DeserializeOwned>(&mut self, field: &str) -> Option<T> {
        let Some(value) = self.fields.remove(field) else {
            self.fault(field, "is missing");
            return None;
        };
        serde_json::from_value(value).map_err(|error| self.fault(field, &error)).ok()
    }

    fn session(&mut self, item: Value, exclusivity: Exclusivity) -> Option<Session> {
        let Value::Object(fields) = item else {
            self.fault("", "a session is a JSON object");
            return None;
        };
        self.fields = fields;
        // All fields are read before the first missing one ends it, so that all faults are told at once.
        let session_id = self.take::<SessionId>("session_id");
        let doctor_id = self.take::<DoctorId>("doctor_id");
        let doctor_name = self.take::<String>("doctor_name");
        let department = self.take::<DepartmentId>("department");
        let campus = self.take::<CampusId>("campus");
        let day = self.take::<Date>("day");
        let start = self.take::<Time>("start");
        let end = self.take::<Time>("end");
        let timezone = self.take::<String>("timezone");
        let capacity = self.take::<u32>("capacity");
        let release_at = self.take::<Timestamp>("release_at");
        let unknown: Vec<String> = self.fields.keys().cloned().collect();
        for field in &unknown {
            self.fault(field, "is no field of a session that is opened; leave it out");
        }
        let mut session = Session {
            session_id: session_id?,
            doctor_id: doctor_id?,
            doctor_name: doctor_name?,
            department: department?,
            campus: campus?,
            day: day?,
            start: start?,
            end: end?,
            timezone: timezone?,
            capacity: capacity?,
            release_at: release_at?,
            ends_at: Timestamp::default(),
            exclusivity,
        };
        let resolved = resolve(session.day, session.end, &session.timezone).map(|ends_at| session.ends_at = ends_at);
        match resolved.and_then(|()| session.validate()) {
            Ok(()) if unknown.is_empty() => Some(session),
            Ok(()) => None,
            Err(invalid) => {
                let field = match invalid {
                    Invalid::EndsBeforeStart => "end",
                    Invalid::Capacity => "capacity",
                    Invalid::DoctorName => "doctor_name",
                    Invalid::Timezone(_) => "timezone",
                    Invalid::Calendar => "day",
                };
                self.fault(field, &invalid);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn session() -> Value {
        json!({"session_id": "s1", "doctor_id": "li", "doctor_name": "李明 Li Ming", "department": "cardiology",
            "campus": "east", "day": "2026-11-23", "start": "08:00", "end": "12:00", "timezone": "Asia/Shanghai",
            "capacity": 20, "release_at": "2026-11-22T00:00:00Z"})
    }

    fn with(field: &str, value: Value) -> Value {
        let mut session = session();
        session[field] = value;
        session
    }

    /// The faults of a list: index and field.
    async fn faults(items: &[Value]) -> Vec<(u64, String)> {
        let bytes = serde_json::to_vec(items).unwrap();
        let problem = read(Format::Json, &bytes, Exclusivity::default()).expect_err("refused");
        let response = axum::response::IntoResponse::into_response(problem);
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let errors = body["errors"].as_array().expect("a list of errors").clone();
        errors.iter().map(|e| (e["index"].as_u64().unwrap(), e["field"].as_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn reads_arrays_and_lines() {
        let array = serde_json::to_vec(&[session(), with("session_id", json!("s2"))]).unwrap();
        let lines = format!("{}\n\n{}\n", session(), with("session_id", json!("s2")));
        let array = read(Format::Json, &array, Exclusivity::Session).unwrap();
        let lines = read(Format::Ndjson, lines.as_bytes(), Exclusivity::Session).unwrap();
        assert_eq!(array, lines);
        assert_eq!(array[0].ends_at.to_string(), "2026-11-23T04:00:00Z");
        assert_eq!(array[1].exclusivity, Exclusivity::Session);
    }

    #[tokio::test]
    async fn names_the_item_and_the_field() {
        for (field, value) in [
            ("session_id", json!("")),
            ("doctor_id", json!(7)),
            ("doctor_name", json!("")),
            ("department", json!(" x")),
            ("campus", json!(null)),
            ("day", json!("2026-02-30")),
            ("start", json!("8 o'clock")),
            ("end", json!("07:00")),
            ("timezone", json!("Mars/Olympus")),
            ("capacity", json!(0)),
            ("capacity", json!(-1)),
            ("capacity", json!(1.5)),
            ("release_at", json!("tomorrow")),
            ("remaining", json!(20)),
        ] {
            assert_eq!(faults(&[session(), with(field, value)]).await, [(1, field.to_owned())], "{field}");
        }
        assert_eq!(faults(&[session(), session()]).await, [(1, "session_id".to_owned())]);
        assert_eq!(faults(&[json!([])]).await, [(0, String::new())]);
        assert_eq!(faults(&[json!({})]).await.len(), 11);
    }
}
