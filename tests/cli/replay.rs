//! Real bookings, all of them, through the HTTP API of the real program.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Parser as _;
use orderly_bench::replay;

use crate::program::{complaint, orderly, output};
use crate::server::Server;

/// Long enough for any machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(clap::Parser)]
struct Arguments {
    #[command(flatten)]
    options: replay::Options,
}

/// How real bookings are played; `None`, and a word about it, where they are missing and nobody says that they are there.
pub(crate) fn bookings() -> Option<replay::Options> {
    let options = Arguments::parse_from(["replay"]).options;
    // The default is relative to the repository's root, where tests of this package run.
    let data = options.data_file();
    if data.exists() {
        return Some(options);
    }
    let name = replay::DATA_FOLDER;
    let is = |variable: &str| std::env::var_os(variable).is_some_and(|value| !value.is_empty());
    let beside = data.parent().and_then(Path::parent).is_some_and(Path::exists);
    let told = format!("there are no bookings at {}; name their folder by {name}", data.display());
    assert!(!must_be_there(is(name), is("CI"), beside), "{told}");
    std::io::stderr().write_all(format!("skipped: {told}\n").as_bytes()).expect("stderr is open");
    None
}

/// Whether a test without its data fails. Where the folder was named, and in continuous integration where the shared folder
/// lies beside the repository, nobody would notice that it was skipped.
const fn must_be_there(is_named: bool, is_ci: bool, shared_is_beside: bool) -> bool {
    is_named || is_ci && shared_is_beside
}

#[test]
fn missing_bookings_are_skipped_only_where_nobody_expects_them() {
    assert!(!must_be_there(false, false, false), "a clone without the data");
    assert!(!must_be_there(false, false, true), "a person's, who may have removed them");
    assert!(!must_be_there(false, true, false), "elsewhere, continuous integration has no data either");
    assert!(must_be_there(false, true, true) && must_be_there(true, false, false) && must_be_there(true, true, true));
}

/// A throttle policy under which a patient may book as fast as it likes, in a file of the folder.
pub(crate) fn write_policy(folder: &Path) -> [&'static str; 2] {
    let open = "[limits]\npatient = { rate_per_s = 1000000, burst = 1000000 }\n";
    std::fs::write(folder.join("policy.toml"), open).expect("written");
    ["--policy", "policy.toml"]
}

/// The number booked is the sum over sessions of min(capacity, eligible demand), which the replay computes from the file
/// alone; every invariant holds; and the log, decided again, gives the same decisions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_citys_bookings_are_decided_as_they_must_be() {
    let Some(options) = bookings() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_with(folder.path(), &write_policy(folder.path()));
    let report = replay::run(server.url(), options).await.expect("it plays");
    assert!(report.passed(), "{}", report.to_text());
    assert!(server.terminate().success());
    output(orderly(folder.path()).args(["check", "--idle"]));
    let same = output(orderly(folder.path()).args(["replay"]));
    assert!(same.contains("records are decided alike"), "{same}");
}

/// A store in which a decision is missing: the replay says which one, and fails. A kept copy is a data folder like others.
#[test]
fn a_lost_decision_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let deadline = Instant::now() + PATIENCE;
    while !orderly(folder.path()).args(["check", "--idle"]).output().expect("it runs").status.success() {
        assert!(Instant::now() < deadline, "the demo hospital is not decided");
    }
    assert!(server.terminate().success());
    let kept = output(orderly(folder.path()).args(["replay", "--keep", "again"]));
    assert!(kept.contains("open_session") && kept.contains("records are decided alike"), "{kept}");
    output(orderly(folder.path()).args(["check", "--idle", "--data", "again"]));
    let again = complaint(orderly(folder.path()).args(["replay", "--keep", "again"]), 1);
    assert!(again.contains("not empty"), "{again}");

    let store = rusqlite::Connection::open(folder.path().join("data/store.sqlite")).expect("it is a database");
    let lost = "DELETE FROM decisions WHERE partition = 3 AND log_offset = 2";
    assert_eq!(store.execute(lost, []).expect("it can be written"), 1);
    let replay = orderly(folder.path()).arg("replay").output().expect("it runs");
    let told = String::from_utf8(replay.stdout).expect("text");
    assert_eq!(replay.status.code(), Some(1), "{told}");
    assert!(told.contains("3/2: open_session on ") && told.contains("was told nothing; anew: applied"), "{told}");
}

/// Who asked when, and what they had been told by then: at a moment between two bookings, the later one is not there yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_sessions_line_is_shown_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let http = reqwest::Client::new();
    let session = loop {
        let list = http.get(format!("{}/v1/sessions", server.url())).send().await.expect("an answer");
        let list: serde_json::Value = list.json().await.expect("JSON");
        let open = list["sessions"].as_array().and_then(|all| all.iter().find(|session| session["state"] == "open"));
        if let Some(session) = open {
            break session["session_id"].as_str().expect("text").to_owned();
        }
    };
    for patient in ["first", "second"] {
        let token = output(orderly(folder.path()).args(["token", "--sub", patient, "--role", "patient"]));
        let asked = http.post(format!("{}/v1/bookings", server.url())).bearer_auth(token.trim_end());
        let asked = asked.header("idempotency-key", "k").header("prefer", "wait=20");
        let answer = asked.json(&serde_json::json!({ "session_id": session })).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
    }
    let line = |arguments: &[&str]| {
        let all = [&["replay", "--session", &session, "--json"], arguments].concat();
        let line: serde_json::Value = serde_json::from_str(&output(orderly(folder.path()).args(all))).expect("JSON");
        line
    };
    let now = line(&[]);
    let places = now["line"].as_array().expect("a line").clone();
    let booked: Vec<_> = places.iter().filter(|place| place["asked"] == "book").collect();
    let told: Vec<_> = booked.iter().map(|place| (&place["in_line"], &place["patient_id"], &place["proven"])).collect();
    let (one, two, yes) = (1.into(), 2.into(), true.into());
    assert_eq!(told, [(&one, &"first".into(), &yes), (&two, &"second".into(), &yes)]);
    assert_eq!(now["held"].as_object().expect("numbers").len(), 2);
    let then = line(&["--at", booked[0]["decided_at"].as_str().expect("a time")]);
    assert_eq!(then["held"].as_object().expect("numbers").len(), 1, "{then:#}");
    let waiting = line(&["--at", booked[0]["logged_at"].as_str().expect("a time")]);
    assert_eq!((&waiting["held"], &waiting["free"]), (&serde_json::json!({}), &now["capacity"]), "{waiting:#}");
    assert!(waiting["line"].as_array().expect("a line").last().expect("a booking")["outcome"].is_null(), "{waiting:#}");
    let text = output(orderly(folder.path()).args(["replay", "--session", &session]));
    assert!(text.contains("2 of ") && text.contains("booked 1"), "{text}");
    let told = complaint(orderly(folder.path()).args(["replay", "--session", "nobodys"]), 1);
    assert!(told.contains("there is no session nobodys"), "{told}");
}
