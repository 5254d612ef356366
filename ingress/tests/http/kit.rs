//! A server with everything behind it, and a client.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use orderly_domain::audit::Entry;
use orderly_domain::clock::Manual;
use orderly_domain::inventory::DepartmentDay;
use orderly_domain::port::log::Delivery;
use orderly_domain::port::store::{Advance, Commit};
use orderly_domain::port::{Audit as _, Fanout as _, IntentLog as _, Store as _};
use orderly_domain::{Clock, Decision, Fence, Offset, Outcome, Partition, Reason, Timestamp, envelope, ticket};
use orderly_ingress::auth::{Grant, Keys, Names, Role};
use orderly_ingress::{Options, Ports, Server, personal, throttle};
use orderly_sinks::{analytics, audit, fanout, log, store};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

pub(crate) const SECRET: &[u8] = b"a secret of the tests, long enough for HS256";

/// Long enough for any machine; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// When the tests happen: the session of [`session`] is released and not over.
pub(crate) const NOW: &str = "2026-11-23T00:30:00Z";

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse::<jiff::Timestamp>().unwrap().into()
}

pub(crate) fn keys() -> Keys {
    Keys::from_secret(SECRET, Names::default()).unwrap()
}

/// The keys that seal personal data.
pub(crate) fn personal() -> personal::Keys {
    let key = personal::Key::new(1, &[1; personal::Key::BYTES]).unwrap();
    personal::Keys::new(personal::Ring::new(key, vec![]))
}

/// A session as ops open it.
pub(crate) fn session(id: &str, doctor: &str, capacity: u32) -> Value {
    json!({"session_id": id, "doctor_id": doctor, "doctor_name": "李明 Li Ming", "department": "cardiology",
        "campus": "east", "day": "2026-11-23", "start": "08:00", "end": "12:00", "timezone": "Asia/Shanghai",
        "capacity": capacity, "release_at": "2026-11-22T00:00:00Z"})
}

/// No limit: tests ask faster than a person.
pub(crate) fn unlimited() -> throttle::Policy {
    throttle::Policy { keys_max: 1_000, ..throttle::Policy::of(throttle::Limits::default()) }
}

pub(crate) fn options() -> Options {
    Options { listen: "127.0.0.1:0".parse().unwrap(), policy: unlimited(), demo: true, ..Options::default() }
}

/// What a kit is made of.
pub(crate) struct Setup {
    pub(crate) options: Options,
    pub(crate) keys: Keys,
    pub(crate) log: log::sqlite::Options,
    /// The log's own clock; without it, everybody's.
    pub(crate) log_clock: Option<Arc<dyn Clock>>,
    /// What is in the audit trail before the server starts.
    pub(crate) trail: Vec<Entry>,
    /// What the server sees instead of the edges.
    pub(crate) edges: Box<dyn FnOnce(Ports) -> Ports + Send>,
}

impl Default for Setup {
    fn default() -> Self {
        let log = log::sqlite::Options { partitions: 4, ..log::sqlite::Options::default() };
        let edges = Box::new(|ports| ports);
        Self { options: options(), keys: keys(), log, log_clock: None, trail: Vec::new(), edges }
    }
}

pub(crate) struct Kit {
    pub(crate) url: String,
    /// Where ops are listened to, if that is elsewhere.
    pub(crate) ops_address: Option<std::net::SocketAddr>,
    pub(crate) clock: Arc<Manual>,
    pub(crate) log: Arc<log::sqlite::Log>,
    pub(crate) store: Arc<store::sqlite::Store>,
    pub(crate) audit: Arc<audit::sqlite::Audit>,
    pub(crate) personal: personal::Keys,
    pub(crate) client: reqwest::Client,
    /// How many records may still be decided.
    deciding: watch::Sender<usize>,
    decider: JoinHandle<()>,
    pub(crate) stop: Option<oneshot::Sender<()>>,
    pub(crate) server: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Drop for Kit {
    fn drop(&mut self) {
        self.decider.abort();
        self.server.abort();
    }
}

impl Kit {
    pub(crate) async fn start() -> Self {
        Self::with(options(), keys()).await
    }

    pub(crate) async fn with(options: Options, keys: Keys) -> Self {
        Box::pin(Self::of(Setup { options, keys, ..Setup::default() })).await
    }

