//! What there is before a server starts: programs, a user, data, certificates.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use super::{DATA, INITDB, ROLE};
use crate::Tls;

/// Who may connect to a server that takes TLS.
const HBA: &str = "hostssl all all 127.0.0.1/32 trust clientcert=verify-full\nhostnossl all all 127.0.0.1/32 trust\n";
/// Where Debian's packages put the programs, one folder a version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The folder of the programs: that of the newest version installed.
pub(super) fn programs() -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))))
        .filter(|(_, programs)| programs.join("postgres").exists())
        .max();
    let found = newest
        .map(|(_, programs)| programs)
        .or_else(|| std::env::split_paths(&std::env::var_os("PATH")?).find(|folder| folder.join("postgres").exists()));
    found.context("PostgreSQL is not installed; install the Debian package postgresql")
}

/// Whom to run as: PostgreSQL refuses to run as root.
pub(super) fn server_user() -> anyhow::Result<Option<(u32, u32)>> {
    if fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").context("cannot read the list of users")?;
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let found = ids("postgres").or_else(|| ids("nobody"));
    found.map(Some).context("PostgreSQL refuses to run as root and there is no user postgres; create one")
}

pub(super) fn make_data(programs: &Path, folder: &Path, user: Option<(u32, u32)>) -> anyhow::Result<()> {
    let data = folder.join(DATA);
    // It is there when it is a disk of its own.
    if let (Some((user, group)), true) = (user, data.exists()) {
        chown(&data, Some(user), Some(group)).with_context(|| format!("cannot give away {}", data.display()))?;
    }
    let mut initdb = Command::new(programs.join("initdb"));
    initdb.args(["-A", "trust", "-U", ROLE, "--no-sync", "-D", DATA]).args(INITDB);
    initdb.current_dir(folder).stdin(Stdio::null());
    if let Some((user, group)) = user {
        initdb.uid(user).gid(group);
    }
    let output = initdb.output().context("cannot start initdb")?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        bail!("initdb failed in {}; can the user postgres reach that folder? It said:\n{told}", folder.display());
    }
    Ok(())
}

/// Settings for TLS. The server reads only files that are its user's own.
pub(super) fn secure(folder: &Path, user: Option<(u32, u32)>, tls: &Tls) -> anyhow::Result<Vec<(String, String)>> {
    let own = |name: &str, contents: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, contents).and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)))?;
        if let Some((user, group)) = user {
            chown(&path, Some(user), Some(group))?;
        }
        anyhow::Ok(path.display().to_string())
    };
    let copy = |name: &str, from: &Path| own(name, &fs::read(from).with_context(|| from.display().to_string())?);
    Ok(vec![
        ("ssl".to_owned(), "on".to_owned()),
        ("ssl_ca_file".to_owned(), copy("roots.pem", &tls.roots)?),
        ("ssl_cert_file".to_owned(), copy("certificate.pem", &tls.certificate)?),
        ("ssl_key_file".to_owned(), copy("key.pem", &tls.key)?),
        ("hba_file".to_owned(), own("pg_hba.conf", HBA.as_bytes())?),
    ])
}
