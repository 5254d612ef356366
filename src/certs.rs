//! `orderly certs`: certificates to try TLS with.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::keys::write_private;

/// Whom the certificate is for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Who it says that it is: PostgreSQL takes that for the role.
const NAME: &str = "orderly";

/// What the root is called.
const ROOT: &str = "Orderly's root to try TLS with";

/// Writes a certificate for this machine, good for a server and for a client, its key, and the root that signed it. A root
/// that an earlier call left in the folder signs again, so that whoever trusts it takes the new certificate.
///
/// # Errors
/// When the folder cannot be written, or the key of the root in it cannot be read.
pub(crate) fn dev(out: &Path) -> anyhow::Result<()> {
    const IMPOSSIBLE: &str = "no certificate can be made";
    std::fs::create_dir_all(out).with_context(|| format!("the folder {} cannot be made", out.display()))?;
    let at = |name: &str| out.join(name);
    let (roots, root_key) = (at("roots.pem"), at("roots.key"));
    let issuer = if root_key.exists() {
        let name = root_key.display();
        let pem = std::fs::read_to_string(&root_key).with_context(|| format!("{name} cannot be read"))?;
        let key = KeyPair::from_pem(&pem).with_context(|| format!("{name} is no key; remove it to have a new root"))?;
        Issuer::new(root_params(), key)
    } else {
        let key = KeyPair::generate().context(IMPOSSIBLE)?;
        write_private(&roots, &root_params().self_signed(&key).context(IMPOSSIBLE)?.pem())?;
        write_private(&root_key, &key.serialize_pem())?;
        Issuer::new(root_params(), key)
    };
    let signing = KeyPair::generate().context(IMPOSSIBLE)?;
    let mut params = CertificateParams::new(NAMES.map(String::from)).context(IMPOSSIBLE)?;
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let made = params.signed_by(&signing, &issuer).context(IMPOSSIBLE)?;
    let (certificate, key) = (at("certificate.pem"), at("key.pem"));
    // The key first: a server that looks in between finds a pair that does not fit, and looks again.
    write_private(&key, &signing.serialize_pem())?;
    write_private(&certificate, &made.pem())?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}\n{}\n{}", roots.display(), certificate.display(), key.display())?;
    Ok(())
}

fn root_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, ROOT);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
