//! The SQLite store, and what is its own: limits, files, readers in other processes.

use orderly_sinks::store::sqlite::{FILE, Options, Store as Sqlite};
use prometheus::Registry;
use tempfile::TempDir;

use super::*;

struct Folder {
    dir: TempDir,
    options: Options,
}

impl Place for Folder {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(Sqlite::open(self.dir.path(), self.options, &Registry::new()).unwrap())
    }
}

fn folder() -> Folder {
    Folder { dir: TempDir::new().unwrap(), options: Options::default() }
}

super::suite!(folder());

/// With room for one session only, the writer's memory is always wrong-footed; nothing else may be.
mod forgetful {
    use super::*;

    fn folder() -> Folder {
        let options = Options { sessions_cached_max: 1, readers: 1, queue_max: 1, ..Options::default() };
        Folder { dir: TempDir::new().unwrap(), options }
    }

    super::super::suite!(folder());
}

/// Behind breakers.
mod guarded {
    use super::*;

    struct Guarded(Folder);

    impl Place for Guarded {
        async fn open(&self) -> Arc<dyn Store> {
            crate::guarded::guards().store(self.0.open().await)
        }
    }

    super::super::suite!(Guarded(folder()));
}

#[tokio::test]
async fn a_full_file_changes_nothing_and_goes_on_when_there_is_room() {
    let small = Options { size_max_bytes: Some(400_000), ..Options::default() };
    let mut place = Folder { options: small, ..folder() };
    let mut owner = Owner::claim(place.open().await, &[0]).await;
    owner.one(0, open(0, 3), Outcome::Applied).await;
    owner.decide(0, book(1, 1, 0), booked(1));
    for _ in 0..20_000 {
        owner.decide(0, book(2, 2, 0), rejected(Reason::NotReleased));
    }
    let commit = owner.take();
    let before = everything(&*owner.store).await;
    for _ in 0..2 {
        let answer = owner.store.commit(&commit).await;
        assert!(matches!(answer, Err(port::Error::StorageFull(_))), "{answer:?}");
        assert_eq!(everything(&*owner.store).await, before);
    }
    owner.next.insert(0, 1);
    let answer = owner.one(0, book(1, 1, 0), booked(1)).await;
    assert_eq!(answer.session.unwrap().booked, 1, "what fits is still taken, and counted right");
    drop(owner);

    place.options = Options::default();
    let mut owner = Owner::claim(place.open().await, &[0]).await;
    for _ in 0..20_000 {
        owner.decide(0, book(2, 2, 0), rejected(Reason::NotReleased));
    }
    assert_eq!(owner.commit().await.len(), 20_000);
}

#[tokio::test]
async fn can_be_read_by_others_while_it_is_written() {
    let place = folder();
    assert!(matches!(Sqlite::open_read_only(place.dir.path()), Err(port::Error::DidNotHappen(_))), "no file yet");
    let mut owner = Owner::claim(place.open().await, &[0]).await;
    owner.one(0, open(0, 3), Outcome::Applied).await;
    let reader = Sqlite::open_read_only(place.dir.path()).unwrap();
    assert_eq!(everything(&reader).await, everything(&*owner.store).await);
    owner.one(0, book(1, 1, 0), booked(1)).await;
    assert_eq!(everything(&reader).await, everything(&*owner.store).await);
    assert!(matches!(reader.claim(&[0], "reader").await, Err(port::Error::DidNotHappen(_))));
    let before = everything(&*owner.store).await;
    drop((owner, reader));
    let reader = Sqlite::open_read_only(place.dir.path()).unwrap();
    assert_eq!(everything(&reader).await, before, "also when the server is down");
}

#[tokio::test]
async fn refuses_files_that_it_cannot_understand() {
    let newer = folder();
    drop(newer.open().await);
    let connection = rusqlite::Connection::open(newer.dir.path().join(FILE)).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    is_corrupt(&Sqlite::open(newer.dir.path(), Options::default(), &Registry::new()));
    is_corrupt(&Sqlite::open_read_only(newer.dir.path()));
    let noise = folder();
    std::fs::write(noise.dir.path().join(FILE), [7; 10_000]).unwrap();
    is_corrupt(&Sqlite::open(noise.dir.path(), Options::default(), &Registry::new()));
}

#[tokio::test]
async fn says_that_another_program_holds_the_file() {
    let place = folder();
    let mut owner = Owner::claim(place.open().await, &[0]).await;
    let shell = rusqlite::Connection::open(place.dir.path().join(FILE)).unwrap();
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    owner.decide(0, open(0, 3), Outcome::Applied);
    let commit = owner.take();
    let answer = owner.store.commit(&commit).await;
    assert!(matches!(answer, Err(port::Error::DidNotHappen(_))), "{answer:?}");
    shell.execute_batch("ROLLBACK").unwrap();
    owner.store.commit(&commit).await.unwrap();
}

#[tokio::test]
async fn shows_readable_rows_and_metrics() {
    let (dir, registry) = (TempDir::new().unwrap(), Registry::new());
    let store = Arc::new(Sqlite::open(dir.path(), Options::default(), &registry).unwrap());
    assert!(Sqlite::open(dir.path(), Options::default(), &registry).is_err(), "one store for each registry");
    let mut owner = Owner::claim(store, &[0]).await;
    owner.decide(0, open(0, 1), Outcome::Applied);
    owner.decide(0, book(1, 1, 0), booked(1));
    owner.decide(0, book(2, 2, 0), booked(1));
    owner.commit().await;
    let connection = rusqlite::Connection::open(dir.path().join(FILE)).unwrap();
    let columns = "kind || ' ' || outcome || ' ' || COALESCE(reason, '') || ' ' || session_id || ' ' || logged_at";
    let mut statement = connection.prepare(&format!("SELECT {columns} FROM decisions_readable")).unwrap();
    let rows: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows[2], "book rejected sold_out session-0 1970-01-01T00:00:00.001Z");
    let holders: i64 =
        connection.query_row("SELECT COUNT(*) FROM appointments_readable", [], |row| row.get(0)).unwrap();
    assert_eq!(holders, 1);
    let metric = |name: &str| registry.gather().into_iter().find(|family| family.name() == name).unwrap();
    let corrections = metric("orderly_store_corrections_total");
    assert!((corrections.get_metric()[0].get_counter().get_value() - 1.0).abs() < f64::EPSILON);
    assert_eq!(metric("orderly_store_commit_seconds").get_metric()[0].get_histogram().get_sample_count(), 1);
    assert!((metric("orderly_store_commit_rows").get_metric()[0].get_histogram().get_sample_sum() - 3.0).abs() < 1e-9);
}
