//! The fixed history of `dashboards/clickhouse/data`: decided by the rules, committed to a store, carried by the relay.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use jiff::civil::Date;
use orderly_domain::command::{ChangeCapacity, CloseSession};
use orderly_domain::inventory::DepartmentDay;
use orderly_domain::personal::Pseudonyms;
use orderly_domain::port::Store as _;
use orderly_domain::port::store::{Advance, Claim, Commit};
use orderly_domain::{Book, Cancel, Command, Decision, DepartmentId, Offset, SessionId, SessionRef, ticket};
use orderly_pipeline::Relay;
use orderly_sinks::store::sqlite::{Options, Store as Sqlite};
use prometheus::Registry;
use tempfile::TempDir;
use tokio::sync::watch;

use super::*;

/// The hospital's zone.
pub(super) const ZONE: &str = "Asia/Shanghai";
const PARTITIONS: [Partition; 4] = [0, 1, 2, 3];

/// A file of `dashboards/clickhouse`.
pub(super) fn file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../dashboards/clickhouse", name].iter().collect()
}

/// Carries the history to feeds.
pub(super) async fn play(feeds: Vec<Arc<dyn orderly_domain::port::Feed>>) {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(Sqlite::open(folder.path(), Options::default(), &Registry::new()).unwrap());
    let mut hospital = Hospital::new(store.claim(&PARTITIONS, "owner").await.unwrap());
    for line in lines("data/history.tsv") {
        let asked = Asked::new(&line);
        let commit = hospital.decide(&asked);
        let decided = store.commit(&commit).await.unwrap().pop().unwrap();
        let repeat = if decided.first.is_some() { "repeat of " } else { "" };
        assert_eq!(format!("{repeat}{}", decided.outcome), asked.outcome, "{line}");
    }
    let store: Arc<dyn orderly_domain::port::Store> = store;
    let relay = Relay::new(&store, feeds, None, &Registry::new()).unwrap();
    // It catches up before it stops.
    let (_stop, stopped) = watch::channel(true);
    relay.naming(&Pseudonyms::new(&[7; 32]).unwrap()).run(stopped).await;
}

/// A file's lines after the one that names its columns.
fn lines(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(file(name)).unwrap();
    text.lines().skip(1).map(str::to_owned).collect()
}

fn time(text: &str) -> Timestamp {
    text.parse::<jiff::Timestamp>().unwrap().into()
}

/// A line of the history.
struct Asked<'a> {
    logged_at: Timestamp,
    partition: Partition,
    wait: std::time::Duration,
    kind: Kind,
    session_id: SessionId,
    patient: &'a str,
    key: &'a str,
    capacity: &'a str,
    outcome: &'a str,
}

impl<'a> Asked<'a> {
    fn new(line: &'a str) -> Self {
        let fields: Vec<_> = line.split('\t').collect();
        let [at, partition, wait_ms, kind, session, patient, key, capacity, outcome] = fields[..] else {
            panic!("{line:?} has not nine fields")
        };
        Self {
            logged_at: time(at),
            partition: partition.parse().unwrap(),
            wait: std::time::Duration::from_millis(wait_ms.parse().unwrap()),
            kind: Kind::parse(kind).unwrap(),
            session_id: session.parse().unwrap(),
            patient,
            key,
            capacity,
            outcome,
        }
    }
}

/// What the pipeline knows while it decides.
struct Hospital {
    claims: BTreeMap<Partition, Claim>,
    sessions: HashMap<SessionId, Session>,
    days: HashMap<(DepartmentId, Date), DepartmentDay>,
    first: HashMap<(Partition, ticket::Id), Offset>,
}

impl Hospital {
    fn new(claims: Vec<Claim>) -> Self {
        let session = |line: String| {
            let fields: Vec<_> = line.split('\t').collect();
            let [id, doctor, name, department, campus, _, day, start, end, capacity, release_at] = fields[..] else {
                panic!("{line:?} has not eleven fields")
            };
            let (day, end): (Date, jiff::civil::Time) = (day.parse().unwrap(), end.parse().unwrap());
            let session = Session {
                doctor_name: name.into(),
                day,
                start: start.parse().unwrap(),
                end,
                timezone: ZONE.into(),
                release_at: time(release_at),
                ends_at: day.to_datetime(end).in_tz(ZONE).unwrap().timestamp().into(),
                ..session(id, doctor, department, campus, capacity.parse().unwrap())
            };
            (session.session_id.clone(), session)
        };
        Self {
            claims: claims.into_iter().map(|claim| (claim.partition, claim)).collect(),
            sessions: lines("data/sessions.tsv").into_iter().map(session).collect(),
            days: HashMap::new(),
            first: HashMap::new(),
        }
    }

    /// The next record of its partition, decided.
    fn decide(&mut self, asked: &Asked<'_>) -> Commit {
        let command = self.command(asked);
        let claim = self.claims.get_mut(&asked.partition).unwrap();
        let (partition, fence, offset) = (asked.partition, claim.fence, claim.next_offset);
        claim.next_offset += 1;
        let first = match &command {
            Command::Book(book) => *self.first.entry((partition, book.ticket)).or_insert(offset),
            _ => offset,
        };
        let outcome = if first < offset {
            Outcome::Repeat { first }
        } else {
            let (department, day) = command.department_day();
            let day = self.days.entry((department.clone(), day)).or_default();
            day.apply(&command, offset, asked.logged_at).outcome
        };
        let position = Position { partition, offset };
        Commit {
            decided_at: asked.logged_at.plus(asked.wait),
            advances: vec![Advance { partition, fence, from: offset, to: offset + 1, published: offset }],
            decisions: vec![Decision { position, logged_at: asked.logged_at, fence, command: Some(command), outcome }],
            resigned: Vec::new(),
        }
    }

    fn command(&self, asked: &Asked<'_>) -> Command {
        let known = self.sessions.get(&asked.session_id);
        // Who asks for a session that is not there still names one.
        let like = known.unwrap_or_else(|| &self.sessions["card-li-1105"]);
        let session = SessionRef { session_id: asked.session_id.clone(), ..like.reference() };
        let patient_id = || asked.patient.parse().unwrap();
        let ticket = || ticket::Id::derive(&patient_id(), asked.key);
        match asked.kind {
            Kind::Book => Command::Book(Book { ticket: ticket(), patient_id: patient_id(), session, details: None }),
            Kind::Cancel => Command::Cancel(Cancel { ticket: ticket(), patient_id: patient_id(), session }),
            Kind::OpenSession => Command::OpenSession(Box::new(known.unwrap().clone())),
            Kind::CloseSession => Command::CloseSession(CloseSession { session, cause: "the doctor is ill".into() }),
            Kind::ChangeCapacity => {
                Command::ChangeCapacity(ChangeCapacity { session, capacity: asked.capacity.parse().unwrap() })
            }
            Kind::Malformed => panic!("nobody writes what cannot be read"),
        }
    }
}
