//! TLS to a running server: whom to trust, and who asks.

use std::path::Path;

use anyhow::{Context as _, ensure};
use reqwest::{Certificate, ClientBuilder, Identity};

use crate::cli::ServerTls;

/// What to do about a server that is not spoken to by TLS.
pub(super) const ADVICE: &str = "; if its certificate comes from roots of your own, name them with --ca-file, and if it asks who \
                                 comes, show --certificate-file with --key-file";

/// What the options of the command line are called that name the files of [`ServerTls`].
pub(super) const BY_OPTIONS: [&str; 3] = ["--ca-file", "--certificate-file", "--key-file"];

/// A client that trusts the roots that are named, and shows the certificate that is. `called` is what names them.
///
/// # Errors
/// When a file cannot be read, or holds nothing of the kind.
pub(crate) fn trusting(mut http: ClientBuilder, tls: &ServerTls, called: [&str; 3]) -> anyhow::Result<ClientBuilder> {
    let [by_roots, by_certificate, by_key] = called;
    if let Some(path) = &tls.ca_file {
        let name = path.display();
        let roots = Certificate::from_pem_bundle(&read(path)?);
        let roots = roots.with_context(|| format!("{name} ({by_roots}) holds no certificates; they must be PEM"))?;
        ensure!(!roots.is_empty(), "there is no certificate in {name} ({by_roots}); it must be PEM");
        http = http.tls_certs_only(roots);
    }
    if let (Some(certificate), Some(key)) = (&tls.certificate_file, &tls.key_file) {
        let pair = [read(certificate)?, read(key)?].join(&b'\n');
        let (certificate, key) = (certificate.display(), key.display());
        let identity = Identity::from_pem(&pair).with_context(|| {
            format!("{certificate} ({by_certificate}) and {key} ({by_key}) cannot be used; both must be PEM")
        })?;
        http = http.identity(identity);
    }
    Ok(http)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("{} cannot be read; check path and rights", path.display()))
}
