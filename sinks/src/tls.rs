//! TLS for the connections to servers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Whom to trust and who this node is. The files are PEM and are read anew for every connection, so that they can be replaced
/// at any time; connections that are open keep what they began with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// The roots that servers' certificates come from; the system's when `None`.
    pub roots: Option<PathBuf>,
    /// What this node shows to servers that ask who connects.
    pub identity: Option<Identity>,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and those between it and a root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Files that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("TLS to the servers: {}: {cause}", path.display())]
pub struct Error {
    path: PathBuf,
    cause: String,
}

impl Error {
    fn of(path: &Path, cause: impl std::fmt::Display) -> Self {
        Self { path: path.to_owned(), cause: cause.to_string() }
    }
}

impl ClientTls {
    /// For a connection that begins now.
    ///
    /// # Errors
    /// When a file cannot be read or used. Says which.
    pub fn config(&self) -> Result<ClientConfig, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows the default versions")
            .with_root_certificates(self.root_store()?);
        let Some(Identity { certificate, key }) = &self.identity else {
            return Ok(builder.with_no_client_auth());
        };
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| Error::of(key, error))?;
        builder
            .with_client_auth_cert(certificates(certificate)?, private)
            .map_err(|error| Error::of(certificate, format!("it does not fit its key: {error}")))
    }

    fn root_store(&self) -> Result<RootCertStore, Error> {
        let mut store = RootCertStore::empty();
        match &self.roots {
            Some(path) => {
                for root in certificates(path)? {
                    store.add(root).map_err(|error| Error::of(path, error))?;
                }
            }
            // What cannot be read or parsed of the system's is left out, as everywhere.
            None => {
                store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        Ok(store)
    }

    /// The same for Redis' client, which makes its own configuration.
    pub(crate) fn for_redis(&self) -> Result<redis::TlsCertificates, Error> {
        let read = |path: &PathBuf| std::fs::read(path).map_err(|error| Error::of(path, error));
        // Its configuration is made with the process' provider of cryptography. Whoever installed one before meant this one.
        let _ = aws_lc_rs::default_provider().install_default();
        // A mistake in a file is told here, by its name.
        self.config()?;
        let client_tls = match &self.identity {
            None => None,
            Some(Identity { certificate, key }) => {
                Some(redis::ClientTlsConfig { client_cert: read(certificate)?, client_key: read(key)? })
            }
        };
        Ok(redis::TlsCertificates { client_tls, root_cert: self.roots.as_ref().map(read).transpose()? })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.map_err(|error| Error::of(path, error))?;
    if all.is_empty() { Err(Error::of(path, "there is no certificate in it; it must be PEM")) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("empty.pem"), "no certificate\n").unwrap();
        for (name, cause) in [("nowhere.pem", "nowhere.pem"), ("empty.pem", "must be PEM")] {
            let roots = ClientTls { roots: Some(at(name)), identity: None };
            let told = roots.config().unwrap_err().to_string();
            assert!(told.contains(name) && told.contains(cause), "{told}");
            let identity = Some(Identity { certificate: at(name), key: at(name) });
            let told = ClientTls { roots: None, identity }.config().unwrap_err().to_string();
            assert!(told.contains(name), "{told}");
        }
    }
}
