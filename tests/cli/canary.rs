//! Known personal data goes in through the API; then every file, table, topic, log line, metric and answer is searched for it.

mod scan;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orderly_domain::PatientId;
use orderly_domain::personal::Pseudonyms;
use reqwest::Response;
use serde_json::{Value, json};

use crate::program::{check_once_idle, complaint, orderly, output};
use crate::server::Server;
use crate::stack::{CONFIG, LOG, Servers};
use scan::Texts;

const NAME: &str = "欧阳金丝雀";
const PHONE: &str = "13987650421";
const IDENTITY_NUMBER: &str = "11010519880704423X";
const PATIENT: &str = "canary-7c1f-patient";
/// Who gives a number back, and who has it at once.
const PAIR: [&str; 2] = ["canary-7c1f-gives", "canary-7c1f-takes"];
/// All time that there is, for reports.
const WINDOW: &str = "from=2020-01-01T00:00:00Z&to=2100-01-01T00:00:00Z";
/// Long enough for any machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(180);

/// What must be found nowhere.
fn data() -> Texts {
    Texts::of(&[("name", NAME), ("phone", PHONE), ("identity number", IDENTITY_NUMBER)])
}

/// What must not be found where nobody has to know patients.
fn patient() -> Texts {
    Texts::of(&[("patient id", PATIENT)])
}

/// What must be in no log: bearer tokens, the secret that signs them, and the keys in those files.
fn secrets(tokens: &[String], auth: &str, files: &[PathBuf]) -> Texts {
    let mut texts = vec![("auth key", auth.to_owned())];
    for token in tokens {
        let signature = token.rsplit('.').next().expect("a part").to_owned();
        texts.extend([("token", token.clone()), ("token's signature", signature)]);
    }
    for file in files {
        let text = std::fs::read_to_string(file).expect("readable");
        let keys = text.split_whitespace().filter_map(|word| Some((word, STANDARD.decode(word).ok()?)));
        let before = texts.len();
        for (word, key) in keys.filter(|(_, key)| key.len() >= 32) {
            let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            texts.extend([("key", word.to_owned()), ("key", hex), ("key", format!("{key:?}"))]);
        }
        assert!(texts.len() > before, "there are keys in {}", file.display());
    }
    let texts: Vec<_> = texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
    Texts::of(&texts)
}

/// What stands for a patient, by that file of keys.
fn pseudonym(keys: &Path, patient: &str) -> String {
    let keys = std::fs::read_to_string(keys).expect("text");
    let key = keys.lines().find_map(|line| line.strip_prefix("pseudonyms ")).expect("a key of pseudonyms");
    let key = STANDARD.decode(key).expect("base64");
    Pseudonyms::new(&key).expect("long enough").of(&patient.parse::<PatientId>().expect("valid"))
}

fn given() -> Value {
    json!({"name": NAME, "phone": PHONE, "identity_number": IDENTITY_NUMBER})
}

/// Asks a server, and keeps what it answers.
struct Caller {
    url: String,
    http: reqwest::Client,
    /// All answers but the ones that may hold personal data.
    answers: String,
    /// All tokens that it was given.
    tokens: Vec<String>,
}

impl Caller {
    fn new(server: &Server) -> Self {
        let url = server.url().to_owned();
        Self { url, http: reqwest::Client::new(), answers: String::new(), tokens: Vec::new() }
    }

    async fn token(&mut self, sub: &str, role: &str) -> String {
        let body = json!({ "sub": sub, "role": role });
        let answer = self.http.post(format!("{}/v1/demo/token", self.url)).json(&body).send().await;
        let token: Value = answer.expect("answered").json().await.expect("JSON");
        let token = token["access_token"].as_str().expect("a token").to_owned();
        self.tokens.push(token.clone());
        token
    }

    async fn get(&mut self, bearer: &str, path: &str) -> String {
        let answer = self.http.get(format!("{}{path}", self.url)).bearer_auth(bearer).send().await.expect("answered");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        let text = answer.text().await.expect("text");
        self.answers += &text;
        text
    }

