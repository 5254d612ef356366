//! The server: takes connections, bounds them, and stops in order.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hyper_util::server::graceful::GracefulShutdown;
use orderly_domain::{port, ticket};
use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::addresses::Addresses;
use crate::arrivals::Arrivals;
use crate::audit::{self, Trail};
use crate::auth::{Keys, Verifier};
use crate::catalogue::Catalogue;
use crate::challenge::{Challenge, PURPOSE, ProofOfWork};
use crate::connection::{self, Entrance, Listener, Serving};
use crate::heat::Heat;
use crate::idempotency::Window;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::personal;
use crate::policy::{self, Current};
use crate::progress::Progress;
use crate::routes::Side;
use crate::shed::Shed;
use crate::state::{Ports, Shared, State};
use crate::streams::Streams;
use crate::suspicion::{self, Suspicion};
use crate::throttle::{self, Throttle};
use crate::tls::{self, Tls};
use crate::waiters::Waiters;
use crate::{follower, lost_log, openapi, peers};

/// Open connections at the listener for ops: they have room when patients have taken all of theirs.
const OPS_CONNECTIONS_MAX: usize = 1_024;

/// A server that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another program listens there.
    #[error("{address} is in use by another program: stop it, or listen elsewhere with {option}")]
    AddressInUse {
        /// The address.
        address: SocketAddr,
        /// What sets it.
        option: &'static str,
    },
    /// It cannot be listened there.
    #[error("cannot listen on {address}: {cause}; choose another address with {option}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What sets it.
        option: &'static str,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The throttle cannot be made.
    #[error(transparent)]
    Throttle(#[from] throttle::Error),
    /// A metric is registered already.
    #[error("the ingress's metrics cannot be registered; make one server a registry: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The certificates cannot be used.
    #[error("the certificates cannot be used: {0}; `orderly certs dev` makes some to try it with")]
    Tls(#[from] tls::Error),
    /// Requests cannot be recorded.
    #[error("the file ingress.arrivals_file cannot be written ({0}); name another, or leave it out")]
    Arrivals(std::io::Error),
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
    listener: Listener,
    address: SocketAddr,
    ops: Option<(Listener, SocketAddr)>,
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
        personal: personal::Keys,
        keys: Keys,
        registry: Registry,
    ) -> Result<Self, Error> {
        if options.demo && !keys.can_sign() {
            return Err(Error::DemoCannotSign);
        }
        let metrics = Metrics::register(&registry)?;
        let addresses = || Addresses::new(options.connections_per_address_max, metrics.connection_addresses.clone());
        let side = if options.ops.is_some() { Side::Patients } else { Side::Everybody };
        let tls = options.tls.clone().map(Tls::open).transpose()?;
        let entrance = Entrance { side, tls };
        let (listener, address) =
            listen(options.listen, entrance, options.connections_max, addresses(), "--listen").await?;
        let ops = match &options.ops {
            None => None,
            Some(ops) => {
                let entrance = Entrance { side: Side::Ops, tls: Some(Tls::open(ops.tls.clone())?) };
                Some(listen(ops.listen, entrance, OPS_CONNECTIONS_MAX, addresses(), "ops.listen").await?)
            }
        };

        let (audit, clock) = (Arc::clone(&ports.audit), Arc::clone(&ports.clock));
        let measured = audit::Metrics::register(&registry)?;
        let (trail, writer) = Trail::new(audit, clock, options.audit.clone(), measured);
        let throttle = Throttle::new(options.policy.clone(), ports.clock.now(), &registry)?;
        let suspicion = Suspicion::new(suspicion::Metrics::register(&registry)?);
        let challenge = options.challenge.clone().unwrap_or_else(|| {
            let answers = suspicion.metrics.answers.clone();
            Arc::new(ProofOfWork::new(codec.derive(PURPOSE), answers)) as Arc<dyn Challenge>
        });
        let arrivals = Arrivals::open(
            options.arrivals_file.as_deref(),
            options.arrivals_bytes_max,
            metrics.arrivals_left_out.clone(),
        )
        .map_err(Error::Arrivals)?;
        let (stop, stopping) = watch::channel(false);
        let state = Arc::new(State {
            codec,
            personal,
            verifier: Verifier::new(keys, options.tokens_cached_max),
            policy: Current::new(throttle, suspicion, ports.clock.now()),
            challenge,
            trail,
            catalogue: Catalogue::new(),
            progress: Progress::new(ports.log.partitions()),
            lost_log: lost_log::Alarm::default(),
            shed: Shed::register(ports.log.partitions(), &registry)?,
            waiters: Waiters::new(options.waiters_max, metrics.waiters.clone()),
            window: Window::new(options.idempotency_window),
            arrivals,
            heat: Heat::new(metrics.heat_doctors.clone()),
            streams: Streams::new(&options, &metrics),
            metrics,
            registry,
            following: AtomicBool::new(true),
            stopping,
            ports,
            options,
        });
        let mut background = JoinSet::new();
        background.spawn(writer.run());
        let summing = Arc::clone(&state);
        background.spawn(async move { summing.trail.sum_up().await });
        background.spawn(audit::forget(Arc::clone(&state)));
        for entrance in [Some(&listener), ops.as_ref().map(|(listener, _)| listener)].into_iter().flatten() {
            let entrance = entrance.entrance();
            background.spawn(async move {
                if let Some(tls) = &entrance.tls {
                    tls.follow().await;
                }
            });
        }
        // Who takes no requests has nobody to tell, and needs neither sessions nor a policy.
        if !state.options.operations_only {
            // First listen to what happens, then read what has happened: nothing falls between the two.
            let events = state.ports.fanout.subscribe();
            follower::catch_up(&state).await?;
            state.policy.refresh(state.ports.store.as_ref(), state.ports.clock.now()).await?;
            background.spawn(follower::follow(Arc::clone(&state), events));
            background.spawn(follower::tell_sessions(Arc::clone(&state)));
            background.spawn(lost_log::watch(Arc::clone(&state)));
            background.spawn(policy::follow(Arc::clone(&state)));
            background.spawn(peers::share(Arc::clone(&state)));
        }
        Ok(Self { listener, address, ops, state, stop, background })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for ops, if that is elsewhere.
    #[must_use]
    pub fn ops_addr(&self) -> Option<SocketAddr> {
        self.ops.as_ref().map(|(_, address)| *address)
    }

    /// Serves until `shutdown`. Then it takes no more connections, ends streams and waits, lets requests end for
    /// [`Options::drain_max`] at most, and returns.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let options = &self.state.options;
        let served = Serving {
            state: Arc::clone(&self.state),
            router: openapi::router(&self.state),
            protocol: connection::protocol(options),
            graceful: GracefulShutdown::new(),
        };
        let ops = async {
            match &mut self.ops {
                Some((listener, _)) => listener.take(&served).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            never = self.listener.take(&served) => match never {},
            never = ops => match never {},
            () = shutdown => {}
        }
        let mut serving = vec![self.listener.close()];
        serving.extend(self.ops.map(|(listener, _)| listener.close()));
        // Nobody has to hear it: then there is no stream to end.
        let _ = self.stop.send(true);
        if tokio::time::timeout(self.state.options.drain_max, served.graceful.shutdown()).await.is_err() {
            tracing::warn!(
                connections = self.state.metrics.connections.get(),
                "some requests did not end in time and are cut"
            );
        }
        for mut serving in serving {
            serving.shutdown().await;
        }
        self.state.trail.flush(self.state.options.drain_max).await;
        self.background.shutdown().await;
        peers::leave(&self.state).await;
    }
}

/// Takes an address, which `option` sets.
async fn listen(
    address: SocketAddr,
    entrance: Entrance,
    connections_max: usize,
    addresses: Arc<Addresses>,
    option: &'static str,
) -> Result<(Listener, SocketAddr), Error> {
    let failed = |cause: std::io::Error| match cause.kind() {
        std::io::ErrorKind::AddrInUse => Error::AddressInUse { address, option },
        _ => Error::Listen { address, option, cause },
    };
    let listener = Listener::bind(address, entrance, connections_max, addresses).await.map_err(failed)?;
    let taken = listener.address().map_err(failed)?;
    Ok((listener, taken))
}
