//! `orderly certs`: certificates to try TLS with.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;

use crate::keys::write_private;

/// Whom the certificate is for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Writes a certificate for this machine and its key into a folder.
///
/// # Errors
/// When the folder cannot be written.
pub(crate) fn dev(out: &Path) -> anyhow::Result<()> {
    let made = rcgen::generate_simple_self_signed(NAMES.map(String::from)).context("no certificate can be made")?;
    std::fs::create_dir_all(out).with_context(|| format!("the folder {} cannot be made", out.display()))?;
    let (certificate, key) = (out.join("certificate.pem"), out.join("key.pem"));
    // The key first: a server that looks in between finds a pair that does not fit, and looks again.
    write_private(&key, &made.signing_key.serialize_pem())?;
    write_private(&certificate, &made.cert.pem())?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}\n{}", certificate.display(), key.display())?;
    Ok(())
}
