//! The trail in SQLite, and what is its own: the file's rights, its triggers, readers in other processes.

use std::os::unix::fs::PermissionsExt as _;

use orderly_sinks::audit::sqlite::{Audit as Sqlite, FILE, Options};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;

impl Home for TempDir {
    async fn open(&self, algorithm: Algorithm) -> Arc<dyn Audit> {
        Arc::new(Sqlite::open(self.path(), Options { algorithm, ..Options::default() }).unwrap())
    }
}

super::suite!(TempDir::new().unwrap());

#[tokio::test]
async fn a_shell_can_only_append() {
    let home = TempDir::new().unwrap();
    let audit = home.open(Algorithm::Sm3).await;
    audit.append(&entries(1..=3)).await.unwrap();
    let shell = Connection::open(home.path().join(FILE)).unwrap();
    for (statement, told) in [
        ("UPDATE audit_entries SET actor = 'me' WHERE seq = 2", "never changed"),
        ("DELETE FROM audit_entries WHERE seq = 3", "180 days"),
        ("UPDATE audit_chain SET start_seq = 3; DELETE FROM audit_entries WHERE seq = 3", "180 days"),
        ("UPDATE audit_chain SET head_seq = 2", "does not go back"),
        ("UPDATE audit_chain SET start_seq = 1", "does not go back"),
        ("DELETE FROM audit_chain", "one beginning"),
        (
            "INSERT INTO audit_entries SELECT seq + 9, at_us, node, number, actor, roles, client, method, route, target, request, \
          body_bytes, status, problem, calls, algorithm, previous, hash FROM audit_entries",
            "follows the last",
        ),
    ] {
        let error = shell.execute_batch(statement).unwrap_err().to_string();
        assert!(error.contains(told), "{statement}: {error}");
    }
    let mode = std::fs::metadata(home.path().join(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody but its owner reads it");
}

#[tokio::test]
async fn can_be_read_by_others_while_it_is_written() {
    let home = TempDir::new().unwrap();
    assert!(matches!(Sqlite::open_read_only(home.path()), Err(port::Error::DidNotHappen(_))), "no file yet");
    let audit = home.open(Algorithm::Sm3).await;
    audit.append(&entries(1..=3)).await.unwrap();
    let reader = Sqlite::open_read_only(home.path()).unwrap();
    assert_holds(&reader, 3).await;
    audit.append(&entries(4..=4)).await.unwrap();
    assert_holds(&reader, 4).await;
    assert!(matches!(reader.append(&entries(5..=5)).await, Err(port::Error::DidNotHappen(_))));
}

#[tokio::test]
async fn a_full_file_changes_nothing_and_goes_on_when_there_is_room() {
    let home = TempDir::new().unwrap();
    let small = Options { size_max_bytes: Some(200_000), ..Options::default() };
    let audit = Sqlite::open(home.path(), small).unwrap();
    audit.append(&entries(1..=3)).await.unwrap();
    let told = audit.append(&entries(4..=4_000)).await;
    assert!(matches!(told, Err(port::Error::StorageFull(_))), "{told:?}");
    assert_holds(&audit, 3).await;
    drop(audit);
    let audit = home.open(Algorithm::Sm3).await;
    audit.append(&entries(4..=4_000)).await.unwrap();
    assert_holds(&*audit, 4_000).await;
}
