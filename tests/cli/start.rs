//! Starts that must be refused, and say what to do.

use crate::program::{complaint, orderly};
use crate::server::Server;

#[test]
fn a_folder_is_served_by_one_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let _first = Server::start(folder.path());
    let told = complaint(orderly(folder.path()).args(["serve", "--demo", "--listen", "127.0.0.1:0"]), 1);
    assert!(told.contains("data") && told.contains("another orderly process"), "{told}");
}

#[test]
fn a_port_in_use_is_named() {
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let first = Server::start(folders[0].path());
    let address = first.url().trim_start_matches("http://");
    let told = complaint(orderly(folders[1].path()).args(["serve", "--demo", "--listen", address]), 1);
    assert!(told.contains(address) && told.contains("in use"), "{told}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    // A file in the folder's place cannot be written to by anyone, root included.
    std::fs::write(folder.path().join("data"), "").expect("written");
    let told = complaint(orderly(folder.path()).args(["serve", "--demo", "--listen", "127.0.0.1:0"]), 1);
    assert!(told.contains("data"), "{told}");
}

#[test]
fn a_stop_in_order_lets_another_start_follow() {
    let folder = tempfile::tempdir().expect("a folder");
    for _ in 0..3 {
        assert!(Server::start(folder.path()).terminate().success());
    }
}
