//! Kafka does not answer, or has lost what it had: nobody is told what is not so, and nothing begins anew by itself.

use std::io::Write as _;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use orderly_domain::port::IntentLog as _;
use orderly_sinks::log;
use prometheus::Registry;
use reqwest::Method;
use serde_json::{Value, json};

use crate::program::{check_once_idle, complaint, orderly};
use crate::server::Server;
use crate::stack::{CONFIG, Servers};

/// Long enough for any machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long a request may take: a broker that is stopped takes longer.
const DEADLINE_MS: u32 = 1_500;

/// A client of one ingress.
struct Client<'a> {
    ingress: &'a Server,
    http: reqwest::Client,
}

impl Client<'_> {
    async fn token(&self, sub: &str) -> String {
        let body = json!({ "sub": sub, "role": "patient" });
        let answer = self.http.post(format!("{}/v1/demo/token", self.ingress.url())).json(&body).send().await;
        let token: Value = answer.expect("answered").json().await.expect("JSON");
        token["access_token"].as_str().expect("a token").to_owned()
    }

    /// A session of the demo hospital that can be booked.
    async fn session(&self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let sessions = self.http.get(format!("{}/v1/sessions", self.ingress.url())).send().await.expect("answered");
            let sessions: Value = sessions.json().await.expect("JSON");
            let sessions = sessions["sessions"].as_array().expect("a list");
            if let Some(open) = sessions.iter().find(|session| session["state"] == "open") {
                return open["session_id"].as_str().expect("an id").to_owned();
            }
            assert!(Instant::now() < deadline, "the demo's sessions are decided in time");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Books under the key `k1`, and waits for the outcome for as long as is asked.
    async fn book(&self, token: &str, session: &str, wait_s: u32) -> (u16, Value) {
        let request = self.http.request(Method::POST, format!("{}/v1/bookings", self.ingress.url())).bearer_auth(token);
        let request = request.header("idempotency-key", "k1").header("prefer", format!("wait={wait_s}"));
        let answer = request.json(&json!({ "session_id": session })).send().await.expect("answered");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    /// Asks until it is decided; on the way it may only be told that it is not known, or not taken.
    async fn insist(&self, token: &str, session: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.book(token, session, 30).await {
                (200, ticket) => return ticket,
                (202 | 503, _) => assert!(Instant::now() < deadline, "it is decided in time"),
                other => panic!("{other:?}"),
            }
        }
    }

    async fn readiness(&self) -> Value {
        let answer = self.http.get(format!("{}/readyz", self.ingress.url())).send().await.expect("answered");
        answer.json().await.expect("JSON")
    }
}

fn is_problem(body: &Value, kind: &str) -> bool {
    body["type"].as_str().is_some_and(|told| told.ends_with(&format!("/{kind}")))
}

/// At its deadline a request is told that its outcome is not known, and how to learn it: not that it failed. What it had given
/// to the log is taken once the broker is back, and asked for again it is the same booking.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_does_not_answer_leaves_it_open_and_the_same_key_finds_out() {
    let servers = tokio::task::block_in_place(Servers::start);
    let mut config = std::fs::OpenOptions::new().append(true).open(servers.path().join(CONFIG)).expect("it is there");
    writeln!(config, "[ingress]\nrequest_timeout_ms = {DEADLINE_MS}").expect("writable");
    let (relay, pipeline, ingress) = (servers.node("relay"), servers.node("pipeline"), servers.node("ingress"));
    let client = Client { ingress: &ingress, http: reqwest::Client::new() };
    let session = client.session().await;
    let (ann, bob) = (client.token("ann").await, client.token("bob").await);

    servers.kafka.process(0).signal(Signal::SIGSTOP).expect("it runs");
    let (status, told) = client.book(&ann, &session, 0).await;
    servers.kafka.process(0).signal(Signal::SIGCONT).expect("it runs");
    assert!(status == 503 && is_problem(&told, "outcome-unknown"), "{status} {told}");
    let detail = told["detail"].as_str().expect("a detail");
    assert!(detail.contains("Ask again with the same Idempotency-Key"), "{told}");

    let first = client.insist(&ann, &session).await;
    let again = client.insist(&ann, &session).await;
    assert_eq!((&first["status"], &first["number"]), (&"booked".into(), &1.into()), "{first}");
    assert_eq!((&again["ticket"], &again["number"]), (&first["ticket"], &first["number"]), "one key is one booking");
    let next = client.insist(&bob, &session).await;
    assert_eq!(next["number"], 2, "and took one number: {next}");
    check_once_idle(servers.path(), CONFIG);
    for node in [ingress, pipeline, relay] {
        assert!(node.terminate().success());
    }
}

