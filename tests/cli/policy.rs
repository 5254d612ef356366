//! Reading, comparing and changing the policy of a running server.

use std::fs;

use crate::program::{complaint, orderly, output};
use crate::server::Server;

#[test]
fn a_policy_is_read_compared_and_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let asked = |arguments: &[&str]| server.asked(folder.path(), arguments);
    let file = folder.path().join("policy.toml");

    let before = output(&mut asked(&["policy", "get"]));
    assert!(
        before.starts_with("# version 0") && before.contains("[limits.patient]\nrate_per_s = 2.0\nburst = 10\n"),
        "{before}"
    );
    fs::write(&file, &before).expect("writable");
    assert!(output(&mut asked(&["policy", "diff", "policy.toml"])).starts_with("no difference"));

    fs::write(&file, before.replace("burst = 10\n", "burst = 25\n")).expect("writable");
    let diff = output(&mut asked(&["policy", "diff", "policy.toml"]));
    assert!(diff.contains("--- version 0") && diff.contains("\n-burst = 10\n+burst = 25\n"), "{diff}");

    let set = output(&mut asked(&["policy", "set", "policy.toml", "--reason", "release rush"]));
    assert!(set.starts_with("in force: version 1, set by amy at ") && set.ends_with(": release rush\n"), "{set}");
    let after = output(&mut asked(&["policy", "get"]));
    assert!(after.contains(": release rush\n") && after.contains("burst = 25\n"), "{after}");

    let history = output(&mut asked(&["policy", "history"]));
    let authors: Vec<_> = history.lines().map(|line| line.split(" at ").next().expect("who")).collect();
    assert_eq!(authors, ["version 1, set by amy", "version 0, set by configuration"]);
    fs::write(&file, before.replace("burst = 10\n", "burst = 3\n")).expect("writable");
    output(&mut asked(&["policy", "set", "policy.toml"]));
    let back = output(&mut asked(&["policy", "rollback"]));
    assert!(back.starts_with("in force: version 3") && back.contains("back to version 1"), "{back}");
    let after = output(&mut asked(&["policy", "get"]));
    assert!(after.contains("burst = 25\n"), "{after}");

    let told = complaint(&mut asked(&["policy", "rollback", "9"]), 1);
    assert!(told.contains("no version 9 to go back to"), "{told}");

    fs::write(&file, "[limits]\npatient = { rate_per_s = 2, burst = 0 }\n").expect("writable");
    let told = complaint(&mut asked(&["policy", "set", "policy.toml"]), 1);
    assert!(told.contains("limits.patient.burst is 0; set 1 to"), "{told}");
    assert_eq!(output(&mut asked(&["policy", "get"])), after, "nothing changed");
}

