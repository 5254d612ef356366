//! Analytics in SQLite, and what is its own.

use orderly_sinks::analytics::sqlite::{Analytics as Sqlite, FILE, Options};
use prometheus::Registry;
use tempfile::TempDir;

use super::*;

struct Folder(TempDir);

impl Place for Folder {
    async fn open(&self) -> Arc<dyn Analytics> {
        Arc::new(Sqlite::open(self.0.path(), Options::default(), &Registry::new()).unwrap())
    }
}

super::suite!(Folder(TempDir::new().unwrap()));

/// Behind a breaker.
mod guarded {
    use super::*;

    struct Guarded(Folder);

    impl Place for Guarded {
        async fn open(&self) -> Arc<dyn Analytics> {
            crate::guarded::guards().analytics(self.0.open().await)
        }
    }

    super::super::suite!(Guarded(Folder(TempDir::new().unwrap())));
}

#[tokio::test]
async fn a_long_read_holds_no_append_up() {
    let place = Folder(TempDir::new().unwrap());
    let analytics = place.open().await;
    let (first, second) = day();
    analytics.append(&first).await.unwrap();
    let reader = rusqlite::Connection::open(place.0.path().join(FILE)).unwrap();
    reader.execute_batch("BEGIN; SELECT COUNT(*) FROM decisions").unwrap();
    analytics.append(&second).await.unwrap();
    assert_eq!(analytics.count().await.unwrap(), 14);
    let seen: i64 = reader.query_row("SELECT COUNT(*) FROM decisions", [], |row| row.get(0)).unwrap();
    assert_eq!(seen, 7, "the reader sees what was there when it began");
}

#[tokio::test]
async fn a_full_file_adds_nothing_and_says_so() {
    let dir = TempDir::new().unwrap();
    let options = Options { size_max_bytes: Some(60_000), ..Options::default() };
    let analytics = Sqlite::open(dir.path(), options, &Registry::new()).unwrap();
    let many: Vec<_> = (0..5_000).map(|at| row(0, at, at, 1, Kind::Malformed, MALFORMED, None)).collect();
    assert!(matches!(analytics.append(&many).await, Err(Error::StorageFull(_))));
    assert_eq!(analytics.count().await.unwrap(), 0);
    analytics.append(&many[..10]).await.unwrap();
    assert_eq!(analytics.next_offsets().await.unwrap(), [(0, 10)]);
}