/// The broker's log directory is gone. Who runs stops or takes nothing more; who starts says what is wrong and makes no topic;
/// and a topic that others have made is not taken for the old one, however far it has grown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_log_stops_all_and_is_never_begun_anew() {
    let mut servers = tokio::task::block_in_place(Servers::start);
    let (mut pipeline, ingress) = (servers.node("pipeline"), servers.node("ingress"));
    let client = Client { ingress: &ingress, http: reqwest::Client::new() };
    let session = client.session().await;
    let (ann, bob) = (client.token("ann").await, client.token("bob").await);
    assert_eq!(client.insist(&ann, &session).await["status"], "booked");

    tokio::task::block_in_place(|| servers.kafka.restart_empty(0)).expect("it starts again");
    let refused = |role: &str| {
        let start = [role, "--config", CONFIG, "--listen", "127.0.0.1:0"];
        complaint(orderly(servers.path()).args(start), 1)
    };
    for role in ["ingress", "pipeline", "relay"] {
        let told = tokio::task::block_in_place(|| refused(role));
        assert!(told.contains("has no topic") && told.contains("bring it back as it was"), "{role}: {told}");
    }
    let deadline = Instant::now() + PATIENCE;
    let ended = loop {
        if let Some(ended) = pipeline.ended() {
            break ended;
        }
        assert!(Instant::now() < deadline, "the pipeline stops by itself");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(ended.code(), Some(1));

    // Somebody makes the topic by hand. What the ingress takes there would never be decided.
    let options = log::kafka::Options { brokers: servers.kafka.brokers(), ..log::kafka::Options::default() };
    let log = log::kafka::Log::open(options, &Registry::new()).await.expect("it is made");
    let told = tokio::task::block_in_place(|| refused("ingress"));
    assert!(told.contains("ends before offset 0") && told.contains("lost or replaced"), "{told}");
    while !client.readiness().await["causes"].to_string().contains("the log was lost or replaced") {
        let (status, told) = client.book(&bob, &session, 0).await;
        assert!(status == 503, "nobody is told that it is taken: {status} {told}");
        assert!(Instant::now() < deadline, "the ingress notices");
    }
    let (status, told) = client.book(&bob, &session, 0).await;
    assert!(status == 503 && is_problem(&told, "unavailable"), "{status} {told}");

    // It grows past what was decided: ends tell nothing any more.
    for partition in 0..log.partitions() {
        for _ in 0..200 {
            // The new broker gives producers the ids that those of the old one still use: now and then one starts over.
            while let Err(error) = log.append(partition, "doctor", b"of somebody else".to_vec()).await {
                assert!(Instant::now() < deadline, "it is taken: {error}");
            }
        }
    }
    log.close().await;
    for role in ["ingress", "pipeline"] {
        let told = tokio::task::block_in_place(|| refused(role));
        assert!(told.contains("was logged at") && told.contains("lost or replaced"), "{role}: {told}");
    }
    let (status, told) = client.book(&bob, &session, 0).await;
    assert!(status == 503 && is_problem(&told, "unavailable"), "{status} {told}");
    assert!(ingress.terminate().success());
}

/// One folder has both, and only a part of it was brought back.
#[test]
fn an_embedded_log_that_is_gone_is_not_begun_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(Server::start(folder.path()).terminate().success(), "the demo's sessions are decided");
    for file in ["log.sqlite", "log.sqlite-wal", "log.sqlite-shm"] {
        let file = folder.path().join("data").join(file);
        if file.exists() {
            std::fs::remove_file(file).expect("it is ours");
        }
    }
    let told = complaint(orderly(folder.path()).args(["serve", "--demo", "--listen", "127.0.0.1:0"]), 1);
    assert!(told.contains("ends before offset 0") && told.contains("lost or replaced"), "{told}");
}
