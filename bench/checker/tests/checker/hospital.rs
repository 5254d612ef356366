//! A data folder with a history in it, decided by the domain's own rules and kept by the embedded log and store.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use jiff::civil::{date, time};
use orderly_checker::{Clients, Options, Report};
use orderly_domain::clock::Manual;
use orderly_domain::envelope::{self, Intent};
use orderly_domain::inventory::DepartmentDay;
use orderly_domain::port::log::Record;
use orderly_domain::port::store::{Advance, Commit};
use orderly_domain::port::{IntentLog as _, Store as _};
use orderly_domain::{
    Book, Cancel, Command, Decision, Exclusivity, Outcome, Position, Reason, Session, SessionRef, Timestamp,
    partition_of, ticket,
};
use orderly_sinks::{log, store};

pub(crate) const PARTITIONS: u16 = 2;

/// 2026-11-20T00:00:00Z. Sessions are released a minute later and end at the end of the next day.
const START_S: i64 = 1_795_132_800;

/// Decisions in one transaction.
const COMMIT_RECORDS: usize = 16;

pub(crate) fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_millis((START_S + seconds) * 1_000)
}

pub(crate) fn reference(number: u8) -> SessionRef {
    SessionRef {
        session_id: format!("s{number}").parse().expect("valid"),
        doctor_id: format!("d{number}").parse().expect("valid"),
        department: if number < 3 { "cardiology" } else { "neurology" }.parse().expect("valid"),
        day: date(2026, 11, 21),
    }
}

pub(crate) fn session(number: u8, capacity: u32, exclusivity: Exclusivity) -> Session {
    let reference = reference(number);
    Session {
        session_id: reference.session_id,
        doctor_id: reference.doctor_id,
        doctor_name: "李明 Li Ming".into(),
        department: reference.department,
        campus: "east".parse().expect("valid"),
        day: reference.day,
        start: time(8, 0, 0, 0),
        end: time(12, 0, 0, 0),
        timezone: "Asia/Shanghai".into(),
        capacity,
        release_at: moment(60),
        ends_at: moment(24 * 3_600),
        exclusivity,
    }
}

pub(crate) fn open(number: u8, capacity: u32) -> Command {
    Command::OpenSession(Box::new(session(number, capacity, Exclusivity::DepartmentDay)))
}

/// A patient's ticket is theirs alone: it is derived from the patient and a key.
fn ticket_of(patient: u8, key: u8) -> ticket::Id {
    ticket::Id::derive(&format!("p{patient}").parse().expect("valid"), &format!("k{key}"))
}

pub(crate) fn book(patient: u8, key: u8, session: u8) -> Command {
    let patient_id = format!("p{patient}").parse().expect("valid");
    Command::Book(Book { ticket: ticket_of(patient, key), patient_id, session: reference(session), details: None })
}

pub(crate) fn cancel(patient: u8, key: u8, session: u8) -> Command {
    let patient_id = format!("p{patient}").parse().expect("valid");
    Command::Cancel(Cancel { ticket: ticket_of(patient, key), patient_id, session: reference(session) })
}

/// What somebody puts into the log, a second after what came before.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Ask(Command),
    /// Bytes that are no record.
    Noise,
    /// Time passes, in seconds.
    Wait(i64),
}

pub(crate) struct Hospital {
    pub(crate) folder: tempfile::TempDir,
    store: store::sqlite::Store,
    desk: Desk,
    /// Records that are in the log and not decided.
    waiting: Vec<Record>,
}

impl Hospital {
    /// Puts these steps into a log and decides all but the last `undecided` records of them.
    pub(crate) async fn live(steps: &[Step], undecided: usize) -> Self {
        let mut hospital = Self::open(steps).await;
        hospital.decide(hospital.waiting.len() - undecided, COMMIT_RECORDS).await;
        hospital
    }

    /// Puts these steps into a log.
    pub(crate) async fn open(steps: &[Step]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let clock = Arc::new(Manual::at(moment(0)));
        let registry = prometheus::Registry::new();
        let options = log::sqlite::Options { partitions: PARTITIONS, ..log::sqlite::Options::default() };
        let log = log::sqlite::Log::open(folder.path(), options, clock.clone(), &registry).expect("a log");
        let mut waiting = Vec::new();
        for step in steps {
            let (partition, payload) = match step {
                Step::Ask(command) => {
                    let intent = Intent { requested_by: "somebody".into(), command: command.clone() };
                    (partition_of(command.doctor_id(), PARTITIONS), envelope::encode(&intent))
                }
                Step::Noise => (0, b"noise".to_vec()),
                Step::Wait(seconds) => {
                    clock.advance(std::time::Duration::from_secs(seconds.unsigned_abs()));
                    continue;
                }
            };
            clock.advance(std::time::Duration::from_secs(1));
            let appended = log.append(partition, "doctor", payload.clone()).await.expect("appended");
            waiting.push(Record { position: appended.position, logged_at: appended.logged_at, payload });
        }
        let store =
            store::sqlite::Store::open(folder.path(), store::sqlite::Options::default(), &registry).expect("a store");
        store.claim(&(0..PARTITIONS).collect::<Vec<_>>(), "test").await.expect("claimed");
        Self { folder, store, desk: Desk::default(), waiting }
    }

