//! One connection: served until it ends, its client falls silent before a first request, or does not read its answers.

mod cut;
mod listener;
mod paced;
mod socket;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Version, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::addresses::Place;
use crate::gate;
use crate::options::Options;
use crate::request::Peer;
use crate::state::Shared;
use cut::Cut;
pub(crate) use listener::{Entrance, Listener, Serving};
use paced::Paced;
use socket::Socket;

/// How many heads a request may have.
const HEADERS_MAX: usize = 64;

/// How many requests may be under way on one HTTP/2 connection.
const HTTP2_STREAMS_MAX: u32 = 128;

/// Tells browsers to come by TLS only, for a year. It holds for a host with all its ports, so it is told where patients' listener
/// speaks TLS.
const BY_TLS_ONLY: &str = "max-age=31536000";

/// Speaks HTTP/1 and HTTP/2, whichever the client begins with.
pub(crate) type Protocol = auto::Builder<TokioExecutor>;

/// The protocol, within its bounds.
pub(crate) fn protocol(options: &Options) -> Protocol {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_buf_size(options.header_bytes_max)
        .max_headers(HEADERS_MAX)
        // Answers are small: copied behind their heads they go out by one plain write.
        .writev(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(options.header_bytes_max).unwrap_or(u32::MAX))
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .keep_alive_interval(options.header_timeout)
        .keep_alive_timeout(options.header_timeout);
    builder
}

/// A connection that is served.
pub(crate) struct Connection {
    state: Shared,
    router: Router,
    protocol: Protocol,
    entrance: Arc<Entrance>,
    peer: Peer,
    _permit: OwnedSemaphorePermit,
    /// `None` for a trusted proxy, whose connections are those of many.
    _place: Option<Place>,
}

impl Connection {
    pub(crate) fn new(
        served: &Serving,
        entrance: Arc<Entrance>,
        peer: Peer,
        permit: OwnedSemaphorePermit,
        place: Option<Place>,
    ) -> Self {
        let (state, router, protocol) = (Arc::clone(&served.state), served.router.clone(), served.protocol.clone());
        state.metrics.connections.inc();
        Self { state, router, protocol, entrance, peer, _permit: permit, _place: place }
    }

    pub(crate) async fn serve(self, stream: TcpStream, watcher: Watcher) {
        // Answers are small and somebody waits for them. Where it cannot be set it is only slower.
        let _ = stream.set_nodelay(true);
        let patience = self.state.options.write_timeout;
        let socket = Socket::new(stream, patience, self.state.metrics.slow_readers_cut.clone());
        let Some(tls) = &self.entrance.tls else { return self.speak(socket, watcher).await };
        let handshake = tls.acceptor().accept(socket);
        match tokio::time::timeout(self.state.options.header_timeout, handshake).await {
            Ok(Ok(secured)) => self.speak(secured, watcher).await,
            Ok(Err(error)) => tracing::debug!(%error, "a client did not agree on TLS"),
            Err(_) => self.state.metrics.connections_cut.inc(),
        }
    }

    async fn speak(&self, socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, watcher: Watcher) {
        let patience = self.state.options.write_timeout;
        let by_tls_only = self.state.options.tls.is_some();
        let spoken = AtomicBool::new(false);
        let cut = Arc::new(Cut::default());
        let service = hyper::service::service_fn(|request: Request<Incoming>| {
            spoken.store(true, Ordering::Relaxed);
            let paced = (request.version() == Version::HTTP_2).then(|| Arc::clone(&cut));
            let mut request = request.map(Body::new);
            let client = self.state.options.trusted_proxies.client(self.peer.0, request.headers());
            request.extensions_mut().insert(Peer(client));
            let answer = gate::gate(Arc::clone(&self.state), self.router.clone(), self.entrance.side, request);
            async move {
                let mut answer = answer.await;
                if by_tls_only {
                    answer
                        .headers_mut()
                        .insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(BY_TLS_ONLY));
                }
                Ok::<_, Infallible>(match paced {
                    Some(cut) => answer.map(|body| Paced::body(body, patience, cut)),
                    None => answer,
                })
            }
        });
        let connection = watcher.watch(self.protocol.serve_connection(TokioIo::new(socket), service));
        let mut connection = pin!(connection);
        // The timer for a request's head runs only once the protocol is known. One who says too little for that is cut here.
        let silent = async {
            tokio::time::sleep(self.state.options.header_timeout).await;
            if spoken.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            served = &mut connection => {
                if let Err(error) = served {
                    tracing::debug!(error, "a connection broke off");
                }
            }
            () = silent => self.state.metrics.connections_cut.inc(),
            () = cut.made() => self.state.metrics.slow_readers_cut.inc(),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.state.metrics.connections.dec();
    }
}
