//! TLS on the listener.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use orderly_ingress::auth::Role;
use orderly_ingress::{OpsListener, Options, tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::kit::{Kit, PATIENCE, keys, options};

/// A root, and what it has signed.
struct Root(CertifiedIssuer<'static, KeyPair>);

impl Root {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap(), key)
    }

    /// Writes a certificate for localhost into a folder. Each file appears complete or not at all.
    fn write(&self, folder: &Path) -> CertificateDer<'static> {
        let (certificate, key) = self.sign("localhost");
        for (name, text) in [("key.pem", key.serialize_pem()), ("certificate.pem", certificate.pem())] {
            std::fs::write(folder.join("draft"), text).unwrap();
            std::fs::rename(folder.join("draft"), folder.join(name)).unwrap();
        }
        certificate.der().clone()
    }

    /// Speaks TLS to a server, trusting this root.
    async fn connect(&self, kit: &Kit, identity: Option<(rcgen::Certificate, KeyPair)>) -> std::io::Result<Connected> {
        self.connect_to(kit.url.strip_prefix("http://").unwrap().parse().unwrap(), identity).await
    }

    async fn connect_to(
        &self,
        address: SocketAddr,
        identity: Option<(rcgen::Certificate, KeyPair)>,
    ) -> std::io::Result<Connected> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
                builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
            }
        };
        let stream = TcpStream::connect(address).await?;
        let name = "localhost".try_into().unwrap();
        Ok(Connected(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
    }
}

struct Connected(TlsStream<TcpStream>);

