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

/// How real bookings are played; `None`, and a word about it, where they are missing.
pub(crate) fn bookings() -> Option<replay::Options> {
    let options = Arguments::parse_from(["replay"]).options;
    // The default is relative to the repository's root, where tests of this package run.
    let data = options.data_file();
    if data.exists() {
        return Some(options);
    }
    let name = replay::DATA_FOLDER;
    let told = format!("skipped: there are no bookings at {}; name their folder by {name}\n", data.display());
    std::io::stderr().write_all(told.as_bytes()).expect("stderr is open");
    None
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
