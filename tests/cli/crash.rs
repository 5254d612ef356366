//! A rush on a real process that is killed again and again.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::program::{orderly, output};
use crate::server::Server;

const KILLS: u32 = 25;
/// The store's files, without those that are made anew at each start.
const STORE: [&str; 2] = ["store.sqlite", "store.sqlite-wal"];
/// After every so many kills the store finds itself as it was at an earlier one: that is what a loss of power does to what was
/// not written to the disk. The log has all of it.
const SETBACK_EVERY: u32 = 4;
const PATIENTS: u64 = 24;
/// Long enough for any machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(300);

/// However many ask while the checker looks on, a retry at the end is known.
const CONFIG: &str = "[pipeline]\ndedup_tickets_max = 1000000\n";

const POLICY: &str = "[limits]\npatient = { rate_per_s = 1000000, burst = 1000000 }\n";

/// A booking that was acknowledged.
struct Acknowledged {
    patient: u64,
    session: String,
    key: String,
    ticket: String,
}

/// Books without end: each request with a key of its own, sent again with the same key until it is answered.
struct Patient {
    number: u64,
    bearer: String,
    sessions: Arc<[String]>,
    url: watch::Receiver<String>,
    acknowledged: mpsc::Sender<Acknowledged>,
    http: reqwest::Client,
}

