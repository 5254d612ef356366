//! A listener: takes connections, within its bounds, and has them served.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Connection, Protocol};
use crate::addresses::Addresses;
use crate::request::Peer;
use crate::routes::Side;
use crate::state::Shared;
use crate::tls::Tls;

/// How long to wait after a connection could not be accepted, for instance because there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where connections come in.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// Who comes in here.
    pub(crate) side: Side,
    /// Certificates, where TLS is spoken.
    pub(crate) tls: Option<Tls>,
}

/// What all listeners serve.
pub(crate) struct Serving {
    pub(crate) state: Shared,
    pub(crate) router: Router,
    pub(crate) protocol: Protocol,
    pub(crate) graceful: GracefulShutdown,
}

/// A listener, and the connections that came in by it.
#[derive(Debug)]
pub(crate) struct Listener {
    tcp: TcpListener,
    entrance: Arc<Entrance>,
    places: Arc<Semaphore>,
    /// Of this listener alone: behind one address there may be patients, who must not keep ops out.
    addresses: Arc<Addresses>,
    serving: JoinSet<()>,
}

impl Listener {
    pub(crate) async fn bind(
        address: SocketAddr,
        entrance: Entrance,
        connections_max: usize,
        addresses: Arc<Addresses>,
    ) -> io::Result<Self> {
        Ok(Self {
            tcp: TcpListener::bind(address).await?,
            entrance: Arc::new(entrance),
            places: Arc::new(Semaphore::new(connections_max)),
            addresses,
            serving: JoinSet::new(),
        })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    pub(crate) fn entrance(&self) -> Arc<Entrance> {
        Arc::clone(&self.entrance)
    }

    /// Takes connections for as long as it is asked to.
    pub(crate) async fn take(&mut self, served: &Serving) -> Infallible {
        loop {
            // A connection beyond the cap is not taken: it waits in the kernel's queue, which is bounded too.
            let accepted = async {
                let permit = Arc::clone(&self.places).acquire_owned().await.expect("nobody closes it");
                (permit, self.tcp.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                accepted = accepted => accepted,
                Some(ended) = self.serving.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a connection's task failed");
                    }
                    continue;
                }
            };
            match accepted {
                Ok((stream, peer)) => {
                    let peer = Peer(peer.ip().to_canonical());
                    let place = if served.state.options.trusted_proxies.trusts(peer.0) {
                        None
                    } else {
                        let place = self.addresses.take(peer.0);
                        if place.is_none() {
                            // Dropping the stream closes it.
                            served.state.metrics.connections_refused.inc();
                            continue;
                        }
                        place
                    };
                    let connection = Connection::new(served, self.entrance(), peer, permit, place);
                    self.serving.spawn(connection.serve(stream, served.graceful.watcher()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Takes no more connections. Those that are open go on.
    pub(crate) fn close(self) -> JoinSet<()> {
        self.serving
    }
}
