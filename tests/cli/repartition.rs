//! The steps of `docs/ops/partitions.md`, done: more partitions, and everybody keeps their number.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use orderly_domain::{DoctorId, partition_of};
use serde_json::{Value, json};

use crate::program::{complaint, orderly, output};
use crate::server::Server;
use crate::stack::personal_keys;

const DOCTORS: u32 = 6;
const PATIENTS: u32 = 30;
/// Long enough for any machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

fn configure(folder: &Path, file: &str, data: &str, partitions: u16, ticket_key: u8) {
    let config = format!(
        "data = {data:?}\n[auth]\nkey_file = \"auth.key\"\n[ticket]\nkeys_file = \"ticket-{ticket_key}.keys\"\n\
         [personal]\nkeys_file = \"personal.keys\"\n[log]\npartitions = {partitions}\n"
    );
    std::fs::write(folder.join(file), config).expect("written");
    let key = format!("{ticket_key} {}\n", "QUJD".repeat(16));
    std::fs::write(folder.join(format!("ticket-{ticket_key}.keys")), key).expect("written");
}

/// A system, and whoever asks it.
struct System<'a> {
    server: Server,
    folder: &'a Path,
    http: reqwest::Client,
}

impl<'a> System<'a> {
    fn start(folder: &'a Path, config: &str) -> Self {
        let server = Server::start_role(folder, &["serve", "--config", config]);
        Self { server, folder, http: reqwest::Client::new() }
    }

    fn token(&self, role: &str, sub: &str) -> String {
        let token = ["token", "--config", "old.toml", "--role", role, "--sub", sub];
        output(orderly(self.folder).args(token)).trim_end().to_owned()
    }

    async fn book(&self, patient: u32, session: &str) -> Value {
        let name = format!("patient-{patient}");
        let asked = self.http.post(format!("{}/v1/bookings", self.server.url()));
        let asked = asked.bearer_auth(self.token("patient", &name)).header("idempotency-key", session);
        let body = json!({ "session_id": session, "patient": { "name": name } });
        let answer = asked.header("prefer", "wait=30").json(&body).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    }

    async fn ops(&self, path: &str, body: Value) {
        let asked = self.http.post(format!("{}{path}", self.server.url())).bearer_auth(self.token("ops", "amy"));
        let answer = asked.json(&body).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    }

    async fn ticket(&self, method: reqwest::Method, patient: u32, ticket: &str) -> reqwest::Response {
        let asked = self.http.request(method, format!("{}/v1/tickets/{ticket}", self.server.url()));
        let token = self.token("patient", &format!("patient-{patient}"));
        asked.bearer_auth(token).header("prefer", "wait=30").send().await.expect("an answer")
    }

    /// Who holds which number in a session, by ops' list: the numbers and the masked names.
    async fn holders(&self, session: &str) -> BTreeMap<u64, String> {
        let path = format!("{}/v1/sessions/{session}/appointments", self.server.url());
        let asked = self.http.get(path).bearer_auth(self.token("ops", "amy"));
        let list: Value = asked.send().await.expect("an answer").json().await.expect("JSON");
        let held = list["appointments"].as_array().expect("a list").iter().filter(|one| one["status"] == "booked");
        held.map(|one| (one["number"].as_u64().expect("a number"), one["patient"].to_string())).collect()
    }

    async fn decided(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let check = ["check", "--idle", "--config", "new.toml"];
            if orderly(self.folder).args(check).output().expect("it runs").status.success() {
                return;
            }
            assert!(Instant::now() < deadline, "the new log is not decided");
        }
    }
}

fn session(doctor: u32) -> Value {
    json!({
        "session_id": format!("session-{doctor}"), "doctor_id": format!("doctor-{doctor}"),
        "doctor_name": format!("Doctor {doctor}"), "department": format!("department-{doctor}"), "campus": "east",
        "day": "2099-11-23", "start": "08:00", "end": "12:00", "timezone": "Asia/Shanghai", "capacity": 40,
        "release_at": "2020-11-22T00:00:00Z",
    })
}

