//! Importing sessions into a running server, and exporting them.

use std::fs;

use serde_json::{Value, json};

use crate::program::{complaint, output};
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

/// What one server exports another imports, as it is; closed sessions are left out, because an import would open them.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_can_be_imported() {
    let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let server = Server::start(folder.path());
    let sessions: Vec<Value> = (1..=4).map(session).collect();
    fs::write(folder.path().join("sessions.json"), Value::from(sessions.clone()).to_string()).expect("writable");
    output(&mut server.asked(folder.path(), &["sessions", "import", "sessions.json"]));
    let export = |arguments: &[&str]| {
        let text = output(&mut server.asked(folder.path(), &[&["sessions", "export"], arguments].concat()));
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        (text, lines)
    };
    let that_day = ["--day", "2099-11-23"];
    // They are listed once they are decided.
    while export(&that_day).1.len() < 4 {}
    let (text, lines) = export(&that_day);
    assert_eq!(lines, sessions, "as they were imported, in the order of the list");
    let all = export(&[]).1;
    assert!(all.len() > 4, "the demo hospital has more");
    let of = |arguments: &[&str]| export(&[&that_day[..], arguments].concat()).1.len();
    assert_eq!((of(&["--department", "ophthalmology"]), of(&["--department", "cardiology"])), (4, 0));
    assert_eq!((of(&["--campus", "east"]), of(&["--campus", "west"])), (4, 0));
    assert_eq!((of(&["--doctor", "chen", "--state", "open"]), of(&["--state", "closed"])), (4, 0));

    let ops = output(crate::program::orderly(folder.path()).args(["token", "--sub", "amy", "--role", "ops"]));
    let close = format!("{}/v1/sessions/eye-3/close", server.url());
    let closed = reqwest::Client::new().post(close).bearer_auth(ops.trim_end()).json(&json!({"cause": "ill"})).send();
    assert!(closed.await.expect("an answer").status().is_success());
    while of(&["--state", "closed"]) == 0 {}
    let left: Vec<Value> = export(&that_day).1.iter().map(|session| session["session_id"].clone()).collect();
    assert_eq!(left, ["eye-1", "eye-2", "eye-4"]);

    let second = Server::start(other.path());
    fs::write(other.path().join("sessions.ndjson"), text).expect("writable");
    assert!(output(&mut second.asked(other.path(), &["sessions", "import", "sessions.ndjson"])).contains("4 sessions"));
    let told = complaint(&mut server.asked(folder.path(), &["sessions", "export", "--state", "full"]), 1);
    assert!(told.contains("400"), "{told}");
}
