//! TLS at the servers.

use std::path::{Path, PathBuf};

/// Certificates with which a server listens on one more port, on which whoever shows no certificate of these roots is not let
/// in. Its port in clear stays, for the kit's own questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The roots of clients' certificates (PEM).
    pub roots: PathBuf,
    /// The server's certificate (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM, PKCS #8).
    pub key: PathBuf,
}

impl Tls {
    /// What `orderly certs dev` wrote into a folder.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        let at = |name: &str| folder.join(name);
        Self { roots: at("roots.pem"), certificate: at("certificate.pem"), key: at("key.pem") }
    }
}
