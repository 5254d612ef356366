//! The disk does not keep the intent log: syncs of it fail.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::patient::{Patient, is_problem};
use crate::program::{complaint, orderly, output};
use crate::server::Server;

/// Long enough for any machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// What lets syncs fail, where a process loads it before all other libraries.
const FAILS: &str = include_str!("fsync/fails.c");

/// A disk that can break.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    fn new(folder: &Path) -> Self {
        let disk = Self { folder: folder.to_owned() };
        let source = disk.at("fails.c");
        std::fs::write(&source, FAILS).expect("written");
        let mut compile = Command::new("cc");
        output(compile.args(["-shared", "-fPIC", "-O", "-o"]).arg(disk.at("fails.so")).arg(source));
        disk
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The program, on this disk.
    fn orderly(&self) -> Command {
        let mut command = orderly(&self.folder);
        command.env("LD_PRELOAD", self.at("fails.so")).env("BROKEN_WHILE", self.at("broken"));
        command
    }

    fn serve(&self) -> Server {
        let mut serve = self.orderly();
        serve.stderr(File::create(self.at("complaints")).expect("it can be written"));
        Server::spawn(serve, &["serve", "--demo"])
    }

    fn break_down(&self) {
        std::fs::write(self.at("broken"), "").expect("written");
    }

    fn mend(&self) {
        std::fs::remove_file(self.at("broken")).expect("it is broken");
    }
}

/// After a sync that failed nobody knows what the disk has, and a later one that succeeds does not tell. So nobody is told that
/// anything was taken from then on, and the process ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_sync_that_failed_nothing_is_taken_and_the_process_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Disk::new(folder.path());
    let mut server = disk.serve();
    let [ann, bob, cid, dan] = ["ann", "bob", "cid", "dan"];
    let (first, second) = (Patient::of(&server, ann).await, Patient::of(&server, bob).await);
    let (third, fourth) = (Patient::of(&server, cid).await, Patient::of(&server, dan).await);
    let session = first.session().await;
    let booked = first.insist(&session).await;
    assert_eq!(booked["status"], "booked", "{booked}");
    let (status, taken) = second.book(&session, 0).await.expect("answered");
    assert!(matches!(status, 200 | 202), "{status} {taken}");

    disk.break_down();
    let (status, told) = third.book(&session, 0).await.expect("answered");
    assert!(status == 503 && is_problem(&told, "outcome-unknown"), "{status} {told}");
    // Whoever comes before it has ended is refused, also when the disk seems to be well again.
    disk.mend();
    let deadline = Instant::now() + PATIENCE;
    let ended = loop {
        if let Ok((status, told)) = fourth.book(&session, 0).await {
            assert_eq!(status, 503, "{told}");
        }
        if let Some(ended) = server.ended() {
            break ended;
        }
        assert!(Instant::now() < deadline, "it ends in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let told = std::fs::read_to_string(disk.at("complaints")).expect("it is there");
    assert_eq!(ended.code(), Some(1), "{told}");
    assert!(told.contains("orderly: the intent log failed") && told.contains("start again"), "{told}");

    let server = Server::start(folder.path());
    for (patient, taken) in [(ann, Some(&booked)), (bob, Some(&taken)), (cid, None), (dan, None)] {
        let patient = Patient::of(&server, patient).await;
        let again = patient.insist(&session).await;
        assert_eq!(again["status"], "booked", "{again}");
        if let Some(taken) = taken {
            let decided = patient.decided(taken).await;
            assert_eq!((&decided["status"], &decided["number"]), (&again["status"], &again["number"]), "{decided}");
        }
    }
    assert!(server.terminate().success());
    output(orderly(folder.path()).args(["check", "--idle"]));
}

/// What a killed process had written may be in the system's memory only. It is on the disk before it counts as taken, or the
/// next process does not start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_left_is_on_the_disk_before_it_is_decided() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Disk::new(folder.path());
    let server = disk.serve();
    let patient = Patient::of(&server, "ann").await;
    let session = patient.session().await;
    let booked = patient.insist(&session).await;
    server.kill();

    disk.break_down();
    // It would not come further than to this port.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    let told = complaint(disk.orderly().args(["serve", "--demo", "--listen", &address]), 1);
    assert!(told.contains("log.sqlite") && told.contains("I/O error"), "{told}");
    disk.mend();
    let server = disk.serve();
    let again = Patient::of(&server, "ann").await.decided(&booked).await;
    assert_eq!((&again["status"], &again["number"]), (&"booked".into(), &booked["number"]), "{again}");
    assert!(server.terminate().success());
    output(orderly(folder.path()).args(["check", "--idle"]));
}