impl Patient {
    async fn rush(self) {
        let mut random = SmallRng::seed_from_u64(self.number);
        for intent in 0_u64.. {
            // Few sessions, so that most of them sell out.
            let session = &self.sessions[random.random_range(0..self.sessions.len().min(40))];
            let key = format!("{}-{intent}", self.number);
            let ticket = loop {
                let url = self.url.borrow().clone();
                let body = serde_json::json!({ "session_id": session });
                let request = self.http.post(format!("{url}/v1/bookings")).bearer_auth(&self.bearer);
                match request.header("idempotency-key", &key).json(&body).send().await {
                    Ok(answer) if answer.status() == 202 => match answer.json::<Value>().await {
                        Ok(ticket) => break ticket,
                        // It broke off inside the answer: it may have happened.
                        Err(_) => continue,
                    },
                    Ok(answer) if answer.status() == 503 || answer.status() == 404 => {}
                    Ok(answer) => panic!("{answer:?}"),
                    Err(_) => {}
                }
                // The server is down, or does not know its sessions yet.
                tokio::time::sleep(Duration::from_millis(5)).await;
            };
            if random.random_bool(0.1) {
                let path = format!("{}{}", self.url.borrow().clone(), text(&ticket["links"]["self"]));
                // Whether it is taken does not matter here; the checker sees what came of it.
                let _ = self.http.delete(path).bearer_auth(&self.bearer).send().await;
            }
            let ticket = text(&ticket["ticket"]);
            let acknowledged = Acknowledged { patient: self.number, session: session.clone(), key, ticket };
            if self.acknowledged.send(acknowledged).await.is_err() {
                return;
            }
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

async fn demo_token(http: &reqwest::Client, url: &str, patient: u64) -> String {
    let body = serde_json::json!({ "sub": format!("patient-{patient}"), "role": "patient" });
    let answer = http.post(format!("{url}/v1/demo/token")).json(&body).send().await.expect("it runs");
    text(&answer.json::<Value>().await.expect("a token")["access_token"])
}

async fn sessions(http: &reqwest::Client, url: &str) -> Arc<[String]> {
    loop {
        let answer = http.get(format!("{url}/v1/sessions")).send().await.expect("it runs");
        let list = answer.json::<Value>().await.expect("a list");
        let open = list["sessions"].as_array().expect("a list").iter().filter(|session| session["state"] == "open");
        let open: Arc<[String]> = open.map(|session| text(&session["session_id"])).collect();
        if open.len() > 100 {
            return open;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The invariants hold: exit status 0.
fn check(folder: &Path, arguments: &[&str]) {
    output(orderly(folder).args(["check", "--config", "orderly.toml"]).args(arguments));
}

/// Every acknowledged booking has one outcome that does not change, and a retry of the same key leads to the same.
async fn follow(http: &reqwest::Client, url: &str, bearers: &[String], acknowledged: &[Acknowledged]) {
    let one = async |Acknowledged { patient, session, key, ticket }: &Acknowledged| {
        let bearer = &bearers[usize::try_from(*patient).expect("few patients")];
        let get = http.get(format!("{url}/v1/tickets/{ticket}?wait_ms=30000")).bearer_auth(bearer);
        let first: Value = get.send().await.expect("it runs").json().await.expect("a ticket");
        assert!(["booked", "rejected", "cancelled"].contains(&first["status"].as_str().expect("a status")), "{first}");
        let body = serde_json::json!({ "session_id": session });
        let retry = http.post(format!("{url}/v1/bookings")).bearer_auth(bearer).header("idempotency-key", key);
        let retry = retry.header("prefer", "wait=30").json(&body).send().await.expect("it runs");
        assert_eq!(retry.status(), 200);
        let again: Value = retry.json().await.expect("a ticket");
        for field in ["status", "reason", "number"] {
            assert_eq!(again[field], first[field], "{first} then {again}");
        }
    };
    futures::stream::iter(acknowledged).map(one).buffer_unordered(64).collect::<()>().await;
}

/// Copies the store's files; one that is not there is removed.
fn copy_store(from: &Path, to: &Path) {
    for name in STORE {
        match std::fs::copy(from.join(name), to.join(name)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let _ = std::fs::remove_file(to.join(name));
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
    let _ = std::fs::remove_file(to.join("store.sqlite-shm"));
}

/// What can have been told of each record: the outcome, its reason and the number.
type Decisions = BTreeMap<(u16, i64), (i64, Option<i64>, Option<i64>)>;

fn decisions(folder: &Path) -> Decisions {
    let store = rusqlite::Connection::open(folder.join(STORE[0])).expect("a store");
    let mut select =
        store.prepare("SELECT partition, log_offset, outcome, reason, number FROM decisions").expect("its table");
    let decision = |row: &rusqlite::Row<'_>| Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, row.get(3)?, row.get(4)?)));
    select.query_map([], decision).expect("rows").map(|row| row.expect("a row")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_five_kills_lose_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("policy.toml"), POLICY).expect("written");
    std::fs::write(folder.path().join("orderly.toml"), CONFIG).expect("written");
    let start = || Server::start_with(folder.path(), &["--config", "orderly.toml", "--policy", "policy.toml"]);
    let http = reqwest::Client::new();
    let mut server = start();
    let mut bearers = Vec::new();
    for patient in 0..PATIENTS {
        bearers.push(demo_token(&http, server.url(), patient).await);
    }
    let sessions = sessions(&http, server.url()).await;

    let (url, current) = watch::channel(server.url().to_owned());
    let (sender, mut acknowledgements) = mpsc::channel(1_024);
    let count = Arc::new(AtomicU64::new(0));
    let mut rush = JoinSet::new();
    for (number, bearer) in (0..).zip(&bearers) {
        let patient = Patient {
            number,
            bearer: bearer.clone(),
            sessions: Arc::clone(&sessions),
            url: current.clone(),
            acknowledged: sender.clone(),
            http: http.clone(),
        };
        rush.spawn(patient.rush());
    }
    drop(sender);
    let collected = tokio::spawn({
        let count = Arc::clone(&count);
        async move {
            let mut all = Vec::new();
            while let Some(acknowledged) = acknowledgements.recv().await {
                all.push(acknowledged);
                count.fetch_add(1, Ordering::SeqCst);
            }
            all
        }
    });

    let mut random = SmallRng::seed_from_u64(7);
    let data = folder.path().join("data");
    let (earlier, mut told) = (tempfile::tempdir().expect("a folder"), Decisions::new());
    for kill in 0..KILLS {
        // Somewhere in the rush, but not before it has gone on after the last kill.
        let target = count.load(Ordering::SeqCst) + random.random_range(1..400);
        let reached = async {
            while count.load(Ordering::SeqCst) < target {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("nobody was served after kill {kill}"));
        let sets_back = kill % SETBACK_EVERY == 1;
        if sets_back {
            // What was acknowledged may not have been decided yet: there must be something to lose.
            let before = decisions(earlier.path()).len();
            let decided = async {
                while decisions(&data).len() <= before {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(PATIENCE, decided)
                .await
                .unwrap_or_else(|_| panic!("nothing decided before kill {kill}"));
        }
        server.kill();
        check(folder.path(), &[]);
        if kill % SETBACK_EVERY == 0 {
            copy_store(&data, earlier.path());
        } else if sets_back {
            let decided = decisions(&data);
            assert!(decided.len() > decisions(earlier.path()).len(), "something gets lost");
            told.extend(decided);
            copy_store(earlier.path(), &data);
        }
        server = start();
        url.send_replace(server.url().to_owned());
        check(folder.path(), &[]);
    }
    rush.shutdown().await;
    let acknowledged = collected.await.expect("it collects");
    assert!(acknowledged.len() > 25, "there was a rush");
    follow(&http, server.url(), &bearers, &acknowledged).await;

    assert!(server.terminate().success(), "a stop in order is a success");
    check(folder.path(), &["--idle"]);
    let decided = decisions(&data);
    for (place, was_told) in told {
        assert_eq!(decided.get(&place), Some(&was_told), "{place:?} is decided once more as it was");
    }
}
