//! Real bookings, all of them, through the HTTP API of the real program.

use std::io::Write as _;
use std::path::Path;

use clap::Parser as _;
use orderly_bench::replay;

use crate::program::{orderly, output};
use crate::server::Server;

#[derive(clap::Parser)]
struct Arguments {
    #[command(flatten)]
    options: replay::Options,
}

/// The number booked is the sum over sessions of min(capacity, eligible demand), which the replay computes from the file
/// alone; and every invariant holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_citys_bookings_are_decided_as_they_must_be() {
    let options = Arguments::parse_from(["replay"]).options;
    // The default is relative to the repository's root, where tests of this package run.
    let data = options.data_file();
    if !data.exists() {
        let name = replay::DATA_FOLDER;
        let told = format!("skipped: there are no bookings at {}; name their folder by {name}\n", data.display());
        std::io::stderr().write_all(told.as_bytes()).expect("stderr is open");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let open = "[limits]\npatient = { rate_per_s = 1000000, burst = 1000000 }\n";
    std::fs::write(folder.path().join("policy.toml"), open).expect("written");
    let server = Server::start_with(folder.path(), &["--policy", "policy.toml"]);
    let report = replay::run(server.url(), options).await.expect("it plays");
    assert!(report.passed(), "{}", report.to_text());
    assert!(server.terminate().success());
    check(folder.path());
}

fn check(folder: &Path) {
    output(orderly(folder).args(["check", "--idle"]));
}
