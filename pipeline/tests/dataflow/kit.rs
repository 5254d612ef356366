//! A hospital in a folder, a pipeline over it, and a store whose commits can be held, refused or made to panic.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::civil::{Date, date, time};
use orderly_domain::clock::Manual;
use orderly_domain::envelope::{Intent, encode};
use orderly_domain::inventory::{DepartmentDay, Snapshot};
use orderly_domain::port::fanout::Event;
use orderly_domain::port::store::{
    Appointment, Claim, Commit, Committed, DecisionRow, Details, PolicyVersion, Progress, SeenTicket, SessionState,
    Store,
};
use orderly_domain::port::{self, Fanout as _, IntentLog as _, Ledger};
use orderly_domain::{
    Book, Cancel, Command, Exclusivity, Fence, Offset, Outcome, Partition, Position, Reason, Session, SessionId,
    SessionRef, Timestamp, partition_of, ticket,
};
use orderly_pipeline::{Options, Pipeline, Ports};
use orderly_sinks::{fanout, ledger, log, store};
use prometheus::Registry;

pub(crate) const PARTITIONS: u16 = 8;
/// Long enough for any machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn now() -> Timestamp {
    "2026-11-22T00:00:00Z".parse::<jiff::Timestamp>().unwrap().into()
}

pub(crate) fn session(doctor: u8, capacity: u32) -> Session {
    Session {
        session_id: format!("session-{doctor}").parse().unwrap(),
        doctor_id: format!("doctor-{doctor}").parse().unwrap(),
        doctor_name: "李明 Li Ming".into(),
        department: format!("department-{}", doctor % 2).parse().unwrap(),
        campus: "east".parse().unwrap(),
        day: date(2026, 11, 23),
        start: time(8, 0, 0, 0),
        end: time(12, 0, 0, 0),
        timezone: "Asia/Shanghai".into(),
        capacity,
        release_at: now(),
        ends_at: now().plus(Duration::from_secs(86_400)),
        exclusivity: Exclusivity::DepartmentDay,
    }
}

pub(crate) fn reference(doctor: u8) -> SessionRef {
    session(doctor, 1).reference()
}

pub(crate) fn open(doctor: u8, capacity: u32) -> Command {
    Command::OpenSession(Box::new(session(doctor, capacity)))
}

pub(crate) fn book(number: u32, patient: u32, doctor: u8) -> Command {
    Command::Book(Book {
        ticket: ticket_id(number),
        patient_id: format!("patient-{patient}").parse().unwrap(),
        session: reference(doctor),
        details: None,
    })
}

pub(crate) fn cancel(number: u32, patient: u32, doctor: u8) -> Command {
    Command::Cancel(Cancel {
        ticket: ticket_id(number),
        patient_id: format!("patient-{patient}").parse().unwrap(),
        session: reference(doctor),
    })
}

fn ticket_id(number: u32) -> ticket::Id {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    ticket::Id::from_bytes(bytes)
}

/// What a folder holds, opened.
pub(crate) struct Hospital {
    pub(crate) log: Arc<log::sqlite::Log>,
    pub(crate) store: Arc<store::sqlite::Store>,
    pub(crate) fanout: Arc<fanout::memory::Fanout>,
    pub(crate) clock: Arc<Manual>,
}

impl Hospital {
    pub(crate) fn open(folder: &Path) -> Self {
        let clock = Arc::new(Manual::at(now()));
        let registry = Registry::new();
        let options = log::sqlite::Options { partitions: PARTITIONS, ..Default::default() };
        Self {
            log: Arc::new(log::sqlite::Log::open(folder, options, Arc::clone(&clock) as _, &registry).unwrap()),
            store: Arc::new(store::sqlite::Store::open(folder, Default::default(), &registry).unwrap()),
            fanout: Arc::new(fanout::memory::Fanout::new(10_000)),
            clock,
        }
    }

