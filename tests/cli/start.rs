//! What is there after a start, and starts that must be refused and say what to do.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use crate::program::{complaint, orderly};
use crate::server::Server;

#[tokio::test]
async fn whoever_comes_first_finds_the_whole_demo_hospital() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_role(folder.path(), &["serve", "--demo"]);
    let asked = reqwest::get(format!("{}/v1/sessions?limit=2000", server.url())).await.expect("it listens");
    let first: serde_json::Value = asked.json().await.expect("a list");
    let first = first["sessions"].as_array().expect("a list").len();
    let folder = folder.path().join("data");
    let store = rusqlite::Connection::open(folder.join("store.sqlite")).expect("a store");
    let log = rusqlite::Connection::open(folder.join("log.sqlite")).expect("a log");
    let count = |of: &rusqlite::Connection, table: &str| {
        let count = of.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, u32>(0));
        usize::try_from(count.expect("a number")).expect("few")
    };
    assert_eq!((first, first), (count(&store, "sessions"), count(&log, "records")));
    assert!(first > 500, "{first}");
}

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

/// A command that starts a server on the folder's data, which nobody can write to; `None` where that cannot be had.
fn serve_unwritable(folder: &Path) -> Option<Command> {
    let arguments = ["serve", "--demo", "--listen", "127.0.0.1:0"];
    let data = folder.join("data");
    if std::fs::metadata(&data).expect("it is there").uid() != 0 {
        let entries = std::fs::read_dir(&data).expect("readable").map(|entry| entry.expect("readable").path());
        for path in entries.chain([data]) {
            std::fs::set_permissions(path, Permissions::from_mode(0o555)).expect("it is ours");
        }
        let mut serve = orderly(folder);
        serve.args(arguments);
        return Some(serve);
    }
    // Root may write whatever the rights are, but not to what is mounted to be read. The mount goes with the process.
    let mounts = Command::new("unshare").args(["--mount", "true"]).status();
    if !mounts.is_ok_and(|status| status.success()) {
        let told = b"skipped: root cannot mount here, so there is no folder that it cannot write to\n";
        std::io::stderr().write_all(told).expect("stderr is open");
        return None;
    }
    let program = orderly(folder);
    let mut serve = Command::new("unshare");
    let mount = "mount --bind data data && mount -o remount,bind,ro data && exec \"$@\"";
    serve.args(["--mount", "sh", "-c", mount, "sh"]).arg(program.get_program()).args(arguments).current_dir(folder);
    for (name, value) in program.get_envs() {
        assert!(value.is_none(), "variables are only taken away");
        serve.env_remove(name);
    }
    Some(serve)
}

#[test]
fn a_folder_with_data_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(Server::start(folder.path()).terminate().success());
    let Some(mut serve) = serve_unwritable(folder.path()) else { return };
    let told = complaint(&mut serve, 1);
    assert!(told.contains("data") && told.contains("written"), "{told}");
}

#[test]
fn a_stop_in_order_lets_another_start_follow() {
    let folder = tempfile::tempdir().expect("a folder");
    for _ in 0..3 {
        assert!(Server::start(folder.path()).terminate().success());
    }
}

#[test]
fn a_secret_that_others_may_know_is_refused_outside_a_demo() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut demo = Server::start(folder.path());
    let told = demo.says();
    assert!(told.starts_with("DEMO:") && told.contains("Never show this to a network"), "{told}");
    assert!(demo.terminate().success());
    std::fs::write(folder.path().join("weak.key"), "a".repeat(64)).expect("written");
    for (key, expected) in [("data/demo.key", "is a demo's"), ("weak.key", "is not random")] {
        let mut serve = orderly(folder.path());
        serve.args(["serve", "--listen", "127.0.0.1:0"]).env("ORDERLY_AUTH__KEY_FILE", key);
        let told = complaint(&mut serve, 1);
        assert!(told.contains(key) && told.contains(expected) && told.contains("/dev/urandom"), "{told}");
    }
}
