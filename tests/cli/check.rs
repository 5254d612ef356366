//! `orderly check` on a store that somebody has changed.

use serde_json::Value;

use crate::program::{orderly, output};
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