#[test]
fn the_first_policy_is_rolled_back_to_the_configured_one() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("configured.toml"), "[limits]\npatient = { rate_per_s = 7.0, burst = 7 }\n")
        .expect("writable");
    fs::write(folder.path().join("orderly.toml"), "[policy]\nfile = \"configured.toml\"\n").expect("writable");
    let server = Server::start_with(folder.path(), &["--config", "orderly.toml"]);
    let asked = |arguments: &[&str]| output(&mut server.asked(folder.path(), &[&["policy"], arguments].concat()));
    let in_force = || {
        let told = asked(&["get"]);
        let (version, document) = told.split_once('\n').expect("two lines at least");
        (version.split(',').next().expect("a version").to_owned(), document.to_owned())
    };
    let (version, configured) = in_force();
    assert_eq!(version, "# version 0");
    let told = complaint(&mut server.asked(folder.path(), &["policy", "rollback"]), 1);
    assert!(told.contains("there is none before it"), "{told}");

    fs::write(folder.path().join("policy.toml"), "[limits]\n").expect("writable");
    asked(&["set", "policy.toml"]);
    assert_ne!(in_force().1, configured);
    let back = asked(&["rollback"]);
    assert!(back.starts_with("in force: version 2") && back.contains("back to version 0"), "{back}");
    assert_eq!(in_force(), ("# version 2".into(), configured));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_rehearsed_on_what_was_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("orderly.toml"), "[ingress]\narrivals_file = \"arrivals.ndjson\"\n")
        .expect("writable");
    let server = Server::start_with(folder.path(), &["--config", "orderly.toml"]);
    let (http, url) = (reqwest::Client::new(), server.url());
    let (session_id, doctor_id) = loop {
        let answer = http.get(format!("{url}/v1/sessions")).send().await.expect("an answer");
        let list: serde_json::Value = answer.json().await.expect("JSON");
        let sessions = list["sessions"].as_array().expect("a list");
        if let Some(open) = sessions.iter().find(|session| session["state"] == "open") {
            break (open["session_id"].clone(), open["doctor_id"].as_str().expect("an id").to_owned());
        }
    };
    let token = output(orderly(folder.path()).args(["token", "--sub", "ann", "--role", "patient"]));
    for key in 0..12 {
        let book = http.post(format!("{url}/v1/bookings")).bearer_auth(token.trim_end());
        let book = book.header("idempotency-key", format!("key-{key}"));
        book.json(&serde_json::json!({ "session_id": session_id })).send().await.expect("an answer");
    }
    let strict = "[limits]\npatient = { rate_per_s = 0.001, burst = 4 }\n";
    fs::write(folder.path().join("strict.toml"), strict).expect("writable");
    let rehearse = |arguments: &[&str]| {
        let command = ["policy", "rehearse", "strict.toml", "--json", "--data", "data"];
        let told = output(orderly(folder.path()).args(command).args(arguments));
        serde_json::from_str::<serde_json::Value>(&told).expect("JSON")
    };
    let log = rehearse(&[]);
    assert_eq!(
        (&log["version"], &log["in_force"]["arrived"], &log["in_force"]["admitted"]),
        (&0.into(), &10.into(), &10.into())
    );
    assert_eq!(
        (&log["rehearsed"]["admitted"], &log["rehearsed"]["refused"]["patient"]["requests"]),
        (&4.into(), &6.into())
    );
    let trace = || rehearse(&["--against", "arrivals.ndjson"]);
    // The recording trails the answers a little.
    let recorded = std::iter::repeat_with(trace).find(|trace| trace["in_force"]["arrived"] == 12).expect("it arrives");
    assert_eq!(recorded["in_force"]["refused"]["patient"]["requests"], 2);
    assert_eq!(recorded["rehearsed"]["refused"]["patient"]["patients"], 1);
    let text = fs::read_to_string(folder.path().join("arrivals.ndjson")).expect("readable");
    assert!(!text.contains("ann") && !text.contains("127.0.0.1"), "nobody is recognised: {text}");
    let table = output(orderly(folder.path()).args(["policy", "rehearse", "strict.toml", "--data", "data"]));
    assert!(
        table.contains("throttled by the patient limit") && table.contains("the limits address and client"),
        "{table}"
    );
    let lane = "[[lanes]]\nname = \"gold\"\nlevels = [\"gold\"]\nshare = 0.2\n";
    let limits = "doctor = { rate_per_s = 0.001, burst = 3 }\nglobal = { rate_per_s = 1000, burst = 1000 }";
    fs::write(folder.path().join("strict.toml"), format!("[limits]\n{limits}\n{lane}")).expect("writable");
    let affected = serde_json::json!({ "doctor": [{ "key": doctor_id, "in_force": 0, "rehearsed": 7 }] });
    let log = rehearse(&[]);
    assert_eq!((&log["most_affected"], &log["rehearsed"]["refused"]["doctor"]["keys"]), (&affected, &1.into()));
    assert_eq!(log["not_recorded"], serde_json::json!(["address", "client", "member_level"]));
    assert_eq!(trace()["not_recorded"], serde_json::json!(["client", "member_level"]));
    let table = output(orderly(folder.path()).args(["policy", "rehearse", "strict.toml", "--data", "data"]));
    let row = table.lines().find(|line| line.trim_start().starts_with(&doctor_id)).expect("the doctor's row");
    assert_eq!(row.split_whitespace().skip(1).collect::<Vec<_>>(), ["0", "7", "+7"], "{table}");
    assert!(table.contains("No request has a member level there"), "{table}");
    let told = complaint(
        orderly(folder.path()).args([
            "policy",
            "rehearse",
            "strict.toml",
            "--against",
            "orderly.toml",
            "--data",
            "data",
        ]),
        1,
    );
    assert!(told.contains("line 1 of orderly.toml is not a recorded request"), "{told}");
}

#[test]
fn whoever_is_not_ops_is_refused_and_told_how_to_become_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let patient = output(orderly(folder.path()).args(["token", "--sub", "ann", "--role", "patient"]));
    for (token, status) in [(patient.trim_end(), "403"), ("not-a-token", "401")] {
        let mut get = server.asked(folder.path(), &["policy", "get"]);
        let told = complaint(get.env("ORDERLY_TOKEN", token), 1);
        assert!(told.contains(status) && told.contains("orderly token"), "{told}");
        assert!(!told.contains(token), "{told}");
    }
}