    pub(crate) async fn append(&self, command: Command) -> Position {
        let partition = partition_of(command.doctor_id(), PARTITIONS);
        self.append_bytes(partition, encode(&Intent { requested_by: "test".into(), command })).await
    }

    pub(crate) async fn append_bytes(&self, partition: Partition, payload: Vec<u8>) -> Position {
        self.log.append(partition, "doctor", payload).await.unwrap().position
    }

    pub(crate) async fn start(&self, options: Options) -> Pipeline {
        self.start_on(options, Arc::clone(&self.store) as _).await
    }

    pub(crate) async fn start_on(&self, options: Options, store: Arc<dyn Store>) -> Pipeline {
        self.start_with(options, store, Arc::new(ledger::memory::Ledger::default())).await
    }

    pub(crate) async fn start_with(
        &self,
        options: Options,
        store: Arc<dyn Store>,
        ledger: Arc<dyn Ledger>,
    ) -> Pipeline {
        let ports = Ports { ledger, store, ..self.ports() };
        Pipeline::start(options, ports, &Registry::new()).await.unwrap()
    }

    /// The folder's log and store, and an empty ledger.
    pub(crate) fn ports(&self) -> Ports {
        Ports {
            log: Arc::clone(&self.log) as _,
            ledger: Arc::new(ledger::memory::Ledger::default()),
            store: Arc::clone(&self.store) as _,
            fanout: Arc::clone(&self.fanout) as _,
            clock: Arc::clone(&self.clock) as _,
        }
    }

    pub(crate) fn listen(&self) -> BoxStream<'static, Event> {
        self.fanout.subscribe()
    }

    /// Every outcome in the store, by position.
    pub(crate) async fn outcomes(&self) -> BTreeMap<Position, (Outcome, Option<Offset>)> {
        let mut outcomes = BTreeMap::new();
        for partition in 0..PARTITIONS {
            for row in self.store.decisions(partition, 0, usize::MAX >> 1).await.unwrap() {
                outcomes.insert(row.decision.position, (row.decision.outcome, row.decision.first));
            }
        }
        outcomes
    }

    pub(crate) async fn records(&self) -> u64 {
        self.log.extents().await.unwrap().iter().map(|extent| extent.end).sum()
    }
}

