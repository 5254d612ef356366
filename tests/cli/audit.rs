//! The audit trail of a real process: read, verified, tampered with, and kept over kills.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use orderly_domain::Timestamp;
use orderly_domain::audit::{Algorithm, Anchor, Entry, Hash, Linked, request_hash};
use orderly_domain::clock::{Clock as _, System};
use orderly_domain::port::Audit as _;
use orderly_sinks::audit::anchor::{self, Anchors};
use orderly_sinks::audit::{postgres, sqlite};
use orderly_stack::postgres::{Options as Setup, Postgres};
use serde_json::Value;
use tempfile::TempDir;

use crate::program::{complaint, orderly, output};
use crate::server::Server;

const DATABASE: &str = "data/audit.sqlite";
const ANCHORS: &str = "data/audit.anchors";
/// Long enough for any machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// What `orderly audit verify` found, and its exit status.
fn verify(folder: &Path, arguments: &[&str]) -> (Vec<String>, i32) {
    let verified = orderly(folder).args(["audit", "verify", "--json"]).args(arguments).output().expect("it runs");
    let report: Value = serde_json::from_slice(&verified.stdout).unwrap_or_else(|_| panic!("{verified:?}"));
    let place = |finding: &Value| {
        format!("{} {}-{}", finding["kind"].as_str().expect("a kind"), finding["from"], finding["to"])
    };
    let findings: Vec<_> = report["findings"].as_array().expect("a list").iter().map(place).collect();
    assert_eq!(report["holds"], findings.is_empty());
    (findings, verified.status.code().expect("it ended"))
}

/// A data folder in which a server has left entries and anchors.
fn served() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    for _ in 0..8 {
        output(&mut server.asked(folder.path(), &["policy", "get"]));
    }
    assert!(server.terminate().success());
    folder
}

fn copied(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(copy.path().join("data")).expect("made");
    for file in [DATABASE, ANCHORS] {
        std::fs::copy(folder.join(file), copy.path().join(file)).expect("copied");
    }
    copy
}

#[test]
fn a_trail_is_verified_while_it_is_written_and_afterwards() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    output(&mut server.asked(folder.path(), &["policy", "get"]));
    let refused = complaint(server.asked(folder.path(), &["policy", "get"]).env("ORDERLY_TOKEN", "none"), 1);
    assert!(refused.contains("401"), "{refused}");
    assert_eq!(verify(folder.path(), &["--without-anchors"]), (vec![], 0));
    let head = output(orderly(folder.path()).args(["audit", "head"]));
    assert!(head.starts_with("2 ") && head.split(' ').nth(1).is_some_and(|hash| hash.len() == 64), "{head}");

    assert!(server.terminate().success());
    let told = output(orderly(folder.path()).args(["audit", "verify"]));
    assert!(told.contains("The chain holds: 2 entries") && told.contains("1 anchors"), "{told}");
    let held = anchor::read(&folder.path().join(ANCHORS)).expect("readable").expect("it is there");
    assert_eq!(held.anchors.last().map(|anchor| anchor.place.seq), Some(2), "the head is anchored at the stop");

    let told = complaint(orderly(folder.path()).args(["audit", "verify", "--anchor", "nowhere"]), 1);
    assert!(told.contains("no anchor file nowhere"), "{told}");
    let told = complaint(orderly(folder.path()).args(["audit", "verify", "--data", "nowhere"]), 1);
    assert!(told.contains("nowhere") && told.contains("--data"), "{told}");
}