    /// A stream, from now on.
    async fn stream(&self, bearer: &str, path: &str) -> Response {
        let stream = self.http.get(format!("{}{path}", self.url)).bearer_auth(bearer).send().await.expect("answered");
        assert_eq!(stream.status(), 200, "{path}");
        assert_eq!(stream.headers()["content-type"], "text/event-stream", "{path}");
        stream
    }

    /// What a stream tells until that is enough.
    async fn told(&mut self, mut stream: Response, enough: impl Fn(&str) -> bool) {
        let mut text = String::new();
        let reading = async {
            while !enough(&text) {
                let chunk = stream.chunk().await.expect("it does not break off").expect("it goes on");
                text += std::str::from_utf8(&chunk).expect("text");
            }
        };
        let read = tokio::time::timeout(PATIENCE, reading).await;
        assert!(read.is_ok(), "the stream does not go on: {text}");
        self.answers += &text;
    }

    async fn json(&mut self, bearer: &str, path: &str) -> Value {
        serde_json::from_str(&self.get(bearer, path).await).expect("JSON")
    }

    async fn book(&mut self, bearer: &str, key: &str, session: &str, given: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}/v1/bookings", self.url)).bearer_auth(bearer);
        let request = request.header("idempotency-key", key).header("prefer", "wait=60");
        let request = request.json(&json!({ "session_id": session, "patient": given }));
        let answer = request.send().await.expect("answered");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("text");
        self.answers += &text;
        (status, serde_json::from_str(&text).expect("JSON"))
    }

    /// Two sessions of one department and day that can be booked.
    async fn sessions(&mut self, bearer: &str) -> [String; 2] {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "there are no two sessions");
            let list = self.json(bearer, "/v1/sessions?state=open").await;
            let list = list["sessions"].as_array().expect("a list");
            for one in list {
                let same = |other: &&Value| {
                    other["department"] == one["department"]
                        && other["day"] == one["day"]
                        && other["session_id"] != one["session_id"]
                };
                if let Some(other) = list.iter().find(same) {
                    return [one, other].map(|session| session["session_id"].as_str().expect("an id").to_owned());
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Everything that a patient, ops, an analyst and an auditor do with an appointment. Returns the ticket's address.
    async fn visit(&mut self) -> String {
        let (patient, ops) = (self.token(PATIENT, "patient").await, self.token("amy", "ops").await);
        let [first, second] = self.sessions(&ops).await;
        let sessions = self.stream("none", "/v1/sessions/events").await;
        let samples = self.stream(&ops, "/v1/pipeline/events").await;
        let (status, booked) = self.book(&patient, "k1", &first, &given()).await;
        assert_eq!((status, &booked["status"]), (200, &json!("booked")), "{booked}");
        let (_, refused) = self.book(&patient, "k2", &second, &given()).await;
        assert_eq!(refused["reason"], "already_booked", "{refused}");
        let (status, _) = self.book(&patient, "k3", &second, &json!({"phone": [PHONE], "name": {"x": NAME}})).await;
        assert_eq!(status, 422);
        let ticket = booked["links"]["self"].as_str().expect("an address").to_owned();
        let outcome = self.stream(&patient, &format!("{ticket}/events")).await;
        self.told(outcome, |text| text.contains("event: outcome") && text.ends_with("\n\n")).await;
        // What was there before, and what the booking changed.
        for stream in [sessions, samples] {
            self.told(stream, |text| text.matches("data:").count() > 1 && text.ends_with("\n\n")).await;
        }
        let masked = json!({"name": "欧***", "phone": "139****0421", "identity_number": "110***********423X"});
        assert_eq!(self.json(&patient, &ticket).await["patient"], masked);

        let list = self.json(&ops, &format!("/v1/sessions/{first}/appointments")).await;
        assert_eq!(list["appointments"][0]["patient"], masked);
        let appointment = list["appointments"][0]["appointment"].as_str().expect("a name");
        let answers = self.answers.clone();
        let shown = self.json(&ops, &format!("/v1/appointments/{appointment}/patient")).await;
        assert_eq!((&shown["patient"], &shown["patient_id"]), (&given(), &json!(PATIENT)));
        // The one answer that shows them.
        self.answers = answers;

        let (analyst, auditor) = (self.token("ann", "analyst").await, self.token("aud", "auditor").await);
        self.get(&ops, "/metrics").await;
        self.get(&ops, "/v1/pipeline").await;
        self.get(&auditor, "/v1/audit").await;
        let reports = self.json(&analyst, "/v1/reports").await;
        for report in reports.as_array().or_else(|| reports["reports"].as_array()).expect("a list") {
            let name = report["name"].as_str().expect("a name");
            self.get(&analyst, &format!("/v1/reports/{name}?{WINDOW}")).await;
        }
        ticket
    }

    /// One patient gives a number back and another has it at once: analysts see that it happened, and by whose pseudonyms.
    async fn rebook(&mut self, keys: &Path) {
        let [gives, takes] = [self.token(PAIR[0], "patient").await, self.token(PAIR[1], "patient").await];
        let [session, _] = self.sessions(&gives).await;
        let (_, booked) = self.book(&gives, "k1", &session, &Value::Null).await;
        assert_eq!(booked["status"], "booked", "{booked}");
        let ticket = booked["links"]["self"].as_str().expect("an address");
        let given_back = self.http.delete(format!("{}{ticket}", self.url)).bearer_auth(&gives).send().await;
        let given_back = given_back.expect("answered").status();
        assert!(given_back.is_success(), "{given_back}");
        let (_, again) = self.book(&takes, "k1", &session, &Value::Null).await;
        assert_eq!((&again["status"], &again["number"]), (&booked["status"], &booked["number"]), "{again}");

        let analyst = self.token("ann", "analyst").await;
        let deadline = Instant::now() + PATIENCE;
        let rows = loop {
            assert!(Instant::now() < deadline, "analysts never see a number that changed hands");
            let path = format!("/v1/reports/rebookings?{WINDOW}");
            let answer = self.http.get(format!("{}{path}", self.url)).bearer_auth(&analyst).send().await;
            let answer = answer.expect("answered");
            // On a slow machine the breaker of analytics opens for a while.
            if answer.status().as_u16() == 503 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            let report: Value = answer.json().await.expect("JSON");
            nothing(&Texts::of(&PAIR.map(|patient| ("patient id", patient))).find(report.to_string().as_bytes()));
            assert_eq!((&report["columns"][0], &report["columns"][1]), (&json!("gave"), &json!("took")));
            let rows = report["rows"].as_array().expect("rows");
            if !rows.is_empty() {
                break rows.clone();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let [row] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!([&row[0], &row[1]], [&json!(pseudonym(keys, PAIR[0])), &json!(pseudonym(keys, PAIR[1]))]);
    }

    /// What the audit trail tells of changed keys: each command, and what it was done to.
    async fn key_changes(&mut self) -> Vec<(String, String)> {
        let auditor = self.token("aud", "auditor").await;
        let trail = self.json(&auditor, "/v1/audit").await;
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let entries = trail["entries"].as_array().expect("entries").iter();
        let own = entries.filter(|entry| entry["method"] == "-");
        let told = own.map(|entry| (text(&entry["route"]), text(&entry["target"])));
        told.filter(|(route, _)| route.starts_with("orderly keys")).collect()
    }
}

fn nothing(found: &[impl std::fmt::Debug]) {
    assert!(found.is_empty(), "{found:#?}");
}

/// The rows that `orderly keys list` counts for each key, newest first.
fn rows(folder: &Path, arguments: &[&str]) -> Vec<(u64, u64)> {
    let told = output(orderly(folder).args([&["keys", "list", "--json"], arguments].concat()));
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let number = |value: &Value| value.as_u64().expect("a number");
    told["keys"].as_array().expect("a list").iter().map(|key| (number(&key["id"]), number(&key["rows"]))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_server_leaves_personal_data_nowhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, log) = (folder.path(), folder.path().join("server.log"));
    let server = Server::start_logged(path, &["serve", "--demo"], &log);
    let mut caller = Caller::new(&server);
    let ticket = caller.visit().await;
    caller.rebook(&path.join("data/personal.keys")).await;
    nothing(&data().find_in_files(path, &[]));
    assert_eq!(rows(path, &[]), [(1, 1)], "a refused booking leaves no row");

    // Rotation end to end, while the server runs.
    assert!(output(orderly(path).args(["keys", "rotate"])).starts_with("key 2 seals"));
    let ops = caller.token("amy", "ops").await;
    let [session, _] = caller.sessions(&ops).await;
    let deadline = Instant::now() + PATIENCE;
    for number in 0.. {
        assert!(Instant::now() < deadline, "the new key is not taken over");
        let other = caller.token(&format!("other-{number}"), "patient").await;
        caller.book(&other, "k1", &session, &json!({"phone": "62345678"})).await;
        if matches!(rows(path, &[])[..], [(2, 1..), _]) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let told = output(orderly(path).args(["keys", "reencrypt"]));
    assert!(told.contains("sealed anew with key 2"), "{told}");
    let [(2, 2..), (1, 0)] = rows(path, &[])[..] else { panic!("{:?}", rows(path, &[])) };
    let again = output(orderly(path).args(["keys", "reencrypt"]));
    assert!(again.contains(" 0 of them sealed anew"), "{again}");
    let patient = caller.token(PATIENT, "patient").await;
    assert_eq!(caller.json(&patient, &ticket).await["patient"]["phone"], "139****0421");
    let change = |command: &str, to: &str| (format!("orderly keys {command}"), to.to_owned());
    let changes = [change("rotate", "key 2"), change("reencrypt", "to key 2"), change("reencrypt", "to key 2")];
    assert_eq!(caller.key_changes().await, changes);

    assert!(server.terminate().success());
    output(orderly(path).args(["audit", "verify"]));
    nothing(&data().find(caller.answers.as_bytes()));
    nothing(&data().find_in_files(path, &[]));
    let log = std::fs::read_to_string(&log).expect("text");
    assert!(log.contains("sealed with this key from now on"), "it is the log: {log}");
    let files = ["ticket.keys", "personal.keys"].map(|name| path.join("data").join(name));
    let auth = std::fs::read_to_string(path.join("data/demo.key")).expect("text");
    logs_no_secret(&log, &caller.tokens, auth.trim().trim_start_matches("demo:"), &files);
    output(orderly(path).args(["check", "--idle"]));
    let (mut analytics, mut store) = (0, 0);
    for entry in std::fs::read_dir(path.join("data")).expect("it is there").flatten() {
        let (name, bytes) = (entry.file_name(), std::fs::read(entry.path()).expect("readable"));
        let found = patient_in(&bytes);
        match name.to_string_lossy().split('.').next() {
            Some("analytics") => analytics += found,
            Some("store") => store += found,
            _ => {}
        }
    }
    assert_eq!(analytics, 0, "analytics know no patients");
    assert!(store > 0, "the store does: what is looked for can be found");
    lose_a_key(path);
}

fn logs_no_secret(log: &str, tokens: &[String], auth: &str, files: &[PathBuf]) {
    let secrets = secrets(tokens, auth, files);
    nothing(&secrets.find(log.as_bytes()));
    // As a careless program would write them.
    let mut careless = format!("{log}\nauth: {auth:?}\nauthorization: Bearer {}\n", tokens[0]);
    files.iter().for_each(|file| careless += &std::fs::read_to_string(file).expect("readable"));
    let found: Vec<_> = secrets.find(careless.as_bytes()).into_iter().map(|(name, _)| name).collect();
    for name in ["auth key", "token", "token's signature", "key"] {
        assert!(found.contains(&name), "{name} can be found: {found:?}");
    }
}

/// A key that is not there any more is named, with how many rows need it, and nothing is made in its place.
fn lose_a_key(folder: &Path) {
    let file = folder.join("data/personal.keys");
    let keys = std::fs::read_to_string(&file).expect("text");
    let without: Vec<_> = keys.lines().filter(|line| !line.starts_with("2 ")).collect();
    std::fs::write(&file, without.join("\n")).expect("written");
    assert!(matches!(rows(folder, &[])[..], [(1, 0), (2, 2..)]), "{:?}", rows(folder, &[]));
    assert!(output(orderly(folder).args(["keys", "list"])).contains("MISSING"));
    let tried = orderly(folder).args(["keys", "reencrypt"]).output().expect("it runs");
    let told = String::from_utf8(tried.stderr).expect("text");
    assert_eq!(tried.status.code(), Some(1), "{told}");
    assert!(told.contains("sealed with key 2, which is not in"), "{told}");
    std::fs::remove_file(&file).expect("removed");
    let told = complaint(orderly(folder).args(["serve", "--demo", "--listen", "127.0.0.1:0"]), 1);
    assert!(told.contains("personal.keys") && told.contains("put the file back"), "{told}");
    assert!(!file.exists(), "nothing is made in its place");
}

fn patient_in(bytes: &[u8]) -> usize {
    patient().find(bytes).len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_servers_of_the_distributed_profile_hold_personal_data_nowhere() {
    let servers = tokio::task::block_in_place(Servers::start);
    let nodes = ["relay", "pipeline", "ingress"].map(|role| servers.node_logged(role));
    let mut caller = Caller::new(&nodes[2]);
    caller.visit().await;
    caller.rebook(&servers.path().join("personal.keys")).await;
    for node in &nodes {
        let mut watching = Caller::new(node);
        watching.get("none", "/readyz").await;
        assert!(watching.get("none", "/metrics").await.contains("orderly_"));
        nothing(&data().find(watching.answers.as_bytes()));
        nothing(&patient().find(watching.answers.as_bytes()));
    }
    check_once_idle(servers.path(), CONFIG);
    assert_eq!(rows(servers.path(), &["--config", CONFIG]), [(1, 1)]);
    output(orderly(servers.path()).args(["keys", "rotate", "--config", CONFIG]));
    let told = output(orderly(servers.path()).args(["keys", "reencrypt", "--config", CONFIG]));
    assert_eq!(told, "1 rows, 1 of them sealed anew with key 2\n");
    assert_eq!(rows(servers.path(), &["--config", CONFIG]), [(2, 1), (1, 0)]);
    let change = |command: &str, to: &str| (format!("orderly keys {command}"), to.to_owned());
    assert_eq!(caller.key_changes().await, [change("rotate", "key 2"), change("reencrypt", "to key 2")]);
    caller.get("none", "/healthz").await;
    nothing(&data().find(caller.answers.as_bytes()));

    // ClickHouse compresses its files, so its tables are read too.
    let ask = async |query: &str| {
        let asked = caller.http.post(servers.clickhouse.url()).body(query.to_owned()).send().await.expect("answered");
        asked.error_for_status().expect("it can be read").text().await.expect("text")
    };
    let tables = ask("SELECT name FROM system.tables WHERE database = 'orderly'").await;
    let mut analytics = String::new();
    for table in tables.lines().filter(|table| !table.starts_with('.')) {
        analytics += &ask(&format!("SELECT * FROM orderly.{table}")).await;
    }
    assert!(analytics.contains("booked"), "{analytics}");
    nothing(&data().find(analytics.as_bytes()));
    nothing(&patient().find(analytics.as_bytes()));

    for node in nodes.into_iter().rev() {
        assert!(node.terminate().success());
    }
    // Kafka's indexes hold offsets only, and are large.
    let large = [".index", ".timeindex"];
    nothing(&data().find_in_files(servers.path(), &large));
    for server in ["redis", "clickhouse"] {
        nothing(&patient().find_in_files(&servers.path().join(server), &[]));
    }
    let log = std::fs::read_to_string(servers.path().join(LOG)).expect("text");
    let files = ["ticket.keys", "personal.keys"].map(|name| servers.path().join(name));
    let auth = std::fs::read_to_string(servers.path().join("auth.key")).expect("text");
    logs_no_secret(&log, &caller.tokens, auth.trim(), &files);
    let pseudonym = pseudonym(&servers.path().join("personal.keys"), PATIENT);
    let told = Texts::of(&[("pseudonym", &pseudonym)]).find_in_files(&servers.path().join("redis"), &[]);
    assert!(!told.is_empty(), "Redis is told the pseudonym: what is looked for can be found");
    for server in ["postgres", "kafka"] {
        let found = patient().find_in_files(&servers.path().join(server), &large);
        assert!(!found.is_empty(), "{server} knows patients: what is looked for can be found");
    }
}