/// Waits until that many different records were published.
pub(crate) async fn published(events: &mut BoxStream<'static, Event>, records: usize) -> BTreeMap<Position, Committed> {
    let mut seen = BTreeMap::new();
    let all = async {
        while seen.len() < records {
            match events.next().await.expect("the fan-out is open") {
                Event::Committed(batch) => seen.extend(batch.iter().map(|row| (row.position, row.clone()))),
                Event::Gap => panic!("the test's subscriber is large enough"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("everything is decided in time");
    seen
}

/// What must come out: the rules applied to the log in its total order, one record after the other.
pub(crate) async fn expected(hospital: &Hospital) -> BTreeMap<Position, (Outcome, Option<Offset>)> {
    use orderly_domain::port::log::Delivery;
    let mut reader = hospital.log.reader().await.unwrap();
    let all: Vec<_> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    assert!(matches!(reader.next(1).await.unwrap(), Delivery::Assigned(_)));
    reader.seek(&all).await.unwrap();
    let mut days: BTreeMap<(String, Date), DepartmentDay> = BTreeMap::new();
    let mut first: BTreeMap<(Partition, ticket::Id), (Offset, SessionId)> = BTreeMap::new();
    let mut outcomes: BTreeMap<Position, (Outcome, Option<Offset>)> = BTreeMap::new();
    let records = usize::try_from(hospital.records().await).unwrap();
    while outcomes.len() < records {
        let Delivery::Records(batch) = reader.next(1_000).await.unwrap() else { continue };
        for record in batch {
            let Position { partition, offset } = record.position;
            let Ok(Intent { command, .. }) = orderly_domain::envelope::decode(&record.payload) else {
                outcomes.insert(record.position, (Outcome::Rejected(Reason::Malformed), None));
                continue;
            };
            let ticket = if let Command::Book(book) = &command { Some(book.ticket) } else { None };
            if let Some((first, session)) = ticket.and_then(|ticket| first.get(&(partition, ticket))) {
                let answer = if session == command.session_id() {
                    (outcomes[&Position { partition, offset: *first }].0, Some(*first))
                } else {
                    (Outcome::Rejected(Reason::Duplicate), None)
                };
                outcomes.insert(record.position, answer);
                continue;
            }
            if let Some(ticket) = ticket {
                first.insert((partition, ticket), (offset, command.session_id().clone()));
            }
            let (department, day) = command.department_day();
            let ledger = days.entry((department.to_string(), day)).or_default();
            outcomes.insert(record.position, (ledger.apply(&command, offset, record.logged_at).outcome, None));
        }
    }
    outcomes
}

pub(crate) type BeforeCommit = Box<dyn Fn() -> BoxFuture<'static, port::Result<()>> + Send + Sync>;

/// The real store, with something that happens before each commit, and before it waits for the disk.
pub(crate) struct Hooked {
    pub(crate) store: Arc<store::sqlite::Store>,
    pub(crate) before_commit: BeforeCommit,
}

#[async_trait]
impl Store for Hooked {
    async fn claim(&self, partitions: &[Partition], owner: &str) -> port::Result<Vec<Claim>> {
        self.store.claim(partitions, owner).await
    }
    async fn commit(&self, commit: &Commit) -> port::Result<Vec<Committed>> {
        (self.before_commit)().await?;
        self.store.commit(commit).await
    }
    async fn sync(&self) -> port::Result<()> {
        (self.before_commit)().await?;
        self.store.sync().await
    }
    async fn mark_published(&self, marks: &[(Partition, Fence, Offset)]) -> port::Result<()> {
        self.store.mark_published(marks).await
    }
    async fn decision(&self, position: Position) -> port::Result<Option<DecisionRow>> {
        self.store.decision(position).await
    }
    async fn decisions(&self, partition: Partition, from: Offset, rows_max: usize) -> port::Result<Vec<DecisionRow>> {
        self.store.decisions(partition, from, rows_max).await
    }
    async fn seen_tickets(&self, partition: Partition, since: Timestamp, max: usize) -> port::Result<Vec<SeenTicket>> {
        self.store.seen_tickets(partition, since, max).await
    }
    async fn snapshots(&self, partitions: &[Partition], since: Date) -> port::Result<Vec<Snapshot>> {
        self.store.snapshots(partitions, since).await
    }
    async fn sessions(&self, since: Date) -> port::Result<Vec<SessionState>> {
        self.store.sessions(since).await
    }
    async fn appointments(&self, session_id: &SessionId) -> port::Result<Vec<Appointment>> {
        self.store.appointments(session_id).await
    }
    async fn details(&self, of: &[Position]) -> port::Result<Vec<Details>> {
        self.store.details(of).await
    }
    async fn details_after(&self, after: Option<Position>, rows_max: usize) -> port::Result<Vec<Details>> {
        self.store.details_after(after, rows_max).await
    }
    async fn reseal(&self, details: &[Details]) -> port::Result<u64> {
        self.store.reseal(details).await
    }
    async fn progress(&self) -> port::Result<Vec<Progress>> {
        self.store.progress().await
    }
    async fn policies(&self, rows_max: usize) -> port::Result<Vec<PolicyVersion>> {
        self.store.policies(rows_max).await
    }
    async fn save_policy(&self, policy: &PolicyVersion) -> port::Result<()> {
        self.store.save_policy(policy).await
    }
    async fn prune(&self, before: Date, below: &[(Partition, Offset)]) -> port::Result<u64> {
        self.store.prune(before, below).await
    }
    async fn kept_since(&self) -> port::Result<Option<Date>> {
        self.store.kept_since().await
    }
}
