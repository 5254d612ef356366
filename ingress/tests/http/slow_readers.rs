//! Clients that do not read what they asked for: they are cut, and hold nothing after that.

use std::time::Duration;

use orderly_ingress::Options;
use reqwest::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::kit::{Kit, keys, options, session};

/// The list of so many sessions is a third of a megabyte.
const SESSIONS: usize = 1_000;

/// More answers than the kernel's buffers take, on both sides.
const ANSWERS: usize = 60;

const CUT: &str = "orderly_ingress_slow_readers_cut_total 1\n";

const LIST: &[u8] = b"GET /v1/sessions HTTP/1.1\r\nHost: x\r\n\r\n";

fn sessions(capacity: u32) -> Vec<Value> {
    (0..SESSIONS).map(|number| session(&format!("s{number}"), "li", capacity)).collect()
}

async fn kit(write_timeout: Duration) -> Kit {
    let kit = Kit::with(Options { write_timeout, ..options() }, keys()).await;
    kit.open(&sessions(5)).await;
    kit
}

/// A connection with room for little on this side, from an address that the kit's own client does not have.
async fn connect(kit: &Kit) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(kit.url.strip_prefix("http://").unwrap().parse().unwrap()).await.unwrap()
}

/// Asserts that a connection is broken off.
async fn is_broken(mut stream: TcpStream) {
    let mut read = Vec::new();
    let ended = stream.read_to_end(&mut read).await;
    assert_eq!(ended.expect_err("it does not end as it should").kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_are_cut() {
    let kit = kit(Duration::from_millis(100)).await;
    let mut stream = connect(&kit).await;
    stream.write_all(&LIST.repeat(ANSWERS)).await.unwrap();
    kit.until_metric("orderly_ingress_addresses{holding=\"connections\"} 2\n").await;
    kit.until_metric(CUT).await;
    is_broken(stream).await;
    kit.until_metric("orderly_ingress_addresses{holding=\"connections\"} 1\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_reads_is_cut() {
    let kit = kit(Duration::from_millis(100)).await;
    let mut stream = connect(&kit).await;
    stream.write_all(b"GET /v1/sessions/events HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    kit.until_metric("orderly_ingress_streams{kind=\"sessions\"} 1\n").await;
    let mut capacity = 5;
    while !kit.ask(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap().contains(CUT) {
        capacity += 1;
        kit.open(&sessions(capacity)).await;
    }
    is_broken(stream).await;
    kit.until_metric("orderly_ingress_streams{kind=\"sessions\"} 0\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_late_gets_everything() {
    let kit = kit(Options::default().write_timeout).await;
    let mut stream = connect(&kit).await;
    let mut asks = LIST.repeat(ANSWERS - 1);
    asks.extend_from_slice(b"GET /v1/sessions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(&asks).await.unwrap();
    // By the time that as many others were answered, this one waits for room.
    for _ in 0..ANSWERS {
        kit.ask(Method::GET, "/v1/sessions").send().await.unwrap().bytes().await.unwrap();
    }
    let mut read = Vec::new();
    stream.read_to_end(&mut read).await.unwrap();
    let text = String::from_utf8(read).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), ANSWERS);
    assert_eq!(text.matches("\"next_cursor\":null}").count(), ANSWERS);
}