/// The partitions in which each session's records were decided.
fn partitions(data: &Path) -> BTreeMap<String, BTreeSet<u16>> {
    let store = rusqlite::Connection::open(data.join("store.sqlite")).expect("it is a database");
    let sql = "SELECT s.session_id, d.partition FROM decisions d JOIN sessions s USING (session_key) GROUP BY 1, 2";
    let mut statement = store.prepare(sql).expect("such tables");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("it can be read");
    let mut found: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    for row in rows {
        let (session, partition): (String, u16) = row.expect("a row");
        found.entry(session).or_default().insert(partition);
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_partitions_leave_everybody_their_number() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    std::fs::write(path.join("auth.key"), "a secret of the test, long enough for HS256 to take it\n").expect("written");
    std::fs::write(path.join("personal.keys"), personal_keys()).expect("written");
    configure(path, "old.toml", "old", 2, 1);
    configure(path, "new.toml", "new", 7, 2);

    let old = System::start(path, "old.toml");
    let sessions: Vec<_> = (0..DOCTORS).map(session).collect();
    std::fs::write(path.join("sessions.json"), Value::from(sessions).to_string()).expect("written");
    let import = |url: &str, token: &str| {
        let mut import = orderly(path);
        import.args(["sessions", "import", "sessions.json"]).env("ORDERLY_URL", url).env("ORDERLY_TOKEN", token);
        output(&mut import)
    };
    import(old.server.url(), &old.token("ops", "amy"));
    let mut tickets = Vec::new();
    for patient in 0..PATIENTS {
        let booked = old.book(patient, &format!("session-{}", patient % DOCTORS)).await;
        assert_eq!(booked["status"], "booked", "{booked}");
        tickets.push(booked["ticket"].as_str().expect("a ticket").to_owned());
    }
    // Number 1 of session 0 and number 2 of session 1 are free below others; session 5 is closed.
    for patient in [0, DOCTORS + 1] {
        let cancelled = old.ticket(reqwest::Method::DELETE, patient, &tickets[patient as usize]).await;
        assert!(cancelled.status().is_success(), "{}", cancelled.status());
    }
    old.ops("/v1/sessions/session-5/close", json!({ "cause": "the doctor is ill" })).await;
    let mut before = Vec::new();
    for doctor in 0..DOCTORS {
        before.push(old.holders(&format!("session-{doctor}")).await);
    }
    assert!(old.server.terminate().success());
    output(orderly(path).args(["check", "--idle", "--config", "old.toml"]));

    let repartition = |arguments: &[&str]| {
        let mut repartition = orderly(path);
        repartition.args([&["repartition", "--config", "old.toml", "--into", "new.toml"], arguments].concat());
        repartition
    };
    let told = output(&mut repartition(&[]));
    assert!(told.contains("6 sessions and 23 appointments"), "{told}");
    let again = complaint(&mut repartition(&[]), 1);
    assert!(again.contains("has records already"), "{again}");

    let new = System::start(path, "new.toml");
    new.decided().await;
    let same = output(&mut repartition(&["--compare"]));
    assert!(same.contains("6 sessions and 23 appointments compared"), "{same}");
    for (doctor, before) in (0..DOCTORS).zip(&before) {
        assert_eq!(new.holders(&format!("session-{doctor}")).await, *before, "session {doctor}");
    }

    // Each doctor is decided in one partition, and not all in the one that they had.
    let found = partitions(&path.join("new"));
    assert_eq!(found.len(), DOCTORS as usize);
    let mut moved = 0;
    for doctor in 0..DOCTORS {
        let id: DoctorId = format!("doctor-{doctor}").parse().expect("valid");
        let (was, is) = (partition_of(&id, 2), partition_of(&id, 7));
        assert_eq!(found[&format!("session-{doctor}")], BTreeSet::from([is]), "doctor {doctor}");
        moved += u32::from(was != is);
    }
    assert!(moved > 0, "a doctor has another partition now");

    // Life goes on: the free number is given out, nobody books twice, a retry finds its booking and can give it back.
    assert_eq!(new.ticket(reqwest::Method::GET, 6, &tickets[6]).await.status(), 404, "its place is the old log's");
    let booked = new.book(100, "session-0").await;
    assert_eq!((&booked["status"], &booked["number"]), (&"booked".into(), &1.into()), "{booked}");
    let again = new.book(6, "session-0").await;
    assert_eq!((&again["status"], &again["number"]), (&"booked".into(), &2.into()), "{again}");
    let ticket = again["ticket"].as_str().expect("a ticket");
    assert!(new.ticket(reqwest::Method::DELETE, 6, ticket).await.status().is_success());
    assert_eq!(new.book(101, "session-5").await["reason"], "session_closed");
    let differs = repartition(&["--compare"]).output().expect("it runs");
    let differs = String::from_utf8(differs.stdout).expect("text");
    assert!(differs.contains("session-0: number 1 is held, and was free"), "{differs}");
    assert!(differs.contains("session-0: number 2 is not held"), "{differs}");
    assert!(new.server.terminate().success());
    output(orderly(path).args(["check", "--idle", "--config", "new.toml"]));
}