    /// How many records wait for their decision.
    pub(crate) fn undecided(&self) -> usize {
        self.waiting.len()
    }

    /// Decides the next `records`, `commit_records` in a transaction.
    pub(crate) async fn decide(&mut self, records: usize, commit_records: usize) {
        for group in self.waiting.drain(..records).collect::<Vec<_>>().chunks(commit_records) {
            let decisions: Vec<_> = group.iter().map(|record| self.desk.decide(record)).collect();
            self.store.commit(&commit(decisions)).await.expect("committed");
        }
    }

    /// Decides everything as several nodes would: in order in each partition, and over them as `turns` say.
    pub(crate) async fn decide_in_turns(&mut self, turns: impl Iterator<Item = u16>) {
        for turn in turns {
            if self.waiting.is_empty() {
                return;
            }
            let own = |record: &Record| record.position.partition == turn % PARTITIONS;
            let Some(index) = self.waiting.iter().position(own) else { continue };
            let record = self.waiting.remove(index);
            self.store.commit(&commit(vec![self.desk.decide(&record)])).await.expect("committed");
        }
    }

    /// Lets the store forget what is older than that day, but for each partition's newest decision.
    pub(crate) async fn forget_before(&self, day: jiff::civil::Date) {
        let progress = self.store.progress().await.expect("readable");
        let below: Vec<_> =
            progress.iter().map(|progress| (progress.partition, progress.next_offset.saturating_sub(1))).collect();
        self.store.prune(day, &below).await.expect("forgotten");
    }

    pub(crate) async fn check(&self, idle: bool) -> Report {
        check(self.folder.path(), idle).await
    }

    /// What is wrong with what clients were told.
    pub(crate) async fn check_clients(&self, clients: &Clients, idle: bool) -> Report {
        let (log, store) = past(self.folder.path());
        let (options, mut report) = (Options { idle, ..Options::default() }, Report::default());
        orderly_checker::check_clients(&log, &store, clients, options, &mut report).await.expect("readable");
        report
    }

    /// The verdict when nothing is known of an order over partitions.
    pub(crate) async fn check_unordered(&self) -> Report {
        check_with(self.folder.path(), Options { idle: true, embedded: false, ..Options::default() }).await
    }
}

pub(crate) async fn check(folder: &Path, idle: bool) -> Report {
    check_with(folder, Options { idle, ..Options::default() }).await
}

async fn check_with(folder: &Path, options: Options) -> Report {
    let (log, store) = past(folder);
    orderly_checker::check(&log, &store, options).await.expect("readable")
}

fn past(folder: &Path) -> (log::sqlite::Log, store::sqlite::Store) {
    let log = log::sqlite::Log::open_read_only(folder).expect("a log");
    (log, store::sqlite::Store::open_read_only(folder).expect("a store"))
}

fn commit(decisions: Vec<Decision>) -> Commit {
    let mut advances: Vec<Advance> = Vec::new();
    for Decision { position: Position { partition, offset }, fence, .. } in &decisions {
        match advances.iter_mut().find(|advance| advance.partition == *partition) {
            Some(advance) => advance.to = offset + 1,
            None => advances.push(Advance {
                partition: *partition,
                fence: *fence,
                from: *offset,
                to: offset + 1,
                published: *offset,
            }),
        }
    }
    Commit { decided_at: moment(0), advances, decisions, resigned: Vec::new() }
}

/// Decides by the domain's rules, one record after the other.
#[derive(Default)]
struct Desk {
    days: HashMap<(String, jiff::civil::Date), DepartmentDay>,
    seen: HashMap<(u16, ticket::Id), (u64, String)>,
}

impl Desk {
    fn decide(&mut self, record: &Record) -> Decision {
        let Record { position, logged_at, payload } = record;
        let command = envelope::decode(payload).ok().map(|intent| intent.command);
        let outcome = match &command {
            None => Outcome::Rejected(Reason::Malformed),
            Some(command) => self.repeat(command, *position).unwrap_or_else(|| {
                let (department, day) = command.department_day();
                let day = self.days.entry((department.to_string(), day)).or_default();
                day.apply(command, position.offset, *logged_at).outcome
            }),
        };
        Decision { position: *position, logged_at: *logged_at, fence: 1, command, outcome }
    }

    fn repeat(&mut self, command: &Command, position: Position) -> Option<Outcome> {
        let Command::Book(book) = command else { return None };
        let session = book.session.session_id.as_str();
        match self.seen.get(&(position.partition, book.ticket)) {
            Some((first, named)) if named == session => Some(Outcome::Repeat { first: *first }),
            Some(_) => Some(Outcome::Rejected(Reason::Duplicate)),
            None => {
                self.seen.insert((position.partition, book.ticket), (position.offset, session.to_owned()));
                None
            }
        }
    }
}
