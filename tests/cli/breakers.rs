//! Breakers of a running server, by hand.

use crate::program::{complaint, output};
use crate::server::Server;

#[test]
fn ops_trip_and_reset_a_breaker() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let breakers = |arguments: &[&str]| server.asked(folder.path(), &[&["breakers"], arguments].concat());
    let line = |name: &str| {
        let list = output(&mut breakers(&["list"]));
        let line = list.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap_or_default();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for name in ["log", "ledger", "store", "store-reads", "analytics"] {
        assert!(line(name).starts_with(&format!("{name} closed ")), "{}", line(name));
    }
    let told = output(&mut breakers(&["open", "analytics", "--reason", "ClickHouse moves"]));
    assert_eq!(told, "the breaker of analytics is open, held open by amy: ClickHouse moves\n");
    assert!(line("analytics").starts_with("analytics open (by hand) "), "{}", line("analytics"));
    assert!(output(&mut breakers(&["close", "analytics"])).contains("is closed, held closed by amy"));
    assert!(output(&mut breakers(&["reset", "analytics"])).contains("is closed, let go by amy"));
    assert!(line("analytics").starts_with("analytics closed "), "{}", line("analytics"));
    let told = complaint(&mut breakers(&["open", "pump"]), 1);
    assert!(told.contains("The breakers are: log, ledger"), "{told}");
}