impl Connected {
    fn certificate(&self) -> CertificateDer<'_> {
        self.0.get_ref().1.peer_certificates().unwrap()[0].clone()
    }

    async fn status(&mut self) -> std::io::Result<String> {
        self.0.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
        let mut line = [0; 15];
        self.0.read_exact(&mut line).await?;
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Asks once, and reads the whole answer.
    async fn answer(mut self, call: &str, token: &str) -> std::io::Result<String> {
        let head = "HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer";
        self.0.write_all(format!("{call} {head} {token}\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        self.0.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

const OK: &str = "HTTP/1.1 200 OK";

fn files(folder: &Path) -> tls::Files {
    tls::Files { certificate: folder.join("certificate.pem"), key: folder.join("key.pem"), client_roots: None }
}

/// The header that has browsers come by TLS only.
const BY_TLS_ONLY: &str = "strict-transport-security: max-age=31536000\r\n";

async fn serving(files: tls::Files) -> Kit {
    Kit::with(Options { tls: Some(files), ..options() }, keys()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_replaced_while_it_serves() {
    let (folder, root) = (tempfile::tempdir().unwrap(), Root::new());
    let first = root.write(folder.path());
    let kit = serving(files(folder.path())).await;
    let mut before = root.connect(&kit, None).await.unwrap();
    assert_eq!(before.certificate(), first);
    assert_eq!(before.status().await.unwrap(), OK);
    kit.client.get(format!("{}/healthz", kit.url)).send().await.expect_err("plain HTTP is not spoken");
    Root::new().connect(&kit, None).await.err().expect("another root has not signed it");

    // What cannot be used changes nothing.
    std::fs::write(folder.path().join("certificate.pem"), "nothing").unwrap();
    let second = root.write(folder.path());
    while root.connect(&kit, None).await.unwrap().certificate() != second {}
    // What is left of the first answer comes first.
    let mut rest = vec![0; 4_096];
    assert!(before.0.read(&mut rest).await.unwrap() > 0);
    assert_eq!(before.status().await.unwrap(), OK, "connections that are open go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_roots_for_clients_only_theirs_are_let_in() {
    let (folder, root, clients) = (tempfile::tempdir().unwrap(), Root::new(), Root::new());
    root.write(folder.path());
    let roots = folder.path().join("clients.pem");
    std::fs::write(&roots, clients.0.pem()).unwrap();
    let kit = serving(tls::Files { client_roots: Some(roots), ..files(folder.path()) }).await;
    let mut node = root.connect(&kit, Some(clients.sign("node-1"))).await.unwrap();
    assert_eq!(node.status().await.unwrap(), OK);
    for stranger in [None, Some(root.sign("node-1"))] {
        // In TLS 1.3 a client hears only afterwards that it is refused.
        let refused = match root.connect(&kit, stranger).await {
            Ok(mut connected) => connected.status().await.is_err(),
            Err(_) => true,
        };
        assert!(refused);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_are_told_to_come_by_tls_only() {
    let (folder, root) = (tempfile::tempdir().unwrap(), Root::new());
    root.write(folder.path());
    let kit = serving(files(folder.path())).await;
    for path in ["/", "/healthz", "/nowhere"] {
        let answer = root.connect(&kit, None).await.unwrap().answer(&format!("GET {path}"), "none").await.unwrap();
        assert!(answer.contains(BY_TLS_ONLY), "{answer}");
    }
    let plain = Kit::start().await.ask(reqwest::Method::GET, "/").send().await.unwrap();
    assert!(!plain.headers().contains_key("strict-transport-security"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ops_have_a_listener_of_their_own_whose_roots_are_replaced_while_it_serves() {
    let (folder, root, clients) = (tempfile::tempdir().unwrap(), Root::new(), Root::new());
    root.write(folder.path());
    let roots = folder.path().join("clients.pem");
    std::fs::write(&roots, clients.0.pem()).unwrap();
    let tls = tls::Files { client_roots: Some(roots.clone()), ..files(folder.path()) };
    let ops = OpsListener { listen: "127.0.0.1:0".parse().unwrap(), tls };
    let kit = Kit::with(Options { ops: Some(ops), ..options() }, keys()).await;
    let address = kit.ops_address.unwrap();
    let (ops, patient) = (kit.token("amy", Role::Ops), kit.token("ann", Role::Patient));
    let answer = async |call: &str, token: &str| {
        let connected = root.connect_to(address, Some(clients.sign("amy"))).await.unwrap();
        connected.answer(call, token).await.unwrap()
    };
    let is_let_in = async |identity| match root.connect_to(address, identity).await {
        Ok(mut connected) => connected.status().await.is_ok(),
        Err(_) => false,
    };

    // Patients' listener has nothing of theirs, whatever the token says.
    for path in ["/v1/policy", "/v1/pipeline", "/v1/audit", "/v1/reports", "/metrics", "/ops", "/reports"] {
        let told = kit.ask(reqwest::Method::GET, path).bearer_auth(&ops).send().await.unwrap();
        assert_eq!(told.status(), 404, "{path}");
    }
    for path in ["/healthz", "/readyz", "/v1/sessions"] {
        assert_eq!(kit.ask(reqwest::Method::GET, path).send().await.unwrap().status(), 200, "{path}");
        assert!(answer(&format!("GET {path}"), "none").await.starts_with(OK), "{path}");
    }
    // Theirs asks for a certificate and for a token, and has nothing of patients.
    assert!(answer("GET /v1/policy", &ops).await.starts_with(OK));
    assert!(answer("GET /metrics", "none").await.starts_with(OK));
    assert!(answer("GET /v1/policy", "none").await.starts_with("HTTP/1.1 401"));
    assert!(answer("POST /v1/bookings", &patient).await.starts_with("HTTP/1.1 404"));
    assert!(!answer("GET /healthz", "none").await.contains(BY_TLS_ONLY), "patients come in clear");
    assert!(!is_let_in(None).await && !is_let_in(Some(root.sign("amy"))).await);

    // Other roots from now on.
    let successors = Root::new();
    std::fs::write(&roots, successors.0.pem()).unwrap();
    let taken_over = async { while !is_let_in(Some(successors.sign("bob"))).await {} };
    tokio::time::timeout(PATIENCE, taken_over).await.expect("the new roots are taken over");
    assert!(!is_let_in(Some(clients.sign("amy"))).await, "the roots before sign for nobody any more");
}

/// Patients and ops may come from one address, that of the hospital's way out.
#[tokio::test(flavor = "multi_thread")]
async fn patients_do_not_take_the_places_of_ops_at_their_address() {
    let (folder, root, clients) = (tempfile::tempdir().unwrap(), Root::new(), Root::new());
    root.write(folder.path());
    let roots = folder.path().join("clients.pem");
    std::fs::write(&roots, clients.0.pem()).unwrap();
    let tls = tls::Files { client_roots: Some(roots), ..files(folder.path()) };
    let ops = OpsListener { listen: "127.0.0.1:0".parse().unwrap(), tls };
    let kit = Kit::with(Options { ops: Some(ops), connections_per_address_max: 1, ..options() }, keys()).await;
    let mut patient = TcpStream::connect(kit.url.strip_prefix("http://").unwrap()).await.unwrap();
    patient.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    patient.read_exact(&mut [0]).await.unwrap();
    let connected = root.connect_to(kit.ops_address.unwrap(), Some(clients.sign("amy"))).await.unwrap();
    assert!(connected.answer("GET /metrics", "none").await.unwrap().starts_with(OK));
}
