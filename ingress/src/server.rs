//! The server: takes connections, bounds them, and stops in order.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use orderly_domain::{port, ticket};
use prometheus::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tower::Service as _;

use crate::auth::{Keys, Verifier};
use crate::catalogue::Catalogue;
use crate::idempotency::Window;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::policy::{self, Current};
use crate::progress::Progress;
use crate::request::Peer;
use crate::state::{Ports, Shared, State};
use crate::throttle::{self, Throttle};
use crate::waiters::Waiters;
use crate::{follower, openapi};

/// How many heads a request may have.
const HEADERS_MAX: usize = 64;

/// How many requests may be under way on one HTTP/2 connection.
const HTTP2_STREAMS_MAX: u32 = 128;

/// How long to wait after a connection could not be accepted, for instance because there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A server that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another program listens there.
    #[error("{address} is in use by another program: stop it, or listen elsewhere with --listen")]
    AddressInUse {
        /// The address.
        address: SocketAddr,
    },
    /// It cannot be listened there.
    #[error("cannot listen on {address}: {cause}; choose another address with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The throttle cannot be made.
    #[error(transparent)]
    Throttle(#[from] throttle::Error),
    /// A metric is registered already.
    #[error("the ingress's metrics cannot be registered; make one server a registry: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The store cannot be read.
    #[error("the store cannot be read at the start: {0}")]
    Store(#[from] port::Error),
    /// The demo gives out tokens, for which it has to be able to sign them.
    #[error("a demo gives out tokens and needs a key that can sign: use an HS256 secret")]
    DemoCannotSign,
}

/// The HTTP server.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    state: Shared,
    stop: watch::Sender<bool>,
    background: JoinSet<()>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Server {
    /// Takes the address, and reads from the store what it has to know. Connections are served from [`Server::run`] on.
    ///
    /// # Errors
    /// When the address is taken, the store cannot be read, the policy breaks its rules, or a metric is registered already.
    pub async fn bind(
        options: Options,
        ports: Ports,
        codec: ticket::Codec,
        keys: Keys,
        registry: Registry,
    ) -> Result<Self, Error> {
        if options.demo && !keys.can_sign() {
            return Err(Error::DemoCannotSign);
        }
        let listen = |cause: std::io::Error| match cause.kind() {
            std::io::ErrorKind::AddrInUse => Error::AddressInUse { address: options.listen },
            _ => Error::Listen { address: options.listen, cause },
        };
        let listener = TcpListener::bind(options.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;

        let metrics = Metrics::register(&registry)?;
        let throttle = Throttle::new(options.policy.clone(), &registry)?;
        let (stop, stopping) = watch::channel(false);
        let state = Arc::new(State {
            codec,
            verifier: Verifier::new(keys, options.tokens_cached_max),
            policy: Current::new(throttle, ports.clock.now()),
            catalogue: Catalogue::new(),
            progress: Progress::new(ports.log.partitions()),
            waiters: Waiters::new(options.waiters_max, metrics.waiters.clone()),
            window: Window::new(options.idempotency_window),
            streams: Arc::new(Semaphore::new(options.streams_max)),
            metrics,
            registry,
            following: AtomicBool::new(true),
            stopping,
            ports,
            options,
        });
        // First listen to what happens, then read what has happened: nothing falls between the two.
        let events = state.ports.fanout.subscribe();
        follower::catch_up(&state).await?;
        state.policy.refresh(state.ports.store.as_ref()).await?;

        let mut background = JoinSet::new();
        background.spawn(follower::follow(Arc::clone(&state), events));
        background.spawn(follower::tell_sessions(Arc::clone(&state)));
        background.spawn(policy::follow(Arc::clone(&state)));
        Ok(Self { listener, address, state, stop, background })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`. Then it takes no more connections, ends streams and waits, lets requests end for
    /// [`Options::drain_max`] at most, and returns.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let service = openapi::service(&self.state);
        let connections = Arc::new(Semaphore::new(self.state.options.connections_max));
        let graceful = GracefulShutdown::new();
        let builder = builder(&self.state.options);
        let mut serving = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            // A connection beyond the cap is not taken: it waits in the kernel's queue, which is bounded too.
            let accepted = async {
                let permit = Arc::clone(&connections).acquire_owned().await.ok()?;
                Some((permit, self.listener.accept().await))
            };
            let (permit, accepted) = tokio::select! {
                accepted = accepted => match accepted {
                    Some(accepted) => accepted,
                    None => break,
                },
                Some(ended) = serving.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a connection's task failed");
                    }
                    continue;
                }
                () = &mut shutdown => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    self.state.metrics.connections.inc();
                    let connection = Connection {
                        state: Arc::clone(&self.state),
                        service: service.clone(),
                        builder: builder.clone(),
                        peer: Peer(peer.ip().to_canonical()),
                        _permit: permit,
                    };
                    serving.spawn(connection.serve(stream, graceful.watcher()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        // Nobody has to hear it: then there is no stream to end.
        let _ = self.stop.send(true);
        if tokio::time::timeout(self.state.options.drain_max, graceful.shutdown()).await.is_err() {
            tracing::warn!(
                connections = self.state.metrics.connections.get(),
                "some requests did not end in time and are cut"
            );
        }
        serving.shutdown().await;
        self.background.shutdown().await;
    }
}

type Builder = auto::Builder<TokioExecutor>;

fn builder(options: &Options) -> Builder {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_buf_size(options.header_bytes_max)
        .max_headers(HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(options.header_bytes_max).unwrap_or(u32::MAX))
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .keep_alive_interval(options.header_timeout)
        .keep_alive_timeout(options.header_timeout);
    builder
}

struct Connection {
    state: Shared,
    service: Router,
    builder: Builder,
    peer: Peer,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self, stream: TcpStream, watcher: hyper_util::server::graceful::Watcher) {
        // Answers are small and somebody waits for them. Where it cannot be set it is only slower.
        let _ = stream.set_nodelay(true);
        let spoken = AtomicBool::new(false);
        let service = hyper::service::service_fn(|request: Request<Incoming>| {
            spoken.store(true, Ordering::Relaxed);
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(self.peer);
            let answer = self.service.clone().call(request);
            async move { answer.await.map_err(|never: Infallible| match never {}) }
        });
        let connection = watcher.watch(self.builder.serve_connection(TokioIo::new(stream), service));
        let mut connection = pin!(connection);
        // The timer for a request's head runs only once the protocol is known. One who says too little for that is cut here.
        let served = tokio::select! {
            served = &mut connection => served,
            () = tokio::time::sleep(self.state.options.header_timeout) => {
                if spoken.load(Ordering::Relaxed) {
                    connection.await
                } else {
                    self.state.metrics.connections_cut.inc();
                    Ok(())
                }
            }
        };
        if let Err(error) = served {
            tracing::debug!(error, "a connection broke off");
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.state.metrics.connections.dec();
    }
}
