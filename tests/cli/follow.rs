//! Following outcomes, on a real Redis.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::Arc;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orderly_domain::command::Kind;
use orderly_domain::port::Fanout as _;
use orderly_domain::port::store::Committed;
use orderly_domain::{Outcome, Position, Reason, Timestamp};
use orderly_sinks::fanout::redis::{Fanout, Options};
use orderly_stack::redis::{self, Redis};
use prometheus::Registry;
use serde_json::Value;

use crate::program::{complaint, orderly};
use crate::stack::personal_keys;

const GROUP: [&str; 5] = ["follow", "--config", "orderly.toml", "--group", "notifications"];

/// Decisions that were committed together.
fn batch(first: u64, count: u64) -> Arc<[Committed]> {
    let decision = |offset| Committed {
        position: Position { partition: 1, offset },
        logged_at: Timestamp::from_millis(1_000),
        decided_at: Timestamp::from_millis(2_000),
        kind: Kind::Malformed,
        ticket: None,
        session_id: None,
        outcome: Outcome::Rejected(Reason::Malformed),
        first: None,
        corrected: false,
        session: None,
        released: Vec::new(),
    };
    (first..first + count).map(decision).collect()
}

/// A consumer that runs.
struct Consumer {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Consumer {
    fn start(folder: &Path, options: &[&str]) -> Self {
        let mut command = orderly(folder);
        command.args(GROUP).args(options).stdout(Stdio::piped());
        let mut process = command.spawn().expect("it starts");
        let lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        Self { process, lines }
    }

    /// The offset of the next line's decision.
    fn offset(&mut self) -> u64 {
        let line = self.lines.next().expect("it has not ended").expect("it can be read");
        let value: Value = serde_json::from_str(&line).expect("each line is JSON");
        value["position"]["offset"].as_u64().unwrap_or_else(|| panic!("{line}"))
    }

    fn end(mut self, signal: Signal) -> bool {
        kill(Pid::from_raw(self.process.id().cast_signed()), signal).expect("it runs");
        self.process.wait().expect("it ends").success()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_told_of_each_outcome_over_restarts() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let server = Redis::start(&folder.join("redis"), redis::Options::default()).expect("Redis starts");
    std::fs::write(folder.join("ticket.keys"), format!("1 {}\n", "QUJD".repeat(16))).expect("written");
    std::fs::write(folder.join("personal.keys"), personal_keys()).expect("written");
    let config = format!(
        "profile = \"distributed\"\n[ticket]\nkeys_file = \"ticket.keys\"\n[personal]\nkeys_file = \"personal.keys\"\n\
         [redis]\nurls = {:?}\n",
        server.url()
    );
    std::fs::write(folder.join("orderly.toml"), config).expect("written");
    let options = Options { urls: vec![server.url()], ..Options::default() };
    let fanout = Fanout::open(options, &Registry::new()).await.expect("it can be opened");

    fanout.publish(batch(0, 3)).await.expect("published");
    let mut first = Consumer::start(folder, &["--from", "start"]);
    assert_eq!([first.offset(), first.offset(), first.offset()], [0, 1, 2]);
    fanout.publish(batch(3, 1)).await.expect("published");
    assert_eq!(first.offset(), 3);
    assert!(first.end(Signal::SIGTERM), "it was asked to end");

    fanout.publish(batch(4, 1)).await.expect("published");
    let mut second = Consumer::start(folder, &["--consumer", "two"]);
    let mut seen = second.offset();
    // The first may have been asked to end before it acknowledged its last line.
    while seen < 4 {
        seen = second.offset();
    }
    assert_eq!(seen, 4, "while nobody ran, it waited");
    assert!(second.end(Signal::SIGINT));

    // Nobody reads what it writes: it ends, and the outcome is for another.
    let Consumer { mut process, lines } = Consumer::start(folder, &["--consumer", "two"]);
    drop(lines);
    fanout.publish(batch(5, 1)).await.expect("published");
    assert!(process.wait().expect("it ends").success());
    let mut third = Consumer::start(folder, &["--consumer", "two"]);
    let mut seen = third.offset();
    while seen < 5 {
        seen = third.offset();
    }
    assert_eq!(seen, 5);
    assert!(third.end(Signal::SIGTERM));
}

#[test]
fn the_embedded_profile_cannot_be_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = complaint(orderly(folder.path()).args(["follow", "--group", "notifications"]), 1);
    assert!(told.contains("distributed profile"), "{told}");
}
