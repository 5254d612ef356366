//! Clients that are slow, or too many.

use std::time::Duration;

use orderly_ingress::auth::Role;
use orderly_ingress::{Error, Options, Ports, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::kit::{Kit, SECRET, keys, options, personal, session};

async fn connect(kit: &Kit) -> TcpStream {
    TcpStream::connect(kit.url.strip_prefix("http://").unwrap()).await.unwrap()
}

/// Reads until the server closes.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // A reset is a close too.
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_arrive_is_cut() {
    let header_timeout = Duration::from_millis(100);
    let kit = Kit::with(Options { header_timeout, ..options() }, keys()).await;
    // Nothing; a beginning that may be either protocol; half a head.
    for start in ["", "P", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
        let mut stream = connect(&kit).await;
        stream.write_all(start.as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(!answer.contains("200"), "{start:?}: {answer}");
    }
    // The next request of a connection that idles.
    let mut stream = connect(&kit).await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_arrive_is_cut() {
    let body_timeout = Duration::from_millis(100);
    let kit = Kit::with(Options { body_timeout, ..options() }, keys()).await;
    kit.open(&[session("s1", "li", 5)]).await;
    let head = format!(
        "POST /v1/bookings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nIdempotency-Key: k\r\n\
         Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{{\"session",
        kit.token("ann", Role::Patient)
    );
    let mut stream = connect(&kit).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("/slow-request"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_long_is_refused() {
    let kit = Kit::start().await;
    let mut stream = connect(&kit).await;
    let head = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(20_000));
    // The server may hang up before all of it is sent.
    let _ = stream.write_all(head.as_bytes()).await;
    let answer = rest(&mut stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let mut stream = connect(&kit).await;
    let many = "A: b\r\n".repeat(100);
    stream.write_all(format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{many}\r\n").as_bytes()).await.unwrap();
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_cap_wait_for_a_place() {
    let kit = Kit::with(Options { connections_max: 1, ..options() }, keys()).await;
    let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut first = connect(&kit).await;
    first.write_all(request).await.unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    let mut second = connect(&kit).await;
    second.write_all(request).await.unwrap();
    // The first is served on and on, and remains the only one that is taken.
    let ask = |after: &str| format!("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: {after}\r\n\r\n");
    let asked = ask("keep-alive").repeat(99) + &ask("close");
    first.write_all(asked.as_bytes()).await.unwrap();
    let told = rest(&mut first).await;
    assert_eq!(told.matches("\norderly_ingress_connections 1\n").count(), 100, "{told}");
    second.read_exact(&mut byte).await.unwrap();
    assert_eq!(&byte, b"H");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_those_of_an_address_are_closed() {
    let kit = Kit::with(Options { connections_per_address_max: 1, ..options() }, keys()).await;
    let first: std::net::SocketAddr = kit.url.strip_prefix("http://").unwrap().parse().unwrap();
    let from = |last: u8| async move {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, last], 0).into()).unwrap();
        socket.connect(first).await.unwrap()
    };
    let ask =
        |path: &str, after: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: {after}\r\n\r\n").into_bytes();
    let mut taken = from(2).await;
    taken.write_all(&ask("/healthz", "keep-alive")).await.unwrap();
    taken.read_exact(&mut [0]).await.unwrap();
    let mut beyond = from(2).await;
    // It may be closed before it has asked.
    let _ = beyond.write_all(&ask("/healthz", "keep-alive")).await;
    assert_eq!(rest(&mut beyond).await, "");
    // Others are not concerned. They too have one connection each, so it is closed before the next.
    let metrics = || async {
        let mut other = from(3).await;
        let _ = other.write_all(&ask("/metrics", "close")).await;
        rest(&mut other).await
    };
    let told = metrics().await;
    assert!(told.contains("orderly_ingress_connections_refused_total 1\n"), "{told}");
    assert!(told.contains("orderly_ingress_addresses{holding=\"connections\"} 2\n"), "{told}");
    // A place that is left is free again.
    drop(taken);
    while !metrics().await.contains("orderly_ingress_addresses{holding=\"connections\"} 1\n") {}
    let mut again = from(2).await;
    again.write_all(&ask("/healthz", "keep-alive")).await.unwrap();
    again.read_exact(&mut [0]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_is_named() {
    let kit = Kit::start().await;
    let listen = kit.url.strip_prefix("http://").unwrap().parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let registry = prometheus::Registry::new();
    let path = folder.path();
    let analytics = orderly_sinks::analytics::sqlite::Analytics::open(path, Default::default(), &registry).unwrap();
    let ports = Ports {
        log: std::sync::Arc::clone(&kit.log) as _,
        store: std::sync::Arc::clone(&kit.store) as _,
        fanout: std::sync::Arc::new(orderly_sinks::fanout::memory::Fanout::new(1)),
        audit: std::sync::Arc::clone(&kit.audit) as _,
        analytics: std::sync::Arc::new(analytics),
        pipeline: None,
        breakers: orderly_domain::breaker::Breakers::default(),
        peers: None,
        auditor: None,
        clock: std::sync::Arc::clone(&kit.clock) as _,
    };
    let codec = orderly_domain::ticket::Codec::new(orderly_domain::ticket::Key::new(1, SECRET).unwrap(), vec![]);
    let second = Server::bind(Options { listen, ..options() }, ports, codec, personal(), keys(), registry).await;
    let error = second.expect_err("the address is in use");
    assert!(matches!(error, Error::AddressInUse { address, option: "--listen" } if address == listen), "{error}");
    assert!(error.to_string().contains("--listen"));
}