#[test]
fn tampering_with_the_file_is_found_and_named() {
    let folder = served();
    assert_eq!(verify(folder.path(), &[]), (vec![], 0));
    let drop = "DROP TRIGGER audit_entries_stay; DROP TRIGGER audit_entries_are_kept; DROP TRIGGER audit_chain_goes_on;
        DROP TRIGGER audit_entries_follow; DROP TRIGGER audit_entries_move_the_head;";
    let cut = "DELETE FROM audit_entries WHERE seq > 5; UPDATE audit_chain SET head_seq = 5, \
        head_hash = (SELECT hash FROM audit_entries WHERE seq = 5)";
    for (statement, expected) in [
        ("UPDATE audit_entries SET actor = 'somebody' WHERE seq = 3", "edited 3-3"),
        ("UPDATE audit_entries SET at_us = at_us - 1 WHERE seq = 8", "edited 8-8"),
        ("UPDATE audit_entries SET status = 200, problem = NULL, target = 'x' WHERE seq = 1", "edited 1-1"),
        ("DELETE FROM audit_entries WHERE seq = 4", "missing 4-4"),
        ("DELETE FROM audit_entries WHERE seq BETWEEN 2 AND 6", "missing 2-6"),
        ("DELETE FROM audit_entries WHERE seq > 6", "truncated 7-8"),
        (cut, "truncated 6-8"),
        ("DELETE FROM audit_entries", "truncated 1-8"),
        (
            "UPDATE audit_entries SET seq = 100 WHERE seq = 3; UPDATE audit_entries SET seq = 3 WHERE seq = 4; \
             UPDATE audit_entries SET seq = 4 WHERE seq = 100",
            "edited 3-3",
        ),
        (
            "UPDATE audit_chain SET start_seq = 4, start_hash = (SELECT hash FROM audit_entries WHERE seq = 4); \
             DELETE FROM audit_entries WHERE seq <= 4",
            "",
        ),
    ] {
        let copy = copied(folder.path());
        // What a server would have anchored on the way.
        let path = copy.path().join(ANCHORS);
        let entries = read(copy.path());
        let early = Anchor { place: entries[1].place(), anchored_at: System.now(), node: "n".into() };
        Anchors::open(&path).and_then(|mut anchors| anchors.append(&early)).expect("anchored");
        let shell = rusqlite::Connection::open(copy.path().join(DATABASE)).expect("it opens");
        shell.execute_batch(&format!("{drop}{statement}")).expect(statement);
        std::mem::drop(shell);
        let (findings, status) = verify(copy.path(), &[]);
        let expected = if expected.is_empty() { "early 2-2" } else { expected };
        assert_eq!((findings.first().map(String::as_str), status), (Some(expected), 1), "{statement}: {findings:?}");
        let told = orderly(copy.path()).args(["audit", "verify"]).output().expect("it runs");
        let told = String::from_utf8(told.stdout).expect("text");
        assert!(told.contains("BROKEN") && told.contains("evidence"), "{told}");
    }
}

/// The entries of a data folder.
fn read(folder: &Path) -> Vec<Linked> {
    let audit = sqlite::Audit::open_read_only(&folder.join("data")).expect("it opens");
    let runtime = tokio::runtime::Runtime::new().expect("it starts");
    runtime.block_on(audit.scan(1, usize::MAX)).expect("readable")
}

#[test]
fn without_an_anchor_a_trail_is_not_called_whole() {
    let folder = served();
    let not_whole = || {
        assert_eq!(verify(folder.path(), &[]), (vec![], 1));
        assert_eq!(verify(folder.path(), &["--without-anchors"]), (vec![], 0));
        let told = orderly(folder.path()).args(["audit", "verify"]).output().expect("it runs");
        let told = String::from_utf8(told.stdout).expect("text");
        assert!(told.contains("No anchor was read") && told.contains("--without-anchors"), "{told}");
    };
    let anchors = folder.path().join(ANCHORS);
    std::fs::write(&anchors, "\nhalf of a li").expect("written");
    not_whole();
    std::fs::remove_file(&anchors).expect("it was there");
    not_whole();
    let empty = tempfile::tempdir().expect("a folder");
    assert!(Server::start(empty.path()).terminate().success());
    assert_eq!(verify(empty.path(), &[]), (vec![], 0), "nothing could have been cut off");
}

