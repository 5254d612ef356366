//! The PostgreSQL store, and what is its own: several nodes, a server that is killed or stopped, days.

mod nodes;
mod standby;

use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use orderly_domain::port::Turn as _;
use orderly_sinks::store::postgres::{Options, Store as Sql, Turn};
use orderly_stack::postgres::{Options as Setup, Postgres};
use prometheus::Registry;
use tokio_postgres::{Client, NoTls};

use super::retention::{DAY_US, late_book, later};
use super::*;

/// One server for all tests that leave it alone. Its data are not kept, so it need not wait for the disk.
pub(crate) static SERVER: LazyLock<Postgres> = LazyLock::new(|| {
    let setup = Setup { fsync: false, connections_max: 300, ..Setup::default() };
    Postgres::start(&folder(), setup).unwrap()
});

/// A folder that belongs to this process; those of processes that are gone are removed.
fn folder() -> PathBuf {
    const PREFIX: &str = "orderly-postgres-";
    for entry in std::fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if owner.is_some_and(|owner| !std::path::Path::new("/proc").join(owner).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id()))
}

/// A connection for the tests themselves.
pub(crate) async fn shell(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A schema of its own in the server's database.
pub(crate) struct Schema {
    url: String,
    name: String,
}

impl Schema {
    pub(crate) fn new(server: &Postgres) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("place_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        Self { url: format!("{}?options=-c%20search_path%3D{name}", server.url("postgres")), name }
    }

    fn options(&self) -> Options {
        Options { writers: 2, readers: 2, ..Options::new(&self.url) }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) async fn create(&self) {
        let statement = format!("CREATE SCHEMA IF NOT EXISTS {}", self.name);
        shell(&self.url).await.batch_execute(&statement).await.unwrap();
    }

    async fn node(&self) -> Arc<Sql> {
        self.create().await;
        Arc::new(Sql::open(self.options(), &Registry::new()).await.unwrap())
    }
}

impl Place for Schema {
    async fn open(&self) -> Arc<dyn Store> {
        self.node().await
    }
}

super::suite!(Schema::new(&SERVER));

/// Asks until the answer is yes; each question is a round trip.
async fn until(shell: &Client, question: &str) {
    let asking = async { while !shell.query_one(question, &[]).await.unwrap().get::<_, bool>(0) {} };
    tokio::time::timeout(Duration::from_secs(60), asking).await.expect(question);
}

fn did_not_happen<T: std::fmt::Debug>(answer: &port::Result<T>) {
    assert!(matches!(answer, Err(port::Error::DidNotHappen(_))), "{answer:?}");
}

#[tokio::test]
async fn nodes_that_want_the_same_patients_share_them() {
    let schema = Schema::new(&SERVER);
    let (mut one, mut two) =
        (Owner::claim(schema.open().await, &[0]).await, Owner::claim(schema.open().await, &[1]).await);
    one.one(0, open(0, 200), Outcome::Applied).await;
    two.one(1, open(1, 200), Outcome::Applied).await;
    for round in 0_u8..10 {
        let patients = round * 10..round * 10 + 10;
        for patient in patients.clone() {
            one.decide(0, book(patient, patient, 0), booked(u32::from(patient) + 1));
        }
        for patient in patients.clone().rev() {
            two.decide(1, book(patient + 100, patient, 1), booked(u32::from(patient) + 1));
        }
        let (first, second) = (one.take(), two.take());
        let (first, second) = tokio::join!(insist(&*one.store, &first), insist(&*two.store, &second));
        for (patient, (first, second)) in patients.zip(first.iter().zip(second.iter().rev())) {
            let mut outcomes = [first.outcome, second.outcome];
            outcomes.sort_by_key(|outcome| outcome.reason());
            let expected = [booked(u32::from(patient) + 1), rejected(Reason::AlreadyBooked)];
            assert_eq!(outcomes, expected, "patient {patient} has one appointment and both have an answer");
        }
    }
    let held: u32 = one.store.sessions(DAY).await.unwrap().iter().map(|state| state.booked).sum();
    assert_eq!(held, 100);
}

/// What stands in a commit's way: the booking that meets it, and the one that is held.
fn held(answer: port::Result<Vec<Committed>>) -> (Position, Position) {
    match answer {
        Err(port::Error::Held { at, by }) => (at, by),
        answer => panic!("{answer:?}"),
    }
}

/// A ledger that has forgotten one node's bookings gives a patient another appointment, on another node or on the same.
#[tokio::test]
async fn a_booking_that_meets_one_of_another_partition_is_sent_back() {
    let schema = Schema::new(&SERVER);
    let mut one = Owner::claim(schema.open().await, &[0, 2]).await;
    let mut two = Owner::claim(schema.open().await, &[1]).await;
    one.one(0, open(0, 3), Outcome::Applied).await;
    two.one(1, open(1, 3), Outcome::Applied).await;
    one.one(2, open(2, 3), Outcome::Applied).await;
    let by = one.one(0, book(1, 7, 0), booked(1)).await.position;

    two.decide(1, book(3, 8, 1), booked(1));
    let at = two.decide(1, book(2, 7, 1), booked(2));
    let commit = two.take();
    assert_eq!(held(two.store.commit(&commit).await), (at, by));
    assert!(two.store.decisions(1, 1, 9).await.unwrap().is_empty(), "nothing of it is there");
    let own = one.decide(2, book(4, 7, 2), booked(1));
    let again = one.take();
    assert_eq!(held(one.store.commit(&again).await), (own, by));

    let mut canceller = Owner::claim(schema.open().await, &[0]).await;
    canceller.one(0, cancel(1, 7, 0), cancelled(1)).await;
    let answers = two.store.commit(&commit).await.unwrap();
    assert_eq!((answers[1].outcome, answers[1].corrected), (booked(2), false));
}

/// A booking that the ledger cannot be made to refuse is refused, and takes no other one with it.
#[tokio::test]
async fn a_booking_that_resigned_is_refused_alone() {
    let schema = Schema::new(&SERVER);
    let mut one = Owner::claim(schema.open().await, &[0]).await;
    let mut two = Owner::claim(schema.open().await, &[1]).await;
    one.one(0, open(0, 3), Outcome::Applied).await;
    two.one(1, open(1, 3), Outcome::Applied).await;
    one.decide(0, book(1, 7, 0), booked(1));
    one.decide(0, book(2, 8, 0), booked(2));
    one.commit().await;
    let first = two.decide(1, book(3, 7, 1), booked(1));
    two.decide(1, book(4, 9, 1), booked(2));
    let second = two.decide(1, book(5, 8, 1), booked(3));
    let mut commit = two.take();
    commit.resigned = vec![first];
    assert_eq!(held(two.store.commit(&commit).await).0, second);
    commit.resigned.push(second);
    let answers = two.store.commit(&commit).await.unwrap();
    for answer in [&answers[0], &answers[2]] {
        assert_eq!((answer.outcome, answer.corrected), (rejected(Reason::AlreadyBooked), true));
    }
    assert_eq!((answers[1].outcome, answers[1].corrected), (booked(2), false));
}

#[tokio::test]
async fn a_booking_that_loses_while_it_is_written_is_refused() {
    let schema = Schema::new(&SERVER);
    let mut owner = Owner::claim(schema.open().await, &[0, 1]).await;
    owner.decide(0, open(0, 3), Outcome::Applied);
    owner.decide(1, open(1, 3), Outcome::Applied);
    owner.commit().await;
    // What another node has inserted and not committed yet: session, number, patient, ticket and scope.
    for (number, session, other, reason) in [
        (1, 0, "1, 'other', decode(repeat('63', 16), 'hex'), NULL::text", Reason::SoldOut),
        (2, 1, "2, 'patient-2', decode(repeat('64', 16), 'hex'), 'cardiology/1970-01-01'", Reason::AlreadyBooked),
        (3, 1, "3, 'third', decode(repeat('03', 16), 'hex'), NULL::text", Reason::Duplicate),
    ] {
        let (other_node, watch) = (shell(&schema.url).await, shell(&schema.url).await);
        let insert = format!(
            "BEGIN; WITH made AS (INSERT INTO appointments (day, partition, log_offset, session_key, number, patient_id, \
             ticket_id, scope, status, changed_partition, changed_offset) \
             SELECT '1970-01-01', 1, 100 + {number}, session_key, v.*, 0, 1, 100 \
             FROM sessions, (VALUES ({other})) AS v WHERE session_id = 'session-{session}' RETURNING *) \
             INSERT INTO tickets SELECT ticket_id, day, partition, log_offset FROM made"
        );
        other_node.batch_execute(&insert).await.unwrap();
        let pid: i32 = other_node.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        owner.decide(0, book(number, number, 0), booked(u32::from(number)));
        let commit = owner.take();
        let store = Arc::clone(&owner.store);
        let task = tokio::spawn(async move { insist(&*store, &commit).await });
        let waits = format!("SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE {pid} = ANY (pg_blocking_pids(pid)))");
        until(&watch, &waits).await;
        other_node.batch_execute("COMMIT").await.unwrap();
        let answer = task.await.unwrap().pop().unwrap();
        assert_eq!((answer.outcome, answer.corrected), (rejected(reason), true));
    }
}

#[tokio::test]
async fn a_zombie_commits_nothing_once_another_has_its_partition() {
    let schema = Schema::new(&SERVER);
    let mut zombie = Owner::claim(schema.open().await, &[0]).await;
    zombie.one(0, open(0, 3), Outcome::Applied).await;
    zombie.decide(0, book(1, 1, 0), booked(1));
    let late = zombie.take();
    let mut heir = Owner::claim(schema.open().await, &[0]).await;
    is_fenced(&zombie.store.commit(&late).await, 0);
    heir.one(0, book(2, 2, 0), booked(1)).await;
    is_fenced(&zombie.store.commit(&late).await, 0);
    is_fenced(&zombie.store.mark_published(&[(0, zombie.fences[&0], 1)]).await, 0);
    let mut back = Owner::claim(Arc::clone(&zombie.store), &[0]).await;
    let answer = back.one(0, book(3, 3, 0), booked(2)).await;
    assert_eq!(answer.session.unwrap().booked, 2, "it knows what the heir did");
}

#[tokio::test]
async fn nodes_open_an_empty_database_at_once() {
    let schema = Schema::new(&SERVER);
    let admin = shell(&schema.url).await;
    admin.batch_execute(&format!("CREATE SCHEMA {}", schema.name)).await.unwrap();
    let (first, second) = (Registry::new(), Registry::new());
    let (one, two) = tokio::join!(Sql::open(schema.options(), &first), Sql::open(schema.options(), &second));
    let (one, two): (Arc<dyn Store>, Arc<dyn Store>) = (Arc::new(one.unwrap()), Arc::new(two.unwrap()));
    let (mut one, mut two) = (Owner::claim(one, &[0]).await, Owner::claim(two, &[1]).await);
    one.decide(0, open(0, 3), Outcome::Applied);
    two.decide(1, open(1, 3), Outcome::Applied);
    // Both make the same days.
    tokio::join!(one.commit(), two.commit());
    assert_eq!(one.store.sessions(DAY).await.unwrap().len(), 2);
    assert!(Sql::open(schema.options(), &first).await.is_err(), "one store for each registry");
    admin.batch_execute("INSERT INTO schema_versions VALUES (99, now())").await.unwrap();
    is_corrupt(&Sql::open(schema.options(), &Registry::new()).await);
}

#[tokio::test]
async fn refuses_a_server_that_may_lose_commits_or_that_is_not_there() {
    let schema = Schema::new(&SERVER);
    let url = format!("{}%20-c%20synchronous_commit%3Doff", schema.url);
    let lax = Sql::open(Options::new(url), &Registry::new()).await;
    assert!(lax.as_ref().is_err_and(|error| error.to_string().contains("synchronous_commit")), "{lax:?}");
    let port = orderly_stack::free_port().unwrap();
    did_not_happen(&Sql::open(Options::new(format!("postgres://x@127.0.0.1:{port}/x")), &Registry::new()).await);
    did_not_happen(&Sql::open(Options::new("mysql://x"), &Registry::new()).await);
    assert!(!format!("{:?}", Options::new("postgres://user:secret@host/x")).contains("secret"));
}

#[tokio::test]
async fn a_full_disk_changes_nothing() {
    let schema = Schema::new(&SERVER);
    let mut owner = Owner::claim(schema.open().await, &[0]).await;
    owner.one(0, open(0, 3), Outcome::Applied).await;
    let admin = shell(&schema.url).await;
    admin
        .batch_execute(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE 'No space left on device' USING ERRCODE = 'disk_full'; END $$; \
             CREATE TRIGGER full_disk BEFORE INSERT ON decisions FOR EACH ROW EXECUTE FUNCTION full_disk()",
        )
        .await
        .unwrap();
    owner.decide(0, book(1, 1, 0), booked(1));
    let commit = owner.take();
    let before = everything(&*owner.store).await;
    let answer = owner.store.commit(&commit).await;
    assert!(matches!(answer, Err(port::Error::StorageFull(_))), "{answer:?}");
    assert_eq!(everything(&*owner.store).await, before);
    admin.batch_execute("DROP TRIGGER full_disk ON decisions").await.unwrap();
    assert_eq!(owner.store.commit(&commit).await.unwrap()[0].outcome, booked(1));
}

#[tokio::test]
async fn what_another_program_holds_is_not_waited_for_for_ever() {
    let schema = Schema::new(&SERVER);
    let mut owner = Owner::claim(schema.open().await, &[0]).await;
    let options = Options { lock_timeout: Duration::from_millis(50), ..schema.options() };
    let hasty = Sql::open(options, &Registry::new()).await.unwrap();
    let other = shell(&schema.url).await;
    other.batch_execute("BEGIN; SELECT * FROM partitions FOR UPDATE").await.unwrap();
    owner.decide(0, open(0, 3), Outcome::Applied);
    let commit = owner.take();
    did_not_happen(&hasty.commit(&commit).await);
    other.batch_execute("ROLLBACK").await.unwrap();
    // Another test may be at making or dropping days, which goes one by one.
    while let Err(error) = hasty.commit(&commit).await {
        assert!(matches!(error, port::Error::DidNotHappen(_)), "{error}");
    }
}

/// The tables of days of decisions.
async fn tables(url: &str) -> Vec<String> {
    let select = "SELECT c.relname::text FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid \
                  WHERE i.inhparent = 'decisions'::regclass ORDER BY 1";
    shell(url).await.query(select, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn old_days_are_dropped_whole() {
    let schema = Schema::new(&SERVER);
    let (node, other) = (schema.open().await, schema.open().await);
    let mut owner = Owner::claim(Arc::clone(&node), &[0]).await;
    let mut elsewhere = Owner::claim(Arc::clone(&other), &[1]).await;
    elsewhere.one(1, book(9, 9, 9), rejected(Reason::UnknownSession)).await;
    owner.decide(0, open(0, 9), Outcome::Applied);
    owner.decide(0, later(), Outcome::Applied);
    owner.decide(0, book(1, 1, 0), booked(1));
    owner.decide(0, late_book(2), booked(1));
    owner.commit().await;
    owner.now = 2 * DAY_US;
    owner.decide(0, late_book(3), booked(2));
    owner.now = DAY_US;
    owner.decide(0, late_book(4), booked(3));
    owner.commit().await;
    let all = node.decisions(0, 0, 100).await.unwrap();
    assert_eq!(all.len(), 6, "also when the log's time went back");
    assert_eq!(node.prune(date(1970, 1, 3), &[(0, 5), (1, 0)]).await.unwrap(), 0, "of a day with a kept booking");
    assert!(node.appointments(&id(0)).await.unwrap().is_empty());
    assert_eq!(owner.one(0, late_book(2), booked(4)).await.outcome, rejected(Reason::Duplicate));
    assert_eq!(owner.one(0, book(1, 1, 0), booked(2)).await.outcome, booked(2), "its appointment is forgotten");

    let first = "decisions_1970-01-01".to_owned();
    assert_eq!(node.prune(date(1970, 1, 6), &[(0, 7), (1, 0)]).await.unwrap(), 4);
    let kept = node.decisions(0, 0, 1).await.unwrap().remove(0);
    assert_eq!((&kept.decision, kept.appointment), (&all[4].decision, None), "its appointment is gone with its day");
    assert!(tables(&schema.url).await.contains(&first), "the other partition's decision is its newest");
    assert_eq!(other.decisions(1, 0, 10).await.unwrap().len(), 1);
    elsewhere.now = 6 * DAY_US;
    elsewhere.one(1, book(8, 8, 9), rejected(Reason::UnknownSession)).await;
    assert_eq!(node.prune(date(1970, 1, 6), &[(0, 7), (1, 1)]).await.unwrap(), 1);
    assert!(!tables(&schema.url).await.contains(&first));
    // Another node, which has not heard of it, still thinks that the first day is there.
    let mut third = Owner::claim(other, &[2]).await;
    third.one(2, book(7, 7, 9), rejected(Reason::UnknownSession)).await;
    assert!(tables(&schema.url).await.contains(&first));
}

/// One relay at a time: the other goes on when the first one's connection ends, whoever ends it.
#[tokio::test]
async fn turns_go_to_one_and_then_to_another() {
    let (schema, other) = (Schema::new(&SERVER), Schema::new(&SERVER));
    drop((schema.open().await, other.open().await));
    let admin = shell(&schema.url).await;
    let first = Turn::stand_by(&schema.options()).unwrap();
    first.changes().wait_for(|ours| *ours).await.unwrap();
    let second = Turn::stand_by(&schema.options()).unwrap();
    // Turns on another schema are others' affair.
    let elsewhere = Turn::stand_by(&other.options()).unwrap();
    elsewhere.changes().wait_for(|ours| *ours).await.unwrap();
    assert!(first.is_ours() && !second.is_ours());
    let end = "SELECT pg_terminate_backend(l.pid) FROM pg_locks AS l WHERE l.locktype = 'advisory' \
               AND l.objid = hashtext(current_schema())::bigint & 4294967295";
    let mut over = first.changes();
    over.mark_unchanged();
    admin.execute(end, &[]).await.unwrap();
    over.wait_for(|ours| !ours).await.unwrap();
    drop(first);
    second.changes().wait_for(|ours| *ours).await.unwrap();
    drop(second);
    let third = Turn::stand_by(&schema.options()).unwrap();
    third.changes().wait_for(|ours| *ours).await.unwrap();
}

#[tokio::test]
async fn a_replica_is_asked_for_decisions_and_nothing_depends_on_it() {
    let (primary, replica) = (Schema::new(&SERVER), Schema::new(&SERVER));
    let behind = replica.open().await;
    let mut owner = Owner::claim(primary.open().await, &[0]).await;
    owner.one(0, open(0, 3), Outcome::Applied).await;
    let read_url = Some(replica.url.clone());
    let store = Sql::open(Options { read_url, ..primary.options() }, &Registry::new()).await.unwrap();
    assert!(store.decision(at(0, 0)).await.unwrap().is_some(), "the replica is behind, the primary knows");
    let mut ahead = Owner::claim(behind, &[0]).await;
    ahead.decide(0, None, rejected(Reason::Malformed));
    ahead.commit().await;
    let row = store.decision(at(0, 0)).await.unwrap().unwrap();
    assert_eq!(row.decision.outcome, rejected(Reason::Malformed), "it came from the replica");
    let nobody = format!("postgres://x@127.0.0.1:{}/x", orderly_stack::free_port().unwrap());
    let alone = Sql::open(Options { read_url: Some(nobody), ..primary.options() }, &Registry::new()).await.unwrap();
    assert!(alone.decision(at(0, 0)).await.unwrap().is_some());
}

#[tokio::test]
async fn shows_readable_rows_and_metrics() {
    let (schema, registry) = (Schema::new(&SERVER), Registry::new());
    drop(schema.open().await);
    let store = Arc::new(Sql::open(schema.options(), &registry).await.unwrap());
    let mut owner = Owner::claim(store, &[0]).await;
    owner.decide(0, open(0, 1), Outcome::Applied);
    owner.decide(0, book(1, 1, 0), booked(1));
    owner.decide(0, book(2, 2, 0), booked(1));
    owner.commit().await;
    let admin = shell(&schema.url).await;
    let columns = "concat_ws(' ', kind, outcome, reason, session_id, logged_at AT TIME ZONE 'UTC')";
    let rows = admin.query(&format!("SELECT {columns} FROM decisions_readable"), &[]).await.unwrap();
    assert_eq!(rows[2].get::<_, &str>(0), "book rejected sold_out session-0 1970-01-01 00:00:00.001003");
    let holders: i64 = admin.query_one("SELECT COUNT(*) FROM appointments_readable", &[]).await.unwrap().get(0);
    assert_eq!(holders, 1);
    let metric = |name: &str| registry.gather().into_iter().find(|family| family.name() == name).unwrap();
    let corrections = metric("orderly_store_corrections_total");
    assert!((corrections.get_metric()[0].get_counter().get_value() - 1.0).abs() < f64::EPSILON);
    assert_eq!(metric("orderly_store_commit_seconds").get_metric()[0].get_histogram().get_sample_count(), 1);
}

/// A server of its own, which writes to the disk.
fn server() -> (tempfile::TempDir, Postgres) {
    let dir = tempfile::TempDir::new().unwrap();
    let server = Postgres::start(dir.path(), Setup::default()).unwrap();
    (dir, server)
}

#[tokio::test]
async fn a_server_that_is_killed_keeps_what_it_committed_and_nothing_else() {
    let (_dir, mut server) = server();
    let schema = Schema::new(&server);
    let mut owner = Owner::claim(schema.open().await, &[0]).await;
    owner.decide(0, open(0, 9), Outcome::Applied);
    owner.decide(0, book(1, 1, 0), booked(1));
    owner.commit().await;
    let before = everything(&*owner.store).await;
    server.kill().unwrap();
    owner.decide(0, book(2, 2, 0), booked(2));
    let commit = owner.take();
    did_not_happen(&owner.store.commit(&commit).await);
    did_not_happen(&owner.store.progress().await);
    server.restart().unwrap();
    assert_eq!(everything(&*owner.store).await, before);
    assert_eq!(owner.store.commit(&commit).await.unwrap()[0].outcome, booked(2));

    // It dies in a commit, before that is on the disk.
    let admin = shell(&schema.url).await;
    admin
        .batch_execute(
            "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(600); RETURN NULL; END $$; \
             CREATE CONSTRAINT TRIGGER dawdle AFTER UPDATE ON partitions DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION dawdle()",
        )
        .await
        .unwrap();
    owner.decide(0, book(3, 3, 0), booked(3));
    let (unsure, commit) = lose_in_commit(&mut owner, &admin, "PgSleep", &server).await;
    assert!(matches!(unsure, Err(port::Error::MayHaveHappened(_))), "{unsure:?}");
    server.restart().unwrap();
    let admin = shell(&schema.url).await;
    admin.batch_execute("DROP TRIGGER dawdle ON partitions").await.unwrap();
    assert_eq!(owner.store.progress().await.unwrap()[0].next_offset, 3, "it did not happen");
    assert_eq!(owner.store.commit(&commit).await.unwrap()[0].outcome, booked(3));

    // It dies in a commit that is on the disk, before it answers: it waits for a standby that does not exist.
    admin.batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await.unwrap();
    admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    until(&admin, "SELECT current_setting('synchronous_standby_names') = 'nobody'").await;
    owner.decide(0, book(4, 4, 0), booked(4));
    owner.decide(0, cancel(1, 1, 0), cancelled(1));
    let (unsure, commit) = lose_in_commit(&mut owner, &admin, "SyncRep", &server).await;
    assert!(matches!(unsure, Err(port::Error::MayHaveHappened(_))), "{unsure:?}");
    server.restart().unwrap();
    let admin = shell(&schema.url).await;
    admin.batch_execute("ALTER SYSTEM RESET ALL").await.unwrap();
    admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    until(&admin, "SELECT current_setting('synchronous_standby_names') = ''").await;
    assert_eq!(owner.store.progress().await.unwrap()[0].next_offset, 6, "it happened");
    let answers = owner.store.commit(&commit).await.unwrap();
    assert_eq!(answers.iter().map(|row| row.outcome).collect::<Vec<_>>(), [booked(4), cancelled(1)]);
    assert_eq!(answers[1].released, [at(0, 1)]);
    assert_eq!(owner.store.sessions(DAY).await.unwrap()[0].booked, 3, "once");
}

/// Commits, and kills the server while its `COMMIT` waits for `event`.
async fn lose_in_commit(
    owner: &mut Owner,
    admin: &Client,
    event: &str,
    server: &Postgres,
) -> (port::Result<Vec<Committed>>, Commit) {
    let commit = owner.take();
    let (store, task) = (Arc::clone(&owner.store), commit.clone());
    let task = tokio::spawn(async move { store.commit(&task).await });
    until(admin, &format!("SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event = '{event}')")).await;
    server.kill().unwrap();
    (task.await.unwrap(), commit)
}

#[tokio::test]
async fn a_server_that_stands_still_is_not_waited_for_for_ever() {
    let (_dir, server) = server();
    let schema = Schema::new(&server);
    drop(schema.open().await);
    let short = Duration::from_millis(300);
    let options = Options { call_timeout: short, connect_timeout: short, ..schema.options() };
    let store = Arc::new(Sql::open(options, &Registry::new()).await.unwrap());
    let mut owner = Owner::claim(store, &[0]).await;
    owner.one(0, open(0, 3), Outcome::Applied).await;
    owner.decide(0, book(1, 1, 0), booked(1));
    let commit = owner.take();
    server.pause();
    for _ in 0..3 {
        did_not_happen(&owner.store.commit(&commit).await);
        did_not_happen(&owner.store.progress().await);
    }
    server.resume();
    let answers = loop {
        match owner.store.commit(&commit).await {
            Ok(answers) => break answers,
            Err(port::Error::DidNotHappen(_) | port::Error::MayHaveHappened(_)) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(answers[0].outcome, booked(1));
    assert_eq!(answers[0].session.as_ref().unwrap().booked, 1);
}
