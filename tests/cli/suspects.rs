//! Who looks like a program on a running server.

use crate::program::{orderly, output};
use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn ops_see_who_is_suspicious_and_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let asked = |arguments: &[&str]| server.asked(folder.path(), arguments);
    let told = output(&mut asked(&["suspects"]));
    assert!(told.starts_with("nobody is watched"), "{told}");

    let policy = output(&mut asked(&["policy", "get"])) + "\n[suspicion]\n";
    std::fs::write(folder.path().join("policy.toml"), policy).expect("writable");
    output(&mut asked(&["policy", "set", "policy.toml", "--reason", "somebody guesses tickets"]));
    assert_eq!(output(&mut asked(&["suspects"])), "nobody is suspicious\n");

    let token = output(orderly(folder.path()).args(["token", "--sub", "13812341234", "--role", "patient"]));
    let http = reqwest::Client::new();
    for number in 0..40 {
        let guess = http.get(format!("{}/v1/tickets/guess-{number}", server.url())).bearer_auth(token.trim_end());
        assert_eq!(guess.send().await.expect("an answer").status(), 404);
    }
    let table = output(&mut asked(&["suspects", "--limit", "1"]));
    let [header, suspect] = table.lines().collect::<Vec<_>>()[..] else { panic!("{table}") };
    assert!(header.trim().starts_with("KIND") && header.trim().ends_with("WHY"), "{table}");
    let words: Vec<_> = suspect.split_whitespace().collect();
    assert_eq!((words[0], words[1], words[3]), ("patient", "138****1234", "yes"), "{table}");
    assert!(suspect.contains("unknown_tickets "), "{table}");
}
