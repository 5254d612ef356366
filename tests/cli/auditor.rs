//! The auditor beside a running system.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::program::{complaint, orderly, output};
use crate::server::Server;

/// Asks until the answer is what is waited for. A test that waits in vain is ended by whoever runs it.
async fn until(http: &reqwest::Client, url: &str, is_it: impl Fn(&str) -> bool) -> String {
    loop {
        let text = http.get(url).send().await.expect("an answer").text().await.expect("text");
        if is_it(&text) {
            return text;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn metric(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// Two sessions that can be booked.
async fn open_sessions(http: &reqwest::Client, server: &Server) -> [String; 2] {
    let two_open = |text: &str| text.matches("\"open\"").count() >= 2;
    let sessions = until(http, &format!("{}/v1/sessions", server.url()), two_open).await;
    let sessions: Value = serde_json::from_str(&sessions).expect("JSON");
    let open = |session: &&Value| session["state"] == "open";
    let mut ids = sessions["sessions"].as_array().expect("a list").iter().filter(open);
    [(); 2].map(|()| ids.next().expect("one more")["session_id"].as_str().expect("text").to_owned())
}

async fn book(
    http: &reqwest::Client,
    server: &Server,
    folder: &Path,
    patient: &str,
    session: &str,
) -> reqwest::Response {
    let token = output(orderly(folder).args(["token", "--sub", patient, "--role", "patient"]));
    let asked = http.post(format!("{}/v1/bookings", server.url())).bearer_auth(token.trim_end());
    let asked = asked.header("idempotency-key", patient).header("prefer", "wait=20");
    asked.json(&json!({ "session_id": session })).send().await.expect("an answer")
}

/// Somebody counts a number of the session as free that is held.
fn lose_count(folder: &Path, session: &str) {
    let store = rusqlite::Connection::open(folder.join("data/store.sqlite")).expect("the store");
    store.busy_timeout(Duration::from_secs(20)).expect("set");
    let edit = "UPDATE sessions SET booked = booked - 1 WHERE session_id = ?";
    assert_eq!(store.execute(edit, [session]).expect("edited"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_wrong_is_found_and_frozen_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let http = reqwest::Client::new();
    let ops = output(orderly(folder.path()).args(["token", "--sub", "auditor", "--role", "ops"]));
    let ops = ops.trim_end();
    let ids = &open_sessions(&http, &server).await;
    let book = async |patient: &str, session: &str| book(&http, &server, folder.path(), patient, session).await;
    for (patient, session) in [("patient-1", &ids[0]), ("patient-2", &ids[0]), ("patient-3", &ids[1])] {
        assert_eq!(book(patient, session).await.status(), 200);
    }

    let freeze = ["audit-run", "--data", "data", "--roots", "roots.ndjson", "--freeze", server.url(), "--token", ops];
    let auditor = Server::start_role(folder.path(), &freeze);
    let metrics = format!("{}/metrics", auditor.url());
    let judged = until(&http, &metrics, |text| {
        metric(text, "orderly_audit_run_decisions_total") >= 3.0
            && metric(text, "orderly_audit_run_comparisons_total") >= 1.0
    });
    let judged = judged.await;
    assert_eq!(metric(&judged, "orderly_audit_run_up"), 1.0);
    assert_eq!(metric(&judged, "orderly_audit_run_replaying"), 1.0);
    assert_eq!(
        metric(&judged, "orderly_audit_run_delay_seconds_count"),
        metric(&judged, "orderly_audit_run_decisions_total")
    );
    let violations: Vec<_> = judged.lines().filter(|line| line.starts_with("orderly_audit_run_violations{")).collect();
    assert!(violations.len() == 9 && violations.iter().all(|line| line.ends_with(" 0")), "{judged}");
    let report: Value =
        http.get(format!("{}/report", auditor.url())).send().await.expect("told").json().await.expect("JSON");
    assert_eq!((&report["holds"], &report["suspects"]), (&json!(true), &json!([])));

    // What was taken before it started has its root at once.
    let at = |ticket: &Value| format!("{}/{}", ticket["log"]["partition"], ticket["log"]["offset"]);
    let taken: Value = book("patient-1", &ids[0]).await.json().await.expect("JSON");
    let make = ["receipt", "make", &at(&taken), "--roots", "roots.ndjson"];
    let receipt = loop {
        let made = orderly(folder.path()).args(make).output().expect("it runs");
        if made.status.success() {
            break made.stdout;
        }
        let told = String::from_utf8_lossy(&made.stderr);
        assert!(told.contains("no root was published yet"), "{told}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    std::fs::write(folder.path().join("receipt.json"), &receipt).expect("written");
    let verify = ["receipt", "verify", "receipt.json", "--roots", "roots.ndjson"];
    let proven = output(orderly(folder.path()).args(verify));
    assert!(proven.contains(&format!("proven: a booking of {} for patient-1", ids[0])), "{proven}");
    let receipt = String::from_utf8(receipt).expect("text").replace("\"offset\":", "\"offset\":1");
    std::fs::write(folder.path().join("receipt.json"), receipt).expect("written");
    complaint(orderly(folder.path()).args(verify), 1);

    lose_count(folder.path(), &ids[0]);
    let frozen = until(&http, &metrics, |text| metric(text, "orderly_audit_run_frozen_sessions") >= 1.0).await;
    assert_eq!(metric(&frozen, "orderly_audit_run_violations{invariant=\"conserved\"}"), 1.0);
    let report: Value =
        http.get(format!("{}/report", auditor.url())).send().await.expect("told").json().await.expect("JSON");
    assert_eq!((&report["holds"], &report["suspects"]), (&json!(false), &json!([ids[0]])));
    let history = output(&mut server.asked(folder.path(), &["policy", "history"]));
    assert!(history.contains("set by auditor") && history.contains("the audit found broken: conserved"), "{history}");

    let refused = book("patient-4", &ids[0]).await;
    assert_eq!(refused.status(), 503);
    let refused: Value = refused.json().await.expect("JSON");
    assert!(refused["type"].as_str().expect("text").ends_with("/session-frozen"), "{refused}");
    // Who has a ticket keeps it, and other sessions notice nothing.
    assert_eq!(book("patient-1", &ids[0]).await.status(), 200);
    assert_eq!(book("patient-5", &ids[1]).await.status(), 200);
    assert!(auditor.terminate().success());
}

/// Ops see on their page what an auditor finds that is named in the configuration.
#[tokio::test(flavor = "multi_thread")]
async fn ops_are_told_what_it_finds() {
    let folder = tempfile::tempdir().expect("a folder");
    // Nobody else gets this port, and nobody listens at it.
    let reserved = tokio::net::TcpSocket::new_v4().expect("a socket");
    reserved.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let address = reserved.local_addr().expect("it is bound");
    let config = format!("[auditor]\nurl = \"http://{address}\"\n");
    std::fs::write(folder.path().join("orderly.toml"), config).expect("written");
    let server = Server::start_with(folder.path(), &["--config", "orderly.toml"]);
    let http = reqwest::Client::new();
    let ops = output(orderly(folder.path()).args(["token", "--sub", "amy", "--role", "ops"]));
    let told = async |is_it: &dyn Fn(&Value) -> bool| loop {
        let asked = http.get(format!("{}/v1/pipeline", server.url())).bearer_auth(ops.trim_end());
        let state: Value = asked.send().await.expect("an answer").json().await.expect("JSON");
        if is_it(&state["auditor"]) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    told(&|auditor| auditor["cause"].is_string() && auditor["report"].is_null() && auditor["heard_at"].is_null()).await;

    let [session, _] = &open_sessions(&http, &server).await;
    assert_eq!(book(&http, &server, folder.path(), "patient-1", session).await.status(), 200);
    drop(reserved);
    let mut audit = orderly(folder.path());
    audit.args(["audit-run", "--data", "data", "--listen", &address.to_string()]);
    let audit = tokio::process::Command::from(audit).stdout(Stdio::null()).kill_on_drop(true).spawn();
    let mut auditor = audit.expect("it runs");
    let conserved = |auditor: &Value| {
        let all = auditor["report"]["invariants"].as_array().into_iter().flatten();
        all.filter(|one| one["invariant"] == "conserved").map(|one| one["violations"].as_u64()).next().flatten()
    };
    told(&|auditor| auditor["cause"].is_null() && conserved(auditor) == Some(0)).await;
    lose_count(folder.path(), session);
    told(&|auditor| conserved(auditor) == Some(1) && auditor["report"]["suspects"] == json!([session])).await;

    auditor.kill().await.expect("it ran");
    told(&|auditor| auditor["cause"].is_string() && conserved(auditor) == Some(1)).await;
}

/// What people thawed stays so, however often the auditor finds the same again from the log's beginning on.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_thawed_is_not_frozen_again_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let http = reqwest::Client::new();
    let ops = output(orderly(folder.path()).args(["token", "--sub", "auditor", "--role", "ops"]));
    let [thawed, other] = &open_sessions(&http, &server).await;
    for (patient, session) in [("patient-1", thawed), ("patient-2", other)] {
        assert_eq!(book(&http, &server, folder.path(), patient, session).await.status(), 200);
    }
    let asked = |arguments: &[&str]| output(&mut server.asked(folder.path(), arguments));
    let frozen = async |sessions: f64| {
        let freeze = ["audit-run", "--data", "data", "--freeze", server.url(), "--token", ops.trim_end()];
        let auditor = Server::start_role(folder.path(), &freeze);
        let metrics = format!("{}/metrics", auditor.url());
        until(&http, &metrics, |text| metric(text, "orderly_audit_run_frozen_sessions") >= sessions).await;
        assert!(auditor.terminate().success());
        asked(&["policy", "get"])
    };
    lose_count(folder.path(), thawed);
    let policy = frozen(1.0).await;
    assert!(policy.contains(thawed.as_str()), "{policy}");
    let thaw: Vec<_> = policy.lines().filter(|line| !line.starts_with("frozen = ")).collect();
    std::fs::write(folder.path().join("policy.toml"), thaw.join("\n")).expect("writable");
    asked(&["policy", "set", "policy.toml", "--reason", "a mistake in the books, mended"]);

    // It finds both when it is started again, and freezes the one that is new.
    lose_count(folder.path(), other);
    let policy = frozen(2.0).await;
    assert!(policy.contains(other.as_str()) && !policy.contains(thawed.as_str()), "{policy}");
    assert_eq!(book(&http, &server, folder.path(), "patient-3", thawed).await.status(), 200);
    let history = asked(&["policy", "history"]);
    assert_eq!(history.matches("set by auditor").count(), 2, "{history}");
}

/// One row of a database in the data folder is edited.
fn edit(folder: &Path, database: &str, edit: &str) {
    let edited = rusqlite::Connection::open(folder.join("data").join(database)).expect("it is a database");
    assert_eq!(edited.execute(edit, []).expect("edited"), 1);
}

/// Who changes log and store alike goes unnoticed by both, but not by whoever has the roots.
#[tokio::test(flavor = "multi_thread")]
async fn a_sessions_line_is_compared_with_the_published_roots() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let http = reqwest::Client::new();
    let [session, _] = &open_sessions(&http, &server).await;
    let book = async |patient: &str| book(&http, &server, folder.path(), patient, session).await;
    for patient in ["first", "second"] {
        assert_eq!(book(patient).await.status(), 200);
    }
    let replay = |arguments: &[&str]| {
        let all = [&["replay", "--session", session], arguments].concat();
        let told = orderly(folder.path()).args(all).output().expect("it runs");
        (told.status.code(), String::from_utf8(told.stdout).expect("text"))
    };
    let line = |arguments: &[&str]| {
        let (status, text) = replay(&[arguments, &["--json"]].concat());
        (status, serde_json::from_str::<Value>(&text).expect("JSON"))
    };
    let roots = ["--roots", "roots.ndjson"];
    let of = |line: &Value| -> Vec<_> {
        let places = line["line"].as_array().expect("a line").iter().filter(|place| place["asked"] == "book");
        places.map(|place| place["root"].as_str().expect("compared").to_owned()).collect()
    };
    let auditor = Server::start_role(folder.path(), &["audit-run", "--data", "data", "--roots", "roots.ndjson"]);
    while of(&line(&roots).1) != ["published", "published"] {}
    assert!(auditor.terminate().success());
    assert_eq!(book("third").await.status(), 200);
    let (status, published) = line(&roots);
    assert_eq!((status, of(&published)), (Some(0), ["published", "published", "not_yet"].map(str::to_owned).to_vec()));
    assert_eq!(published["faults"], json!([]));
    assert!(server.terminate().success());

    let booked = published["line"].as_array().expect("a line").iter().filter(|place| place["asked"] == "book");
    let log: Vec<_> = booked.map(|place| &place["log"]).collect();
    let at = |place: &Value| format!("{}/{}", place["partition"], place["offset"]);
    let row = format!("partition = {} AND log_offset = {}", log[1]["partition"], log[1]["offset"]);
    let earlier =
        |table: &str, by_us: i32| format!("UPDATE {table} SET logged_at_us = logged_at_us - {by_us} WHERE {row}");
    edit(folder.path(), "log.sqlite", &earlier("records", 1));
    edit(folder.path(), "store.sqlite", &earlier("decisions", 1));
    let (status, unnoticed) = line(&[]);
    let mut places = unnoticed["line"].as_array().expect("a line").iter();
    assert!(status == Some(0) && places.all(|place| place["proven"] == true), "{unnoticed:#}");
    let (status, changed) = line(&roots);
    assert_eq!((status, of(&changed)), (Some(1), ["changed", "changed", "not_yet"].map(str::to_owned).to_vec()));
    let (status, text) = replay(&roots);
    let row = format!("{}: the log has not what was published over this record", at(log[1]));
    assert!(status == Some(1) && text.contains(&row), "{text}");
    assert!(!text.contains(&format!("{}: ", at(log[2]))), "{text}");

    // Only what was decided differs from what was published.
    edit(folder.path(), "log.sqlite", &earlier("records", -1));
    let (status, otherwise) = line(&roots);
    let fault = format!("{}: the record that was published is not the one that was decided", at(log[1]));
    assert_eq!((status, &otherwise["faults"]), (Some(1), &json!([fault])), "{otherwise:#}");
}

#[test]
fn an_auditor_says_what_it_lacks() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = complaint(orderly(folder.path()).args(["serve", "--demo"]).env("ORDERLY_AUDITOR__URL", "here:1"), 1);
    assert!(told.contains("auditor.url is here:1; give the auditor's own address"), "{told}");
    let told = complaint(orderly(folder.path()).args(["audit-run", "--data", "nowhere", "--listen", "127.0.0.1:0"]), 1);
    assert!(told.contains("cannot open the intent log in nowhere"), "{told}");
    let told = complaint(orderly(folder.path()).args(["audit-run", "--freeze", "http://127.0.0.1:1"]), 2);
    assert!(told.contains("--token"), "{told}");
}
