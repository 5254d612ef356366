//! Help, and command lines that cannot be used.

use crate::program::{complaint, orderly, output};

#[test]
fn every_command_explains_itself_with_examples() {
    let folder = tempfile::tempdir().expect("a folder");
    for command in [
        &["serve"][..],
        &["check"],
        &["follow"],
        &["replay"],
        &["audit-run"],
        &["receipt", "make"],
        &["receipt", "verify"],
        &["audit", "verify"],
        &["audit", "head"],
        &["policy", "get"],
        &["policy", "set"],
        &["policy", "diff"],
        &["breakers", "list"],
        &["breakers", "open"],
        &["breakers", "close"],
        &["breakers", "reset"],
        &["suspects"],
        &["sessions", "import"],
        &["keys", "rotate"],
        &["keys", "reencrypt"],
        &["keys", "list"],
        &["token"],
        &["plan"],
        &["config"],
    ] {
        let help = output(orderly(folder.path()).args(command).arg("--help"));
        assert!(help.contains("Example") && help.contains(&format!("orderly {}", command.join(" "))), "{help}");
    }
    let version = output(orderly(folder.path()).arg("--version"));
    assert_eq!(version, format!("orderly {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_command_line_that_cannot_be_used_ends_with_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = complaint(orderly(folder.path()).args(["serve", "--lisen", "127.0.0.1:0"]), 2);
    assert!(told.contains("--listen"), "{told}");
    for wrong in [
        &["policy", "get"][..],
        &["token", "--sub", "ann", "--role", "king"],
        &["token", "--sub", "ann", "--role", "ops", "--ttl", "soon"],
        &["serve", "--listen", "here"],
        &["follow", "--group", "g", "--claim-after", "0s"],
        &["frobnicate"],
    ] {
        complaint(orderly(folder.path()).args(wrong), 2);
    }
    let told = complaint(orderly(folder.path()).args(["token", "--sub", "ann", "--role", "king"]), 2);
    assert!(told.contains("patient, ops, analyst"), "{told}");
}

#[test]
fn a_server_that_is_not_there_is_a_failure_that_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    // Nobody listens on a port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port();
    let mut get = orderly(folder.path());
    get.args(["policy", "get", "--url", &format!("http://127.0.0.1:{port}")]).env("ORDERLY_TOKEN", "secret-token");
    let told = complaint(&mut get, 1);
    assert!(told.contains("cannot be reached") && told.contains("--url"), "{told}");
    assert!(!told.contains("secret-token"), "{told}");
    let told = complaint(orderly(folder.path()).args(["policy", "get", "--url", "ftp://h", "--token", "t"]), 1);
    assert!(told.contains("http://127.0.0.1:8080"), "{told}");
}
