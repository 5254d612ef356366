//! `orderly check` on a store that somebody has changed, and with what clients were told.

use clap::Parser as _;
use orderly_bench::rush;
use serde_json::Value;

use crate::program::{complaint, orderly, output};
use crate::server::Server;
use crate::tls::book;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_somebody_changed_is_found_and_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let booked = book(&server, "amy").await;
    assert!(server.terminate().success());
    output(orderly(folder.path()).args(["check", "--idle"]));

    let store = rusqlite::Connection::open(folder.path().join("data/store.sqlite")).expect("the store");
    let at = [&booked["log"]["partition"], &booked["log"]["offset"]].map(|part| part.as_i64().expect("a number"));
    let place = format!("{}/{}", at[0], at[1]);
    let checked = |arguments: &[&str]| {
        let checked = orderly(folder.path()).args(["check", "--idle"]).args(arguments).output().expect("it runs");
        (checked.status.code(), String::from_utf8(checked.stdout).expect("text"))
    };
    for (column, change) in [("number", "number + 1"), ("patient_id", "'bob'"), ("status", "1")] {
        let row = "FROM appointments WHERE partition = ? AND log_offset = ?";
        let was: rusqlite::types::Value =
            store.query_row(&format!("SELECT {column} {row}"), at, |row| row.get(0)).expect("the row");
        let set = format!("UPDATE appointments SET {column} = {change} WHERE partition = ? AND log_offset = ?");
        assert_eq!(store.execute(&set, at).expect("changed"), 1);

        let (status, told) = checked(&[]);
        assert_eq!(status, Some(1), "{column}: {told}");
        assert!(told.contains("BROKEN") && told.contains(&place), "{column}: {told}");
        let (status, told) = checked(&["--json"]);
        let told: Value = serde_json::from_str(&told).expect("JSON");
        assert_eq!((status, &told["holds"]), (Some(1), &Value::Bool(false)), "{column}");

        let undo = format!("UPDATE appointments SET {column} = ? WHERE partition = ? AND log_offset = ?");
        assert_eq!(store.execute(&undo, (was, at[0], at[1])).expect("changed back"), 1);
        output(orderly(folder.path()).args(["check", "--idle"]));
    }
}

#[derive(clap::Parser)]
struct Arguments {
    #[command(flatten)]
    options: rush::Options,
}

/// A short rush: what its clients were told is what was decided, and a history that says otherwise is found out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_were_told_is_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let history = folder.path().join("rush.ndjson");
    let arguments = "rush --seconds 2 --base-rate 20 --peak-factor 10 --patients 200 --retry-share 0.3 --cancel-share 0.3 \
                     --sse 20 --poll-share 0.3 --drain-seconds 60 --seed 5";
    let Arguments { options } = Arguments::parse_from(arguments.split_whitespace());
    let options = rush::Options { history: Some(history.clone()), ..options };
    let report = rush::run(server.url(), &options).await.expect("it plays");
    assert!(report.passed(), "{:?}", report.violations);
    let counts = &report.counts;
    assert!(counts.pushed > 0 && counts.cancelled > 0 && counts.retries_compared > 0, "{counts:?}");
    // While it runs, and when everything must be there.
    let arguments = ["check", "--json", "--clients", "rush.ndjson"];
    let told: Value = serde_json::from_str(&output(orderly(folder.path()).args(arguments))).expect("JSON");
    let all = told["invariants"].as_array().expect("a list");
    let clients = all.iter().find(|finding| finding["invariant"] == "clients_agree").expect("it was compared");
    let text = std::fs::read_to_string(&history).expect("a history");
    assert_eq!(clients["checked"].as_u64(), Some(text.lines().count() as u64));
    assert!(server.terminate().success());
    output(orderly(folder.path()).args(["check", "--idle", "--clients", "rush.ndjson", "rush.ndjson"]));

    let pushed = text.lines().find(|line| line.contains("\"by\":\"push\"") && line.contains("booked")).expect("a push");
    let mut call: Value = serde_json::from_str(pushed).expect("JSON");
    call["outcome"]["number"] = Value::from(99_999);
    std::fs::write(folder.path().join("wrong.ndjson"), format!("{call}\n")).expect("written");
    let arguments = ["check", "--idle", "--clients", "rush.ndjson", "wrong.ndjson"];
    let checked = orderly(folder.path()).args(arguments).output().expect("it runs");
    let told = String::from_utf8(checked.stdout).expect("text");
    assert_eq!(checked.status.code(), Some(1), "{told}");
    assert!(told.contains("13. clients agree: 1 violations") && told.contains("told booked 99999 by push"), "{told}");

    std::fs::write(folder.path().join("cut.ndjson"), &pushed[..20]).expect("written");
    for (file, expected) in [("cut.ndjson", "line 1 of cut.ndjson"), ("nowhere.ndjson", "cannot read nowhere.ndjson")] {
        let told = complaint(orderly(folder.path()).args(["check", "--clients", file]), 1);
        assert!(told.contains(expected), "{told}");
    }
}