    pub(crate) async fn of(setup: Setup) -> Self {
        let Setup { options, keys, log: log_options, log_clock, trail, edges } = setup;
        let folder = tempfile::tempdir().unwrap();
        let registry = prometheus::Registry::new();
        let clock = Arc::new(Manual::at(at(NOW)));
        let path = folder.path();
        let log_clock = log_clock.unwrap_or_else(|| Arc::clone(&clock) as _);
        let log = log::sqlite::Log::open(path, log_options, log_clock, &registry).unwrap();
        let store = store::sqlite::Store::open(path, store::sqlite::Options::default(), &registry).unwrap();
        let analytics =
            analytics::sqlite::Analytics::open(path, analytics::sqlite::Options::default(), &registry).unwrap();
        let audit = Arc::new(audit::sqlite::Audit::open(path, audit::sqlite::Options::default()).unwrap());
        audit.append(&trail).await.unwrap();
        let (log, store) = (Arc::new(log), Arc::new(store));
        let fanout = Arc::new(fanout::memory::Fanout::new(1_024));
        let ports = Ports {
            log: Arc::clone(&log) as _,
            store: Arc::clone(&store) as _,
            fanout: Arc::clone(&fanout) as _,
            audit: Arc::clone(&audit) as _,
            analytics: Arc::new(analytics),
            pipeline: None,
            breakers: orderly_domain::breaker::Breakers::default(),
            peers: None,
            auditor: None,
            clock: Arc::clone(&clock) as _,
        };
        let codec = ticket::Codec::new(ticket::Key::new(1, SECRET).unwrap(), vec![]);
        let personal = personal();
        let server = Server::bind(options, edges(ports), codec, personal.clone(), keys, registry).await.unwrap();
        let (url, ops_address) = (format!("http://{}", server.local_addr()), server.ops_addr());
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(server.run(async move {
            let _ = stopped.await;
        }));
        let deciding = watch::Sender::new(usize::MAX);
        let decider = Decider { log: Arc::clone(&log), store: Arc::clone(&store), fanout, clock: Arc::clone(&clock) };
        let decider = tokio::spawn(decider.run(deciding.clone()));
        let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        Self {
            url,
            ops_address,
            clock,
            log,
            store,
            audit,
            personal,
            client,
            deciding,
            decider,
            stop: Some(stop),
            server,
            _folder: folder,
        }
    }

    /// With one session, open for booking: `s1` of doctor `li`.
    pub(crate) async fn with_session(capacity: u32) -> Self {
        let kit = Self::start().await;
        kit.open(&[session("s1", "li", capacity)]).await;
        kit
    }

    pub(crate) async fn open(&self, sessions: &[Value]) {
        let answer = self.ops(Method::PUT, "/v1/sessions").header("prefer", "wait=60").json(sessions).send().await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap());
    }

    /// Lets decisions be made, or holds them back.
    pub(crate) fn decide(&self, deciding: bool) {
        self.deciding.send_replace(if deciding { usize::MAX } else { 0 });
    }

    /// Lets one record be decided, while the others are held back.
    pub(crate) fn decide_one(&self) {
        self.deciding.send_replace(1);
    }

    pub(crate) fn token(&self, subject: &str, role: Role) -> String {
        self.granted(Grant::plain(&subject.parse().unwrap(), role))
    }

    pub(crate) fn granted(&self, grant: Grant<'_>) -> String {
        keys().mint(grant, self.clock.now(), Duration::from_secs(3_600)).unwrap()
    }

    pub(crate) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub(crate) fn patient(&self, name: &str, method: Method, path: &str) -> RequestBuilder {
        self.ask(method, path).bearer_auth(self.token(name, Role::Patient))
    }

    pub(crate) fn ops(&self, method: Method, path: &str) -> RequestBuilder {
        self.ask(method, path).bearer_auth(self.token("chief", Role::Ops))
    }

    pub(crate) fn booking(&self, patient: &str, key: &str, session: &str) -> RequestBuilder {
        self.booking_by(&self.token(patient, Role::Patient), key, session)
    }

    /// A booking of whoever has this token.
    pub(crate) fn booking_by(&self, token: &str, key: &str, session: &str) -> RequestBuilder {
        let request = self.ask(Method::POST, "/v1/bookings").bearer_auth(token).header("idempotency-key", key);
        request.json(&json!({"session_id": session}))
    }

    /// Books, waits for the outcome and answers with the ticket.
    pub(crate) async fn book(&self, patient: &str, key: &str, session: &str) -> Value {
        let answer = self.booking(patient, key, session).header("prefer", "wait=60").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json().await.unwrap()
    }

