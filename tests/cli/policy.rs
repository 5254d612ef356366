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

    fs::write(&file, "[limits]\npatient = { rate_per_s = 2, burst = 0 }\n").expect("writable");
    let told = complaint(&mut asked(&["policy", "set", "policy.toml"]), 1);
    assert!(told.contains("limits.patient.burst is 0; set 1 to"), "{told}");
    assert_eq!(output(&mut asked(&["policy", "get"])), after, "nothing changed");
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
