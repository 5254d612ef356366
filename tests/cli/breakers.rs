//! Breakers of a running server: by hand, and around a store that is away.

use std::time::Duration;

use serde_json::{Value, json};

use crate::program::{complaint, orderly, output};
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

/// Long enough for any machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(120);

struct Asked {
    url: String,
    http: reqwest::Client,
}

impl Asked {
    async fn token(&self, sub: &str, role: &str) -> String {
        let body = json!({ "sub": sub, "role": role });
        let answer = self.http.post(format!("{}/v1/demo/token", self.url)).json(&body).send().await;
        let token: Value = answer.expect("answered").json().await.expect("JSON");
        token["access_token"].as_str().expect("a token").to_owned()
    }

    async fn get(&self, bearer: &str, path: &str) -> Value {
        let answer = self.http.get(format!("{}{path}", self.url)).bearer_auth(bearer).send().await;
        answer.expect("answered").json().await.expect("JSON")
    }

    async fn book(&self, bearer: &str, session: &str) -> (u16, Value) {
        let request = self.http.post(format!("{}/v1/bookings", self.url)).bearer_auth(bearer);
        let request = request.header("idempotency-key", "k1").json(&json!({ "session_id": session }));
        let answer = request.send().await.expect("answered");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    async fn breaker(&self, ops: &str, name: &str) -> Value {
        let view = self.get(ops, "/v1/pipeline").await;
        let breakers = view["breakers"].as_array().expect("breakers").clone();
        breakers.into_iter().find(|breaker| breaker["name"] == name).expect("a breaker of that name")
    }
}

/// Another program holds the store's file, so that no commit goes through: requests are taken up to the bound, everybody is
/// told that outcomes are late, and once the file is free everybody has an outcome.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_makes_outcomes_late_and_loses_nobody() {
    const UNDECIDED_MAX: usize = 20;
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!("[ingress]\nundecided_max = {UNDECIDED_MAX}\n");
    std::fs::write(folder.path().join("orderly.toml"), config).expect("writable");
    let server = Server::start_with(folder.path(), &["--config", "orderly.toml"]);
    let asked = Asked { url: server.url().to_owned(), http: reqwest::Client::new() };
    let ops = asked.token("amy", "ops").await;
    let session = loop {
        let sessions = asked.get(&ops, "/v1/sessions").await;
        let sessions = sessions["sessions"].as_array().expect("a list");
        // The demo's sessions are there once they are decided.
        if let Some(open) = sessions.iter().find(|session| session["state"] == "open") {
            break open["session_id"].as_str().expect("an id").to_owned();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    while asked.get(&ops, "/v1/pipeline").await["lag"] != 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let file = folder.path().join("data/store.sqlite");
    let other = rusqlite::Connection::open(file).expect("it is there");
    other.busy_timeout(PATIENCE).expect("settable");
    other.execute_batch("BEGIN IMMEDIATE").expect("it can be locked");

    let mut tickets = Vec::new();
    let told = loop {
        let bearer = asked.token(&format!("patient-{}", tickets.len()), "patient").await;
        match asked.book(&bearer, &session).await {
            (202, ticket) => tickets.push((bearer, ticket["links"]["self"].as_str().expect("a link").to_owned())),
            (503, problem) => break problem,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((&told["limit"], tickets.len()), (&"undecided".into(), UNDECIDED_MAX), "{told}");
    let seen = tokio::time::timeout(PATIENCE, async {
        let (bearer, path) = &tickets[0];
        while asked.get(bearer, path).await["late"] != true {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        while asked.breaker(&ops, "store").await["state"] == "closed" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    seen.await.expect("it is told as late, and its breaker opens");

    other.execute_batch("ROLLBACK").expect("it can be let go");
    for (bearer, path) in &tickets {
        let ticket = loop {
            let ticket = asked.get(bearer, &format!("{path}?wait_ms=60000")).await;
            if ticket["status"] != "queued" {
                break ticket;
            }
        };
        assert!(["booked", "rejected"].iter().any(|status| ticket["status"] == *status), "{ticket}");
    }
    let mut number = tickets.len();
    let recovered = tokio::time::timeout(PATIENCE, async {
        // Commits are what closes it.
        while asked.breaker(&ops, "store").await["state"] != "closed" {
            number += 1;
            let bearer = asked.token(&format!("patient-{number}"), "patient").await;
            assert_eq!(asked.book(&bearer, &session).await.0, 202);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    recovered.await.expect("its breaker closes");
    assert!(server.terminate().success());
    output(orderly(folder.path()).args(["check", "--idle"]));
}
