//! The disk with the embedded profile's data, all of it, is full: every file meets that in its own way.

use orderly_stack::Tmpfs;

use crate::patient::{Patient, is_problem};
use crate::program::{orderly, output};
use crate::server::Server;

/// What fits into files as long as they already are may still be taken.
const TAKEN_MAX: usize = 1_000;

/// Requests are refused as long as there is no space, and taken once there is. Those that were taken have outcomes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_takes_nothing_until_there_is_space() {
    let folder = tempfile::tempdir().expect("a folder");
    let Ok(disk) = Tmpfs::mount(&folder.path().join("data")) else {
        println!("skipped: this user may not mount");
        return;
    };
    let server = Server::start(folder.path());
    let first = Patient::of(&server, "first").await;
    let session = first.session().await;
    assert_eq!(first.insist(&session).await["status"], "booked");

    disk.fill().expect("it shrinks");
    let mut taken = Vec::new();
    let refused = loop {
        let patient = Patient::of(&server, &format!("patient-{}", taken.len())).await;
        match patient.book(&session, 0).await.expect("answered") {
            (200 | 202, ticket) => taken.push((patient, ticket)),
            (503, told) if is_problem(&told, "storage-full") => break patient,
            other => panic!("{other:?}"),
        }
        assert!(taken.len() < TAKEN_MAX, "there is no space");
    };
    let (status, told) = refused.book(&session, 0).await.expect("answered");
    assert!(status == 503 && is_problem(&told, "storage-full"), "{status} {told}");

    disk.empty().expect("it grows");
    let again = refused.insist(&session).await;
    assert!(matches!(again["status"].as_str(), Some("booked" | "rejected")), "{again}");
    for (patient, ticket) in taken {
        let decided = patient.decided(&ticket).await;
        assert!(matches!(decided["status"].as_str(), Some("booked" | "rejected")), "{decided}");
    }
    assert!(server.terminate().success());
    output(orderly(folder.path()).args(["check", "--idle"]));
}
