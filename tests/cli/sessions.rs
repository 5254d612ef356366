//! Importing sessions into a running server.

use std::fs;

use serde_json::{Value, json};

use crate::program::output;
use crate::server::Server;

fn session(number: usize) -> Value {
    json!({
        "session_id": format!("eye-{number}"), "doctor_id": "chen", "doctor_name": "陈静 Chen Jing",
        "department": "ophthalmology", "campus": "east", "day": "2099-11-23", "start": "08:00", "end": "12:00",
        "timezone": "Asia/Shanghai", "capacity": 20, "release_at": "2020-11-22T00:00:00Z",
    })
}

#[test]
fn sessions_are_imported_in_groups_and_each_mistake_is_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let import = |name: &str| server.asked(folder.path(), &["sessions", "import", name]);
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).expect("writable");

    // 600 sessions are two groups; lines 3 and 590 cannot be opened, so neither can their groups.
    let mut sessions: Vec<Value> = (1..=600).map(session).collect();
    sessions[2]["capacity"] = json!(0);
    sessions[589]["end"] = json!("07:00");
    let lines = |sessions: &[Value]| sessions.iter().map(|session| format!("{session}\n")).collect::<String>();
    write("sessions.ndjson", lines(&sessions));
    let refused = import("sessions.ndjson").output().expect("it runs");
    let told = String::from_utf8(refused.stderr).expect("text");
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("line 3, capacity: "), "{told}");
    assert!(told.contains("line 590, ") && told.contains("600 of 600 sessions were not opened"), "{told}");

    sessions[2]["capacity"] = json!(5);
    write("sessions.ndjson", lines(&sessions));
    let refused = import("sessions.ndjson").output().expect("it runs");
    let told = String::from_utf8(refused.stderr).expect("text");
    assert!(told.contains("100 of 600 sessions were not opened") && !told.contains("line 3,"), "{told}");

    sessions[589]["end"] = json!("12:00");
    write("sessions.json", Value::from(sessions).to_string());
    assert!(output(&mut import("sessions.json")).contains("600 sessions"));
}
