//! One suite for all systems, over HTTP, on a real PostgreSQL and a real Redis.

use std::collections::HashSet;
use std::future::Future;
use std::os::unix::fs::PermissionsExt as _;

use futures::future::join_all;
use orderly_baselines::{Booked, Kind, Options, Outcome, Reason, Session, api, systems};
use orderly_stack::postgres::{self, Postgres};
use orderly_stack::redis::{self, Redis};
use reqwest::StatusCode;
use serde_json::json;

const CLIENTS: usize = 64;

/// Servers, and one system after the other on them.
struct Servers {
    postgres: Postgres,
    redis: Redis,
    _folder: tempfile::TempDir,
}

impl Servers {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // PostgreSQL's user has to reach its own folder in it.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        let setup = postgres::Options { fsync: false, ..postgres::Options::default() };
        let postgres = Postgres::start(&folder.path().join("postgres"), setup).expect("PostgreSQL starts");
        let redis = Redis::start(&folder.path().join("redis"), redis::Options::default()).expect("Redis starts");
        Self { postgres, redis, _folder: folder }
    }

    /// A system on a database of its own and an empty Redis.
    async fn system(&self, kind: Kind, test: &str) -> Service {
        let database = format!("{test}_{kind:?}").to_lowercase();
        self.postgres.create_database(&database).expect("a database");
        self.redis.ask("FLUSHALL").expect("an empty Redis");
        let options = Options {
            postgres: self.postgres.url(&database),
            redis: self.redis.url(),
            pool: 16,
            attempts_max: 200,
            lock_wait_ms: 30_000,
        };
        let system = systems::start(kind, &options).await.expect("the system starts");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let task = tokio::spawn(async move { axum::serve(listener, api::router(system)).await });
        Service { url, http: reqwest::Client::new(), task }
    }
}

struct Service {
    url: String,
    http: reqwest::Client,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Service {
    async fn open(&self, sessions: &[Session]) {
        let answer = self.http.post(format!("{}/sessions", self.url)).json(sessions).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::CREATED);
    }

    async fn try_book(&self, session: &str, patient: &str, key: &str) -> reqwest::Response {
        let body = json!({ "session_id": session, "patient_id": patient });
        let request = self.http.post(format!("{}/bookings", self.url)).header("Idempotency-Key", key).json(&body);
        request.send().await.expect("an answer")
    }

    async fn book(&self, session: &str, patient: &str, key: &str) -> Outcome {
        let answer = self.try_book(session, patient, key).await;
        assert_eq!(answer.status(), StatusCode::OK, "{session} {patient} {key}");
        answer.json().await.expect("an outcome")
    }

    async fn record(&self) -> Vec<Booked> {
        self.http.get(format!("{}/bookings", self.url)).send().await.expect("an answer").json().await.expect("a record")
    }
}

fn session(id: &str, department: &str, day: i8, capacity: i32) -> Session {
    let day = jiff::civil::date(2030, 1, day);
    Session { session_id: id.to_owned(), department: department.to_owned(), day, capacity }
}

async fn each<F: Future<Output = ()>>(test: &str, rule: impl Fn(Kind, Service) -> F) {
    let servers = tokio::task::spawn_blocking(Servers::start).await.expect("servers");
    for kind in Kind::ALL {
        rule(kind, servers.system(kind, test).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn capacity_is_never_exceeded() {
    each("capacity", async |kind, service| {
        service.open(&[session("a", "eyes", 1, 50), session("b", "ears", 1, 7)]).await;
        let client = async |client: usize| {
            let mut numbers = Vec::new();
            for turn in 0..6 {
                let (patient, key) = (format!("p{client}-{turn}"), format!("k{turn}"));
                let session = if turn % 3 == 2 { "b" } else { "a" };
                match service.book(session, &patient, &key).await {
                    Outcome::Booked { number } => numbers.push((session, number, patient)),
                    Outcome::Rejected { reason } => assert_eq!(reason, Reason::SoldOut, "{kind:?}"),
                }
            }
            numbers
        };
        let told = join_all((0..CLIENTS).map(client)).await.concat();
        for (session, capacity) in [("a", 50), ("b", 7)] {
            let mut numbers: Vec<_> = told.iter().filter(|told| told.0 == session).map(|told| told.1).collect();
            numbers.sort_unstable();
            assert_eq!(numbers, (1..=capacity).collect::<Vec<_>>(), "{kind:?} {session}");
        }
        let told: HashSet<_> =
            told.into_iter().map(|(session, number, who)| (session.to_owned(), number, who)).collect();
        let record =
            service.record().await.into_iter().map(|booked| (booked.session_id, booked.number, booked.patient_id));
        assert_eq!(record.collect::<HashSet<_>>(), told, "{kind:?}: what was told is what is recorded");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_key_gets_the_same_answer() {
    each("repeats", async |kind, service| {
        service.open(&[session("a", "eyes", 1, 8)]).await;
        // Each key is sent four times at once, and once more when everything is decided.
        let client = async |client: usize| (client % 16, service.book("a", &format!("p{}", client % 16), "k").await);
        let first = join_all((0..CLIENTS).map(client)).await;
        let booked = first.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Booked { .. }));
        assert_eq!(booked.map(|(patient, _)| patient).collect::<HashSet<_>>().len(), 8, "{kind:?}");
        for (patient, outcome) in first {
            assert_eq!(service.book("a", &format!("p{patient}"), "k").await, outcome, "{kind:?} p{patient}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_has_one_booking_in_a_department_on_a_day() {
    each("days", async |kind, service| {
        let sessions = [session("a", "eyes", 1, 100), session("b", "eyes", 1, 100), session("c", "eyes", 2, 100)];
        service.open(&sessions).await;
        let client = async |client: usize| {
            let session = if client.is_multiple_of(2) { "a" } else { "b" };
            service.book(session, "p", &format!("k{client}")).await
        };
        let outcomes = join_all((0..CLIENTS).map(client)).await;
        let refused = outcomes.iter().filter(|outcome| **outcome == Outcome::rejected(Reason::AlreadyBooked)).count();
        assert_eq!(refused, CLIENTS - 1, "{kind:?}");
        assert!(matches!(service.book("c", "p", "another day").await, Outcome::Booked { number: 1 }), "{kind:?}");
        assert_eq!(service.record().await.len(), 2, "{kind:?}");
        assert_eq!(service.try_book("nowhere", "p", "k").await.status(), StatusCode::NOT_FOUND, "{kind:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_in_redis_is_written_after_a_restart() {
    let servers = tokio::task::spawn_blocking(Servers::start).await.expect("servers");
    let service = servers.system(Kind::RedisQueue, "restart").await;
    service.open(&[session("a", "eyes", 1, 500)]).await;
    join_all((0..CLIENTS).map(async |client| service.book("a", &format!("p{client}"), "k").await)).await;
    drop(service);
    let options = Options {
        postgres: servers.postgres.url("restart_redisqueue"),
        redis: servers.redis.url(),
        pool: 4,
        attempts_max: 1,
        lock_wait_ms: 1,
    };
    let again = systems::start(Kind::RedisQueue, &options).await.expect("it starts again");
    assert_eq!(again.record().await.expect("a record").len(), CLIENTS);
}
