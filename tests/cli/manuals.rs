//! Ops pages of the docs, followed as a new user follows them: what stands there as `sh` is run in its order, in one shell, on
//! a demo. What is not run is marked `console` there: how to build and to start a server, and what needs servers of one's own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::vec;

use crate::program::{bash, output};
use crate::server::Server;

/// A page, and the shell of whoever follows it.
struct Page {
    blocks: vec::IntoIter<String>,
    shell: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Page {
    /// Opens it as soon as there is a session to book.
    fn open(name: &str, folder: &Path, server: &Server) -> Self {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ops").join(name);
        let blocks = blocks(&std::fs::read_to_string(page).expect("readable"));
        let mut shell = bash(folder);
        shell.args(["-euo", "pipefail", "-s"]).env("ORDERLY_URL", server.url());
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
        let (stdin, stdout) = (shell.stdin.take().expect("piped"), shell.stdout.take().expect("piped"));
        let mut page = Self { blocks: blocks.into_iter(), shell, stdin, stdout: BufReader::new(stdout) };
        let opens = "until curl -s \"$ORDERLY_URL/v1/sessions?state=open\" | grep -q session_id; do sleep 0.1; done";
        page.run(&format!("timeout 60 bash -c '{opens}'"));
        page
    }

    /// What the next block of it prints, where every command succeeds.
    fn follow(&mut self) -> String {
        let block = self.blocks.next().expect("it goes on");
        self.run(&block)
    }

    fn run(&mut self, block: &str) -> String {
        // The rest of what the shell is told is not for the commands to read.
        write!(self.stdin, "{{\n{block}\n}} 2>&1 </dev/null\nprintf '\\0'\n").expect("the shell reads on");
        let mut printed = Vec::new();
        self.stdout.read_until(0, &mut printed).expect("readable");
        let ended = printed.pop() != Some(0);
        let printed = String::from_utf8(printed).expect("text");
        assert!(!ended, "a command failed in:\n{block}\nwhich printed:\n{printed}");
        printed
    }

    fn is_over(&self) -> bool {
        self.blocks.as_slice().is_empty()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // It has ended if a command failed.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// The `sh` blocks of a page.
fn blocks(page: &str) -> Vec<String> {
    let (mut blocks, mut lines) = (Vec::new(), page.lines());
    while lines.any(|line| line.trim() == "```sh") {
        let block: Vec<_> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
        blocks.push(block.join("\n"));
    }
    blocks
}

#[test]
fn a_doctors_limit_is_tightened_rehearsed_and_rolled_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let in_force = || {
        let told = output(&mut server.asked(folder.path(), &["policy", "get"]));
        told.split_once('\n').expect("two lines at least").1.to_owned()
    };
    let configured = in_force();
    let mut page = Page::open("throttle.md", folder.path(), &server);
    let booked = page.follow();
    assert_eq!(booked.matches("\"ticket\":").count(), 5, "{booked}");
    let tightened = page.follow();
    let rehearsed = tightened.lines().find(|line| line.trim_start().starts_with("throttled by the doctor limit"));
    let numbers: Vec<_> = rehearsed.expect(&tightened).split_whitespace().rev().take(3).collect();
    assert_eq!(numbers, ["+4", "4", "0"], "{tightened}");
    assert!(tightened.contains("in force: version 1, set by amy"), "{tightened}");
    let asked = page.follow();
    let [first, second] = asked.lines().collect::<Vec<_>>()[..] else { panic!("{asked}") };
    assert!(first.contains("\"ticket\":"), "{first}");
    assert!(second.contains("\"status\":429") && second.contains("\"limit\":\"doctor\""), "{second}");
    let back = page.follow();
    assert!(back.contains("in force: version 2, set by amy") && back.contains("\"ticket\":"), "{back}");
    assert_eq!(in_force(), configured);
    assert!(page.is_over());
}

#[test]
fn a_breaker_is_tripped_and_reset() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let mut page = Page::open("breakers.md", folder.path(), &server);
    let state = |list: &str| {
        let line = list.lines().find(|line| line.trim_start().starts_with("analytics ")).expect(list);
        line.split_whitespace().nth(1).expect("a state").to_owned()
    };
    page.follow();
    assert_eq!(state(&page.follow()), "closed");
    assert_eq!(state(&page.follow()), "open");
    let reset = page.follow();
    assert!(reset.contains("analytics is closed, let go by amy"), "{reset}");
    let held = page.follow();
    assert!(held.contains("store-reads is closed, held closed by amy: slow"), "{held}");
    assert!(held.contains("store-reads is closed, let go by amy"), "{held}");
    assert!(page.is_over());
}

#[test]
fn a_key_is_rotated() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let mut page = Page::open("keys.md", folder.path(), &server);
    let ticket = page.follow();
    assert!(ticket.contains("138****1234") && !ticket.contains("13812341234"), "{ticket}");
    assert_eq!(page.follow(), "not to be found\n");
    let seen = page.follow();
    assert!(seen.contains("138****1234") && seen.contains("13812341234"), "{seen}");
    let rotated = page.follow();
    assert!(rotated.contains("key 2 seals from now on"), "{rotated}");
    page.follow();
    let listed = page.follow();
    let rows = |key: &str| {
        let mut lines = listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.find(|words| words.first() == Some(&key)).expect(&listed)[4].to_owned()
    };
    assert_eq!([rows("2"), rows("1")], ["1", "0"], "{listed}");
    assert!(page.is_over());
}

#[test]
fn the_trail_is_verified_and_a_forgery_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("orderly.toml"), "[audit]\nanchor_interval_s = 1\n").expect("writable");
    let server = Server::start_with(folder.path(), &["--config", "orderly.toml"]);
    let mut page = Page::open("audit.md", folder.path(), &server);
    let refused = page.follow();
    assert!(refused.contains("\"status\":401"), "{refused}");
    let entries = page.follow();
    assert!(entries.contains("\"actor\":\"amy\"") && entries.contains("\"status\":401"), "{entries}");
    let verified = page.follow();
    assert!(verified.contains("The chain holds"), "{verified}");
    assert!(server.terminate().success());
    let forged = page.follow();
    let found: Vec<_> = ["edited: 1\n", "exit status 1\n", "truncated: 3 to ", "exit status 1\n", "The chain holds"]
        .into_iter()
        .scan(forged.as_str(), |rest, told| rest.split_once(told).map(|(_, after)| *rest = after))
        .collect();
    assert_eq!(found.len(), 5, "{forged}");
    assert!(page.is_over());
}