    /// Asks until a metric's line is there. A line is its name, with labels as Prometheus sorts them, and its value.
    pub(crate) async fn until_metric(&self, line: &str) {
        let mut metrics = String::new();
        let told = async {
            while !metrics.contains(line) {
                metrics = self.ask(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
            }
        };
        let told = tokio::time::timeout(PATIENCE, told).await;
        assert!(told.is_ok(), "never was {line:?}: {metrics}");
    }

    /// Records in the log, over all partitions.
    pub(crate) async fn logged(&self) -> u64 {
        self.log.extents().await.unwrap().iter().map(|extent| extent.end).sum()
    }
}

/// The text of a ticket.
pub(crate) fn ticket_of(view: &Value) -> String {
    view["ticket"].as_str().expect("a ticket").to_owned()
}

/// In how many seconds a client is asked to come back.
pub(crate) fn retry_after(answer: &Response) -> u64 {
    answer.headers()["retry-after"].to_str().unwrap().parse().unwrap()
}

/// Asserts that an answer is a problem of that kind, and returns it.
pub(crate) async fn problem(answer: Response, status: u16, kind: &str) -> Value {
    assert_eq!(answer.status().as_u16(), status, "{kind}");
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["type"], format!("https://orderly.dev/problems/{kind}"), "{body}");
    assert_eq!(body["status"], status);
    assert!(!body["title"].as_str().unwrap().is_empty() && !body["detail"].as_str().unwrap().is_empty());
    body
}

/// Decides what is in the log as the domain's rules have it, commits it and publishes it.
struct Decider {
    log: Arc<log::sqlite::Log>,
    store: Arc<store::sqlite::Store>,
    fanout: Arc<fanout::memory::Fanout>,
    clock: Arc<Manual>,
}

impl Decider {
    async fn run(self, deciding: watch::Sender<usize>) {
        let mut reader = self.log.reader().await.unwrap();
        let mut days: HashMap<_, DepartmentDay> = HashMap::new();
        let mut first: HashMap<ticket::Id, Offset> = HashMap::new();
        let mut fences: HashMap<Partition, Fence> = HashMap::new();
        let mut read = VecDeque::new();
        loop {
            if read.is_empty() {
                match reader.next(1_000).await.unwrap() {
                    Delivery::Assigned(partitions) => {
                        let claims = self.store.claim(&partitions, "test").await.unwrap();
                        fences.extend(claims.iter().map(|claim| (claim.partition, claim.fence)));
                        let from: Vec<_> = claims.iter().map(|claim| (claim.partition, claim.next_offset)).collect();
                        reader.seek(&from).await.unwrap();
                    }
                    Delivery::Revoked(_) => {}
                    Delivery::Records(records) => read.extend(records),
                }
                continue;
            }
            let may = *deciding.subscribe().wait_for(|may| *may > 0).await.unwrap();
            let records: Vec<_> = read.drain(..may.min(read.len())).collect();
            deciding.send_modify(|may| *may = may.saturating_sub(records.len()));
            let mut advances: HashMap<Partition, Advance> = HashMap::new();
            let mut decisions = Vec::new();
            for record in records {
                let (partition, offset) = (record.position.partition, record.position.offset);
                let fence = fences[&partition];
                let fresh = Advance { partition, fence, from: offset, to: offset, published: offset };
                advances.entry(partition).or_insert(fresh).to = offset + 1;
                let command = envelope::decode(&record.payload).ok().map(|intent| intent.command);
                let outcome = command.as_ref().map_or(Outcome::Rejected(Reason::Malformed), |command| {
                    if command.kind() == orderly_domain::command::Kind::Book
                        && let Some(ticket) = command.ticket()
                    {
                        match first.get(&ticket) {
                            Some(first) => return Outcome::Repeat { first: *first },
                            None => first.insert(ticket, offset),
                        };
                    }
                    let (department, day) = command.department_day();
                    let ledger = days.entry((department.clone(), day)).or_default();
                    ledger.apply(command, offset, record.logged_at).outcome
                });
                let (position, logged_at) = (record.position, record.logged_at);
                decisions.push(Decision { position, logged_at, fence, command, outcome });
            }
            decisions.sort_by_key(Decision::order);
            let mut advances: Vec<_> = advances.into_values().collect();
            advances.sort_by_key(|advance| advance.partition);
            let commit = Commit { decided_at: self.clock.now(), advances, decisions, resigned: Vec::new() };
            let committed = self.store.commit(&commit).await.unwrap();
            self.fanout.publish(committed.into()).await.unwrap();
        }
    }
}
