//! TLS for the listener, from files that may be replaced while it serves.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a client of [`Listener`] may take to agree on TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// How many of them may be about it at once.
const HANDSHAKES_MAX: usize = 256;

/// How long to wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where certificates lie, all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// This server's certificate, and those between it and a root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The roots that clients' certificates come from; with them, whoever shows none is not let in.
    pub client_roots: Option<PathBuf>,
}

/// Certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", path.display())]
pub struct Error {
    path: PathBuf,
    cause: String,
}

impl Error {
    fn of(path: &Path, cause: impl std::fmt::Display) -> Self {
        Self { path: path.to_owned(), cause: cause.to_string() }
    }
}

/// The certificates in use.
pub(crate) struct Tls {
    files: Files,
    /// What they had at the start.
    begun: Contents,
    config: ArcSwap<ServerConfig>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    pub(crate) fn open(files: Files) -> Result<Self, Error> {
        let begun = Contents::read(&files)?;
        let config = ArcSwap::from(load(&files, &begun)?);
        Ok(Self { files, begun, config })
    }

    /// For a connection that begins now.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }

    /// Takes over what is put into the files. Connections that are open keep what they began with; files that cannot be
    /// used are told, and change nothing.
    pub(crate) async fn follow(&self) {
        let mut known = self.begun.clone();
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            // Read between two renames, files may be missing or not belong together: they are looked at again.
            let Ok(now) = Contents::read(&self.files) else { continue };
            if known == now {
                continue;
            }
            match load(&self.files, &now) {
                Ok(config) => {
                    self.config.store(config);
                    tracing::info!(certificate = %self.files.certificate.display(), "new certificates are in use");
                }
                Err(error) => tracing::warn!(%error, "new certificates cannot be used; those before stay"),
            }
            known = now;
        }
    }
}

/// Takes TLS connections, for `axum::serve`. One client that is slow to agree holds up no other.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    tls: Arc<Tls>,
    handshakes: JoinSet<Option<(TlsStream<TcpStream>, SocketAddr)>>,
    _following: JoinSet<()>,
}

impl Listener {
    /// Takes connections that come to `tcp`, and takes over what is put into the files meanwhile.
    ///
    /// # Errors
    /// When the files cannot be used.
    pub fn new(tcp: TcpListener, files: Files) -> Result<Self, Error> {
        let tls = Arc::new(Tls::open(files)?);
        let followed = Arc::clone(&tls);
        let mut following = JoinSet::new();
        following.spawn(async move { followed.follow().await });
        Ok(Self { tcp, tls, handshakes: JoinSet::new(), _following: following })
    }
}

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                accepted = self.tcp.accept(), if self.handshakes.len() < HANDSHAKES_MAX => match accepted {
                    Ok((stream, peer)) => {
                        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.tls.acceptor().accept(stream));
                        self.handshakes.spawn(async move { Some((handshake.await.ok()?.ok()?, peer)) });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(ended) = self.handshakes.join_next() => {
                    if let Ok(Some(secured)) = ended {
                        return secured;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

/// What lay in the files when they were read. What is loaded is what is compared, so that no change between the two is missed.
#[derive(Clone, PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_roots: Option<Vec<u8>>,
}

impl Contents {
    fn read(files: &Files) -> Result<Self, Error> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| Error::of(path, error));
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            client_roots: files.client_roots.as_deref().map(read).transpose()?,
        })
    }
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| Error::of(path, error))?;
    if all.is_empty() { Err(Error::of(path, "there is no certificate in it; it must be PEM")) } else { Ok(all) }
}

fn load(files: &Files, contents: &Contents) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let certificates_of_server = certificates(&files.certificate, &contents.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|error| Error::of(&files.key, error))?;
    let versions = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = versions.map_err(|error| Error::of(&files.certificate, error))?;
    let builder = match files.client_roots.as_ref().zip(contents.client_roots.as_ref()) {
        None => builder.with_no_client_auth(),
        Some((path, pem)) => {
            let mut roots = RootCertStore::empty();
            for root in certificates(path, pem)? {
                roots.add(root).map_err(|error| Error::of(path, error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| Error::of(path, error))?)
        }
    };
    let config = builder.with_single_cert(certificates_of_server, key);
    let mut config =
        config.map_err(|error| Error::of(&files.certificate, format!("it does not fit its key: {error}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
