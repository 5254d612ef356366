//! Today's ClickHouse engine behind as much of a server's HTTP interface as the analytics adapter uses. For tests only:
//! one statement at a time, no users, no compression, answers without streaming.
//!
//! `orderly-chdb LIBRARY FOLDER PORT`: the library, the folder of the database, the port on the loopback address.

mod engine;
mod request;

use std::convert::Infallible;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use engine::Engine;
use request::Job;

/// Requests that wait for the engine; whoever comes then waits to hand his over.
const QUEUE_MAX: usize = 64;

/// A job and where its answer is waited for.
type Errand = (Job, oneshot::Sender<Result<Vec<u8>, String>>);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().collect();
    let [_, library, folder, port] = arguments.as_slice() else {
        anyhow::bail!("usage: orderly-chdb LIBRARY FOLDER PORT");
    };
    let port = port.parse().context("PORT must be a number")?;
    let engine = Engine::open(Path::new(library), Path::new(folder))?;
    let (sender, errands) = sync_channel(QUEUE_MAX);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", port)))?;
    runtime.spawn(serve(listener, sender));
    work(&engine, &errands);
    Ok(())
}

/// Carries out jobs, one after another, on the thread that opened the engine.
fn work(engine: &Engine, errands: &Receiver<Errand>) {
    for (job, answer) in errands {
        // Whoever asked may have gone.
        let _ = answer.send(job.run(engine));
    }
}

async fn serve(listener: TcpListener, errands: SyncSender<Errand>) {
    while let Ok((stream, _)) = listener.accept().await {
        let errands = errands.clone();
        let service = service_fn(move |request| {
            let errands = errands.clone();
            async move { Ok::<_, Infallible>(respond(request, errands).await) }
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn respond(request: Request<Incoming>, errands: SyncSender<Errand>) -> Response<Full<Bytes>> {
    if request.uri().path() == "/ping" {
        return Response::new(Full::from("Ok.\n"));
    }
    answer(request, errands).await.map_or_else(refusal, |rows| Response::new(Full::from(rows)))
}

async fn answer(request: Request<Incoming>, errands: SyncSender<Errand>) -> Result<Vec<u8>, String> {
    let (parts, body) = request.into_parts();
    // A body that breaks off is an insert that must not happen.
    let body = body.collect().await.map_err(|error| format!("the body broke off: {error}"))?.to_bytes();
    let job = Job::new(parts.uri.query().unwrap_or_default(), body.into())?;
    let (sender, done) = oneshot::channel();
    let hand_over = tokio::task::spawn_blocking(move || errands.send((job, sender)).is_ok());
    match hand_over.await {
        Ok(true) => done.await.unwrap_or_else(|_| Err("the engine is gone".into())),
        _ => Err("the engine is gone".into()),
    }
}

/// As ClickHouse does: the error's text is the body, its number also a header.
fn refusal(text: String) -> Response<Full<Bytes>> {
    let code: String =
        text.trim_start_matches("Code: ").chars().take_while(|character| character.is_ascii_digit()).collect();
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    if let Ok(code) = code.parse() {
        response.headers_mut().insert("x-clickhouse-exception-code", code);
    }
    response
}