#[test]
fn a_chain_that_was_written_anew_is_found_by_the_anchors_alone() {
    let folder = served();
    let mut entries: Vec<Entry> = read(folder.path()).into_iter().map(|linked| linked.entry).collect();
    entries[2].actor = Some("somebody".into());
    let forged = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(forged.path().join("data")).expect("made");
    let audit = sqlite::Audit::open(&forged.path().join("data"), sqlite::Options::default()).expect("it opens");
    tokio::runtime::Runtime::new().expect("it starts").block_on(audit.append(&entries)).expect("written");
    drop(audit);
    assert_eq!(verify(forged.path(), &["--without-anchors"]), (vec![], 0), "by itself it is a chain like any other");
    let anchors = folder.path().join(ANCHORS);
    let anchors = ["--anchor", anchors.to_str().expect("text")];
    assert_eq!(verify(forged.path(), &anchors), (vec!["rewritten 8-8".into()], 1));
}

#[test]
fn a_trail_that_is_away_keeps_nobody_from_a_new_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = "profile = \"distributed\"\n[ticket]\nkeys_file = \"t\"\n[personal]\nkeys_file = \"p\"\n\
        [postgres]\nurl = \"postgres://ann@127.0.0.1:1/orderly\"\n";
    std::fs::write(folder.path().join("orderly.toml"), config).expect("written");
    let rotated =
        orderly(folder.path()).args(["keys", "rotate", "--config", "orderly.toml"]).output().expect("it runs");
    assert!(rotated.status.success() && folder.path().join("p").exists(), "{rotated:?}");
    let told = String::from_utf8(rotated.stderr).expect("text");
    assert!(told.contains("`orderly keys rotate` is not in the audit trail"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tampering_with_rows_in_postgres_is_found_and_named() {
    let folder = tempfile::tempdir().expect("a folder");
    // PostgreSQL's user has to reach its own folder in it.
    let rights = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(folder.path(), rights).expect("it is ours");
    let at = folder.path().join("postgres");
    let setup = Setup { fsync: false, ..Setup::default() };
    let server = tokio::task::block_in_place(|| Postgres::start(&at, setup)).expect("PostgreSQL starts");
    server.create_database("orderly").expect("it can be made");
    let url = server.url("orderly");
    let config = format!(
        "profile = \"distributed\"\n[ticket]\nkeys_file = \"t\"\n[personal]\nkeys_file = \"p\"\n[postgres]\nurl = {url:?}\n"
    );
    std::fs::write(folder.path().join("orderly.toml"), config).expect("written");
    let database = orderly_sinks::store::postgres::Options::new(&url);
    let audit =
        postgres::Audit::open(postgres::Options { algorithm: Algorithm::Sm3, database }).await.expect("it opens");
    let entry = |number| Entry { number, ..Entry::system(System.now(), "/v1/policy", String::new(), 1) };
    let places = audit.append(&(1..=8).map(entry).collect::<Vec<_>>()).await.expect("written");
    let mut anchors = Anchors::open(&folder.path().join(ANCHORS)).expect("it opens");
    for place in [places[1], places[7]] {
        anchors.append(&Anchor { place, anchored_at: System.now(), node: "n".into() }).expect("anchored");
    }
    let verify = || tokio::task::block_in_place(|| verify(folder.path(), &["--config", "orderly.toml"]));
    assert_eq!(verify(), (vec![], 0));

    let (shell, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("it answers");
    tokio::spawn(connection);
    // A superuser, with the triggers switched off.
    shell.batch_execute("CREATE TABLE kept AS SELECT * FROM audit_entries").await.expect("copied");
    shell.batch_execute("CREATE TABLE kept_chain AS SELECT * FROM audit_chain").await.expect("copied");
    shell.batch_execute("SET session_replication_role = replica").await.expect("a superuser may");
    for (statement, expected) in [
        ("UPDATE audit_entries SET actor = 'somebody' WHERE seq = 3", "edited 3-3"),
        ("DELETE FROM audit_entries WHERE seq = 4", "missing 4-4"),
        (
            "DELETE FROM audit_entries WHERE seq > 5; UPDATE audit_chain SET head_seq = 5, \
             head_hash = (SELECT hash FROM audit_entries WHERE seq = 5)",
            "truncated 6-8",
        ),
        (
            "UPDATE audit_entries SET seq = 100 WHERE seq = 3; UPDATE audit_entries SET seq = 3 WHERE seq = 4; \
             UPDATE audit_entries SET seq = 4 WHERE seq = 100",
            "edited 3-3",
        ),
        (
            "UPDATE audit_chain SET start_seq = 4, start_hash = (SELECT hash FROM audit_entries WHERE seq = 4); \
             DELETE FROM audit_entries WHERE seq <= 4",
            "early 2-2",
        ),
    ] {
        shell.batch_execute(statement).await.expect(statement);
        let (findings, status) = verify();
        assert_eq!((findings.first().map(String::as_str), status), (Some(expected), 1), "{statement}: {findings:?}");
        let restore = "DELETE FROM audit_entries; INSERT INTO audit_entries SELECT * FROM kept; \
             DELETE FROM audit_chain; INSERT INTO audit_chain SELECT * FROM kept_chain";
        shell.batch_execute(restore).await.expect("restored");
        assert_eq!(verify(), (vec![], 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_loses_no_entry_whose_answer_was_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let http = reqwest::Client::new();
    let mut answered: HashSet<Hash> = HashSet::new();
    for round in 0..4 {
        let server = tokio::task::block_in_place(|| Server::start(folder.path()));
        let token = output(orderly(folder.path()).args(["token", "--sub", "amy", "--role", "ops"]));
        let (told, mut answers) = tokio::sync::mpsc::channel(1_024);
        let mut askers = tokio::task::JoinSet::new();
        for asker in 0..8 {
            let (http, told) = (http.clone(), told.clone());
            let (url, token) = (server.url().to_owned(), token.trim_end().to_owned());
            askers.spawn(async move {
                for number in 0_u64.. {
                    let query = format!("ask={round}-{asker}-{number}");
                    let ask = http.get(format!("{url}/v1/policy?{query}")).bearer_auth(&token);
                    let Ok(answer) = ask.send().await else { return };
                    assert_eq!(answer.status(), 200);
                    let hash = request_hash(Algorithm::Sm3, "GET", "/v1/policy", &query).finish();
                    if told.send(hash).await.is_err() {
                        return;
                    }
                }
            });
        }
        drop(told);
        let collect = async {
            let enough = answered.len() + 100;
            while answered.len() < enough {
                answered.insert(answers.recv().await.expect("they ask until it is killed"));
            }
        };
        tokio::time::timeout(PATIENCE, collect).await.expect("it answers");
        server.kill();
        while let Some(hash) = answers.recv().await {
            answered.insert(hash);
        }
        while let Some(asked) = askers.join_next().await {
            asked.expect("every answer was 200");
        }
        // It may have been killed before it anchored anything.
        let verified = tokio::task::block_in_place(|| verify(folder.path(), &["--without-anchors"]));
        assert_eq!(verified, (vec![], 0));
    }
    let audit = sqlite::Audit::open_read_only(&folder.path().join("data")).expect("it opens");
    let kept: Vec<Linked> = audit.scan(1, usize::MAX).await.expect("readable");
    let hashes: HashSet<Hash> = kept.iter().map(|linked| linked.entry.request).collect();
    assert_eq!(answered.difference(&hashes).count(), 0);
    assert_eq!(hashes.len(), kept.len(), "each call has one entry");
    assert!(kept.iter().all(|linked| linked.entry.at > Timestamp::default()));
}
