//! TLS for clients that speak in clear: each of their connections goes on as one by TLS to a node, in a handshake of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::health;

/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// What speaks TLS to one node.
#[derive(Debug)]
pub(crate) struct Front {
    port: u16,
    to: Node,
    accepting: JoinHandle<()>,
}

#[derive(Clone)]
struct Node {
    address: SocketAddr,
    connector: TlsConnector,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address.fmt(f)
    }
}

impl Front {
    /// Listens on a free loopback port, on behalf of a node whose certificate these roots have signed.
    ///
    /// # Errors
    /// When the roots cannot be read, or no port is free.
    pub(crate) fn start(address: SocketAddr, roots_file: &Path) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate(roots_file)?)?;
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let to = Node { address, connector: TlsConnector::from(Arc::new(config)) };
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port for a front")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let accepting = tokio::spawn(accept(TcpListener::from_std(listener)?, to.clone()));
        Ok(Self { port, to, accepting })
    }

    /// Where clients find it, in clear.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A new connection to the node.
    ///
    /// # Errors
    /// When it does not listen, or shows no certificate of the roots.
    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        Ok(Connection(self.to.connect().await?))
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, node: Node) {
    loop {
        let Ok((mut client, _)) = listener.accept().await else { continue };
        let node = node.clone();
        tokio::spawn(async move {
            let _ = client.set_nodelay(true);
            // A node that is away leaves its client with a connection that breaks.
            if let Ok(mut server) = node.connect().await {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}

impl Node {
    async fn connect(&self) -> anyhow::Result<TlsStream<TcpStream>> {
        let connecting = async {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::IpAddress(self.address.ip().into());
            anyhow::Ok(self.connector.connect(name, stream).await?)
        };
        tokio::time::timeout(HANDSHAKE_MAX, connecting).await.context("no handshake in time")?
    }
}

/// An open connection to the node.
#[derive(Debug)]
pub(crate) struct Connection(TlsStream<TcpStream>);

impl Connection {
    /// The certificate that the node has shown.
    ///
    /// # Errors
    /// Never: there was a handshake.
    pub(crate) fn certificate(&self) -> anyhow::Result<CertificateDer<'static>> {
        let shown = self.0.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        Ok(shown.context("the node has shown no certificate")?.clone().into_owned())
    }

    /// Asks the node whether it lives, as the only one who asks on this connection.
    ///
    /// # Errors
    /// When it does not say so.
    pub(crate) async fn healthy(&mut self) -> anyhow::Result<()> {
        health::ask(&mut self.0).await.map(drop)
    }
}

/// The first certificate in a file.
///
/// # Errors
/// When there is none.
pub(crate) fn certificate(file: &Path) -> anyhow::Result<CertificateDer<'static>> {
    CertificateDer::from_pem_file(file).with_context(|| format!("there is no certificate in {}", file.display()))
}
