//! Many who wait at once on one node, each on a stream of its own.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::program::{orderly, output};
use crate::server::Server;

const WAITING: usize = 5_000;
const MEMORY_MAX_BYTES: u64 = 400 << 20;
/// A connection of each stream, and what a program has open besides.
const DESCRIPTORS: u64 = 6_000;
/// Long enough for any machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(240);

/// Another program holds the store's file, so that nobody can be told an outcome. All wait, on streams that tell them their
/// place in line; once the file is free, every one is told what became of it. The process never has more than its budget.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_wait_within_the_budget_and_each_is_told() {
    // The server inherits it.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("known");
    setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS.min(most), most).expect("it can be raised up to the hard limit");
    let folder = tempfile::tempdir().expect("a folder");
    // All come from one address, and wait for longer than anybody should.
    let config = "[ingress]\nconnections_per_address_max = 6000\nstreams_per_address_max = 6000\n\
                  shed_wait_max_ms = 600000\n";
    std::fs::write(folder.path().join("orderly.toml"), config).expect("writable");
    let server = Server::start_with(folder.path(), &["--config", "orderly.toml"]);
    let hospital = Hospital { url: server.url().to_owned(), http: reqwest::Client::new() };
    let sessions = hospital.open_sessions().await;
    let before = server.memory_bytes("VmRSS");

    let other = rusqlite::Connection::open(folder.path().join("data/store.sqlite")).expect("it is there");
    other.busy_timeout(PATIENCE).expect("settable");
    other.execute_batch("BEGIN IMMEDIATE").expect("it can be locked");
    let book = |number: usize| hospital.book(number, &sessions[number % sessions.len()]);
    let tickets: Vec<_> = stream::iter(0..WAITING).map(book).buffer_unordered(64).collect().await;

    let (seen, mut placed) = mpsc::channel(WAITING);
    let mut waiting = JoinSet::new();
    for ticket in tickets {
        waiting.spawn(wait(hospital.url.clone(), ticket, seen.clone()));
    }
    drop(seen);
    for number in 0..WAITING {
        let told = tokio::time::timeout(PATIENCE, placed.recv()).await.expect("they are told their places in time");
        assert!(told.is_some(), "stream {number} ended before it told a place");
    }
    let with_all = server.memory_bytes("VmRSS");
    assert_eq!(hospital.metric(r#"orderly_ingress_streams{kind="tickets"}"#).await, WAITING as u64, "all wait at once");

    other.execute_batch("ROLLBACK").expect("it can be let go");
    let mut told = (0, 0);
    while let Some(outcome) = tokio::time::timeout(PATIENCE, waiting.join_next()).await.expect("they end in time") {
        match outcome.expect("no stream breaks off").as_str() {
            "booked" => told.0 += 1,
            "rejected" => told.1 += 1,
            other => panic!("{other} is no outcome of a booking"),
        }
    }
    assert_eq!(told.0 + told.1, WAITING, "each is told");
    let numbers = r#"orderly_pipeline_decisions_total{kind="book",outcome="booked",reason=""}"#;
    let numbers = hospital.metric(numbers).await;
    assert_eq!(told.0 as u64, numbers, "those who are told of a number have one");
    let peak = server.memory_bytes("VmHWM");
    assert!(
        peak <= MEMORY_MAX_BYTES,
        "{peak} bytes at most, {before} before anybody waited and {with_all} with all of them; {MEMORY_MAX_BYTES} may be"
    );
    assert!(server.terminate().success());
    output(orderly(folder.path()).args(["check", "--idle"]));
}

/// Reads a ticket's stream to its end: says when it told a place in line, and returns the outcome it told.
async fn wait(url: String, (bearer, path): (String, String), placed: mpsc::Sender<()>) -> String {
    let address = url.strip_prefix("http://").expect("plain HTTP").to_owned();
    let mut socket = TcpStream::connect(&address).await.expect("connected");
    let request = format!("GET {path}/events HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {bearer}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("written");
    let (mut text, mut bytes, mut is_placed) = (String::new(), [0; 2_048], false);
    loop {
        let read = socket.read(&mut bytes).await.expect("readable");
        text.push_str(std::str::from_utf8(&bytes[..read]).expect("ASCII"));
        if !is_placed && text.contains("event: position\n") {
            is_placed = true;
            placed.send(()).await.expect("somebody counts");
        }
        if let Some((_, outcome)) = text.split_once("event: outcome\nid: ") {
            // The last chunk of an answer is empty.
            if let Some((outcome, _)) = outcome.split_once('\n').filter(|_| text.ends_with("\r\n0\r\n\r\n")) {
                return outcome.to_owned();
            }
        } else if is_placed && text.ends_with("\n\n\r\n") {
            text.clear();
        }
        assert!(read > 0, "the stream ended without an outcome: {text}");
    }
}

struct Hospital {
    url: String,
    http: reqwest::Client,
}

impl Hospital {
    async fn token(&self, sub: &str, role: &str) -> String {
        let body = json!({ "sub": sub, "role": role });
        let answer = self.http.post(format!("{}/v1/demo/token", self.url)).json(&body).send().await;
        let token: Value = answer.expect("answered").json().await.expect("JSON");
        token["access_token"].as_str().expect("a token").to_owned()
    }

    /// A patient's booking: the patient's token, and the ticket's path.
    async fn book(&self, number: usize, session: &str) -> (String, String) {
        let bearer = self.token(&format!("patient-{number}"), "patient").await;
        let request = self.http.post(format!("{}/v1/bookings", self.url)).bearer_auth(&bearer);
        let request = request.header("idempotency-key", "k1").json(&json!({ "session_id": session }));
        let answer = request.send().await.expect("answered");
        let (status, ticket): (_, Value) = (answer.status(), answer.json().await.expect("JSON"));
        assert_eq!(status, reqwest::StatusCode::ACCEPTED, "{ticket}");
        (bearer, ticket["links"]["self"].as_str().expect("a link").to_owned())
    }

    /// The demo's open sessions, once all that the demo asked for is decided.
    async fn open_sessions(&self) -> Vec<String> {
        let ops = self.token("amy", "ops").await;
        let get = async |path: &str| -> Value {
            let answer = self.http.get(format!("{}{path}", self.url)).bearer_auth(&ops).send().await;
            answer.expect("answered").json().await.expect("JSON")
        };
        loop {
            let sessions = get("/v1/sessions").await["sessions"].as_array().expect("a list").clone();
            let open = sessions.iter().filter(|session| session["state"] == "open");
            let ids: Vec<_> = open.map(|session| session["session_id"].as_str().expect("an id").to_owned()).collect();
            if !ids.is_empty() && get("/v1/pipeline").await["lag"] == 0 {
                return ids;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn metric(&self, name: &str) -> u64 {
        let answer = self.http.get(format!("{}/metrics", self.url)).send().await.expect("answered");
        let text = answer.text().await.expect("text");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a count")
    }
}
