//! The same API over HTTP/2, with prior knowledge.

use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::future::try_join_all;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use orderly_ingress::Options;
use orderly_ingress::auth::Role;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::kit::{Kit, keys, options, session, ticket_of};

/// Requests that may be under way on one connection, as the server says.
const STREAMS_MAX: usize = 128;

/// The window that a client starts with unless it says otherwise, in bytes.
const WINDOW_BYTES: u32 = 65_535;

struct Client {
    requests: SendRequest<Body>,
    connection: JoinHandle<hyper::Result<()>>,
}

impl Client {
    async fn of(kit: &Kit) -> Self {
        let stream = TcpStream::connect(kit.url.strip_prefix("http://").unwrap()).await.unwrap();
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new());
        builder.initial_stream_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        let (requests, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        Self { requests, connection: tokio::spawn(connection) }
    }

    async fn send(&self, request: axum::http::Request<Body>) -> hyper::Result<axum::http::Response<Incoming>> {
        let mut requests = self.requests.clone();
        requests.ready().await?;
        requests.send_request(request).await
    }

    async fn get(&self, kit: &Kit, path: &str, bearer: Option<&str>) -> axum::http::Response<Incoming> {
        let mut request = axum::http::Request::get(format!("{}{path}", kit.url));
        if let Some(bearer) = bearer {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        self.send(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn book(&self, kit: &Kit, bearer: &str, prefer: &str) -> (StatusCode, Value) {
        let request = axum::http::Request::post(format!("{}/v1/bookings", kit.url))
            .header("authorization", format!("Bearer {bearer}"))
            .header("idempotency-key", "k1")
            .header("content-type", "application/json")
            .header("prefer", prefer)
            .body(Body::from(json!({"session_id": "s1"}).to_string()));
        let answer = self.send(request.unwrap()).await.unwrap();
        (answer.status(), json(answer).await)
    }
}

async fn json(answer: axum::http::Response<Incoming>) -> Value {
    serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn books_and_is_told_the_outcome() {
    let kit = Kit::with_session(5).await;
    let client = Client::of(&kit).await;
    let ann = kit.token("ann", Role::Patient);
    let (status, booked) = client.book(&kit, &ann, "wait=60").await;
    assert_eq!((status, &booked["status"], &booked["number"]), (StatusCode::OK, &"booked".into(), &1.into()));
    kit.decide(false);
    let bob = kit.token("bob", Role::Patient);
    let (status, queued) = client.book(&kit, &bob, "wait=0").await;
    assert_eq!((status, &queued["status"]), (StatusCode::ACCEPTED, &"queued".into()));
    let path = format!("/v1/tickets/{}/events", ticket_of(&queued));
    let mut events = client.get(&kit, &path, Some(&bob)).await;
    assert_eq!(
        (events.status(), &events.headers()["content-type"]),
        (StatusCode::OK, &"text/event-stream".parse().unwrap())
    );
    let first = events.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.starts_with(b"event: position"), "{first:?}");
    // The stream leaves room for others on its connection.
    let (_, again) = client.book(&kit, &ann, "wait=0").await;
    assert_eq!(again["ticket"], booked["ticket"]);
    kit.decide(true);
    let rest = events.collect().await.unwrap().to_bytes();
    let rest = std::str::from_utf8(&rest).unwrap();
    assert!(rest.contains("event: outcome") && rest.contains("\"number\":2"), "{rest}");
    kit.until_metric("orderly_ingress_streams{kind=\"tickets\"} 0\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_bound_wait_for_their_turn() {
    let kit = Kit::with_session(5).await;
    kit.decide(false);
    let client = Client::of(&kit).await;
    let ann = kit.token("ann", Role::Patient);
    let (_, queued) = client.book(&kit, &ann, "wait=0").await;
    let path = format!("/v1/tickets/{}?wait_ms=60000", ticket_of(&queued));
    let polls = (0..3 * STREAMS_MAX).map(|_| async {
        let answer = client.get(&kit, &path, Some(&ann)).await;
        Ok::<_, std::convert::Infallible>((answer.status(), json(answer).await))
    });
    let opened = async {
        kit.until_metric(&format!("orderly_ingress_waiters {STREAMS_MAX}\n")).await;
        kit.decide(true);
    };
    let (answers, ()) = tokio::join!(try_join_all(polls), opened);
    for (status, view) in answers.unwrap() {
        assert_eq!((status, &view["status"]), (StatusCode::OK, &"booked".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_comes_whole() {
    let kit = Kit::start().await;
    let many: Vec<_> = (0..1_000).map(|number| session(&format!("s{number}"), "li", 5)).collect();
    kit.open(&many).await;
    let client = Client::of(&kit).await;
    let answer = client.get(&kit, "/v1/sessions", None).await;
    let length: usize = answer.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let body: Bytes = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body.len(), length);
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["sessions"].as_array().unwrap().len(), 1_000);
}

/// It answers pings, and opens no window for what it asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_cut() {
    let limits = Options { write_timeout: Duration::from_millis(100), ..options() };
    let kit = Kit::with(limits, keys()).await;
    let many: Vec<_> = (0..1_000).map(|number| session(&format!("s{number}"), "li", 5)).collect();
    kit.open(&many).await;
    for path in ["/v1/sessions", "/v1/sessions/events"] {
        let client = Client::of(&kit).await;
        let answer = client.get(&kit, path, None).await;
        let _ = client.connection.await.unwrap();
        assert!(answer.into_body().collect().await.is_err(), "{path}");
    }
    kit.until_metric("orderly_ingress_slow_readers_cut_total 2\n").await;
    kit.until_metric("orderly_ingress_streams{kind=\"sessions\"} 0\n").await;
    assert_eq!(kit.ask(Method::GET, "/v1/sessions?limit=1").send().await.unwrap().status(), StatusCode::OK);
}
