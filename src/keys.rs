//! The keys of the process: those that verify tokens, and those that sign tickets.

use std::collections::HashSet;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orderly_domain::ticket;
use orderly_ingress::auth::{Algorithm, Keys, Names};

use crate::config::Config;

/// The file in the data folder with the secret that signs a demo's tokens.
const DEMO_KEY: &str = "demo.key";

/// What its content begins with, so that it is known wherever it is copied to.
const DEMO_MARK: &str = "demo:";

/// How many bytes of a secret differ, at least. Of 32 random ones even in hexadecimal fewer never come together.
const DISTINCT_MIN: usize = 8;

/// The file in the data folder with the keys that sign tickets.
const TICKET_KEYS: &str = "ticket.keys";

/// Random bytes of a secret that is made here.
const SECRET_BYTES: usize = 48;

/// The keys for `orderly serve`. In a demo without a configured key, one is made in the data folder.
///
/// # Errors
/// When no key is configured and it is no demo, or the key cannot be used.
pub(crate) fn for_server(config: &Config, demo: bool) -> anyhow::Result<Keys> {
    if config.auth.jwks_url.is_some() {
        ensure!(!demo, "--demo gives out tokens itself: leave auth.jwks_url out, or start without --demo");
        ensure!(config.auth.key_file.is_none(), "auth.key_file and auth.jwks_url are both set; leave one out");
        return Ok(Keys::of_provider(names(config)));
    }
    match &config.auth.key_file {
        Some(_) if demo && config.auth.algorithm != Algorithm::HS256 => bail!(
            "--demo gives out tokens, which takes a secret: set auth.algorithm to HS256, or leave auth.key_file out, or \
             start without --demo"
        ),
        Some(path) => {
            if !demo && config.auth.algorithm == Algorithm::HS256 {
                refuse_known(config, path)?;
            }
            configured(config, path)
        }
        None if demo => {
            let path = config.data.join(DEMO_KEY);
            create_when_missing(&path, || Ok(format!("{DEMO_MARK}{}\n", random(SECRET_BYTES)?)))?;
            demo_key(config, &path)
        }
        None => bail!(
            "there is no key to verify tokens with. Make a secret and name its file:\n  \
             head -c 48 /dev/urandom | base64 > auth.key && chmod 600 auth.key\n  \
             ORDERLY_AUTH__KEY_FILE=auth.key orderly serve\n\
             or set auth.key_file and auth.algorithm in the configuration file to use a public key, or try Orderly out \
             with `orderly serve --demo`"
        ),
    }
}

/// Refuses a secret that others may know: a demo gives out tokens to whoever asks, and what is hardly random can be guessed.
fn refuse_known(config: &Config, path: &Path) -> anyhow::Result<()> {
    const ADVICE: &str = "make one with: head -c 48 /dev/urandom | base64 > auth.key && chmod 600 auth.key";
    let key = read(path)?;
    let secret = key.trim_ascii();
    // One that an earlier version made has no mark.
    let demo = std::fs::read(config.data.join(DEMO_KEY)).is_ok_and(|demo| demo.trim_ascii() == secret);
    ensure!(
        !demo && !secret.starts_with(DEMO_MARK.as_bytes()),
        "the secret in {} (auth.key_file) is a demo's, with which anybody may have been given a token of any role; {ADVICE}",
        path.display()
    );
    let distinct = secret.iter().collect::<HashSet<_>>().len();
    ensure!(
        secret.len() < Keys::SECRET_BYTES_MIN || distinct >= DISTINCT_MIN,
        "the secret in {} (auth.key_file) is not random: only {distinct} of its bytes differ; {ADVICE}",
        path.display()
    );
    Ok(())
}

/// The keys for `orderly token`: the configured secret, else the demo's.
///
/// # Errors
/// When there is neither, or it cannot sign.
pub(crate) fn for_minting(config: &Config) -> anyhow::Result<Keys> {
    match &config.auth.key_file {
        Some(path) => configured(config, path),
        None => {
            let path = config.data.join(DEMO_KEY);
            ensure!(
                path.exists(),
                "there is no key to sign with: set auth.key_file (HS256), or start `orderly serve --demo` once to have \
                 one made in {}",
                config.data.display()
            );
            demo_key(config, &path)
        }
    }
}

fn names(config: &Config) -> Names {
    Names { issuer: config.auth.issuer.clone(), audience: config.auth.audience.clone() }
}

fn configured(config: &Config, path: &Path) -> anyhow::Result<Keys> {
    let key = read(path)?;
    let keys = match config.auth.algorithm {
        Algorithm::HS256 => Keys::from_secret(key.trim_ascii(), names(config)),
        algorithm => Keys::from_pem(algorithm, &key, names(config)),
    };
    keys.with_context(|| format!("the key in {} (auth.key_file) cannot be used", path.display()))
}

fn demo_key(config: &Config, path: &Path) -> anyhow::Result<Keys> {
    Keys::from_secret(read(path)?.trim_ascii(), names(config))
        .with_context(|| format!("{} cannot be used; remove it to have another made", path.display()))
}

/// The codec of the tickets. Without a configured file, its keys are kept in the data folder, and made there once.
///
/// # Errors
/// When the keys cannot be read, made or used.
pub(crate) fn ticket_codec(config: &Config) -> anyhow::Result<ticket::Codec> {
    let path = match &config.ticket.keys_file {
        Some(path) => path.clone(),
        None => {
            let path = config.data.join(TICKET_KEYS);
            create_when_missing(&path, || {
                Ok(format!(
                    "# Signs tickets: ID BASE64. To rotate, put a line with a new ID first.\n1 {}\n",
                    random(SECRET_BYTES)?
                ))
            })?;
            path
        }
    };
    let text = read_text(&path)?;
    parse_ticket_keys(&text).with_context(|| format!("the ticket keys in {} cannot be used", path.display()))
}

fn parse_ticket_keys(text: &str) -> anyhow::Result<ticket::Codec> {
    let mut keys = Vec::<ticket::Key>::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = parse_ticket_key(line).with_context(|| format!("line {}", index + 1))?;
        ensure!(keys.iter().all(|other| other.id() != key.id()), "ID {} comes twice; give each key its own", key.id());
        keys.push(key);
    }
    ensure!(!keys.is_empty(), "there is no key; add a line `ID BASE64`, or remove the file to have one made");
    let signing = keys.remove(0);
    Ok(ticket::Codec::new(signing, keys))
}

fn parse_ticket_key(line: &str) -> anyhow::Result<ticket::Key> {
    let (id, secret) = line.split_once(char::is_whitespace).context("write it as `ID BASE64`")?;
    let id = id.parse().context("the ID must be a number from 0 to 255")?;
    // The cause would show a part of the key.
    let secret = STANDARD.decode(secret.trim()).map_err(|_| anyhow!("the key is not base64"))?;
    ticket::Key::new(id, &secret)
        .with_context(|| format!("the key has {} bytes; make it at least {}", secret.len(), ticket::Key::BYTES_MIN))
}

/// A key file's text.
///
/// # Errors
/// When it cannot be read, or is no text.
pub(crate) fn read_text(path: &Path) -> anyhow::Result<String> {
    String::from_utf8(read(path)?).map_err(|_| anyhow!("{} is not text", path.display()))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let name = path.display();
    let key =
        std::fs::read(path).with_context(|| format!("the key file {name} cannot be read; check path and rights"))?;
    let mode =
        std::fs::metadata(path).with_context(|| format!("the key file {name} cannot be looked at"))?.permissions();
    if mode.mode() & 0o077 != 0 {
        tracing::warn!("others may read the key file {name}; run: chmod 600 {name}");
    }
    Ok(key)
}

/// So many random bytes, as base64.
///
/// # Errors
/// When the system has none.
pub(crate) fn random(bytes: usize) -> anyhow::Result<String> {
    let mut secret = vec![0; bytes];
    getrandom::fill(&mut secret).map_err(|cause| anyhow!("the system has no random numbers: {cause}"))?;
    Ok(STANDARD.encode(secret))
}

/// Writes a file that only its owner can read, unless there is one.
fn create_when_missing(path: &Path, content: impl FnOnce() -> anyhow::Result<String>) -> anyhow::Result<()> {
    if path.exists() { Ok(()) } else { write_private(path, &content()?) }
}

/// Writes a file that only its owner can read, in place of any before it. It appears complete or not at all.
///
/// # Errors
/// When its folder cannot be written.
pub(crate) fn write_private(path: &Path, content: &str) -> anyhow::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .map_or_else(|| PathBuf::from("."), Path::to_owned);
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(&folder)?;
        let draft = path.with_extension("draft");
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&draft, path)?;
        std::fs::File::open(&folder)?.sync_all()
    };
    write().with_context(|| format!("{} cannot be made; check that the folder can be written", path.display()))
}

#[cfg(test)]
mod tests {
    use confique::{Config as _, Layer as _};
    use orderly_domain::clock::{Clock as _, System};
    use orderly_domain::{Position, Timestamp};
    use orderly_ingress::auth::{Grant, Role};

    use super::*;

    fn config(data: &Path) -> Config {
        let mut config = Config::from_layer(<Config as confique::Config>::Layer::default_values()).expect("complete");
        config.data = data.to_owned();
        config
    }

    fn complaint<T: std::fmt::Debug>(result: anyhow::Result<T>) -> String {
        format!("{:#}", result.expect_err("refused"))
    }

    fn secret(byte: u8) -> String {
        STANDARD.encode([byte; 32])
    }

    #[test]
    fn without_a_key_only_a_demo_starts() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(&folder.path().join("new"));
        let told = complaint(for_server(&config, false));
        assert!(told.contains("ORDERLY_AUTH__KEY_FILE") && told.contains("--demo"), "{told}");
        assert!(!config.data.exists(), "nothing is made");
        assert!(complaint(for_minting(&config)).contains("auth.key_file"));

        let keys = for_server(&config, true).expect("a demo makes its key");
        let mode = std::fs::metadata(config.data.join(DEMO_KEY)).expect("made").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (now, hour) = (System.now(), std::time::Duration::from_secs(3_600));
        let minting = for_minting(&config).expect("the demo's key");
        let token =
            minting.mint(Grant::plain(&"ann".parse().expect("valid"), Role::Ops), now, hour).expect("a secret signs");
        assert!(keys.read(&token).expect("the same key").roles.has(Role::Ops));
        for_server(&config, true).expect("a second start").read(&token).expect("still the same key");
    }

    #[test]
    fn a_key_file_is_used_or_refused_with_the_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = config(folder.path());
        let path = folder.path().join("auth.key");
        config.auth.key_file = Some(path.clone());
        assert!(complaint(for_server(&config, false)).contains("cannot be read"));
        std::fs::write(&path, "hunter2hunter2\n").expect("writable");
        let told = complaint(for_server(&config, false));
        assert!(told.contains("at least 32 bytes") && !told.contains("hunter2"), "{told}");
        let good = random(SECRET_BYTES).expect("random numbers");
        std::fs::write(&path, &good).expect("writable");
        for_server(&config, false).expect("long enough");
        config.auth.algorithm = Algorithm::ES256;
        let told = complaint(for_server(&config, false));
        assert!(told.contains("PEM") && !told.contains(&good), "{told}");
        assert!(complaint(for_server(&config, true)).contains("HS256"));
    }

    #[test]
    fn what_others_may_know_is_refused_outside_a_demo() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = config(folder.path());
        for_server(&config, true).expect("a demo makes its key");
        let demo = folder.path().join(DEMO_KEY);
        let (copy, elsewhere) = (folder.path().join("auth.key"), tempfile::tempdir().expect("a folder"));
        std::fs::copy(&demo, &copy).expect("copied");
        for (path, data) in [(&demo, folder.path()), (&copy, folder.path()), (&copy, elsewhere.path())] {
            (config.auth.key_file, config.data) = (Some(path.clone()), data.to_owned());
            let told = complaint(for_server(&config, false));
            assert!(told.contains("is a demo's") && told.contains("/dev/urandom"), "{told}");
            for_server(&config, true).expect("a demo takes it");
        }
        // As an earlier version made it.
        let unmarked = random(SECRET_BYTES).expect("random numbers");
        for path in [&demo, &copy] {
            std::fs::write(path, &unmarked).expect("writable");
        }
        config.data = folder.path().to_owned();
        assert!(complaint(for_server(&config, false)).contains("is a demo's"));
        config.data = elsewhere.path().to_owned();
        for_server(&config, false).expect("as good as any");

        for weak in ["x".repeat(64), "secret".repeat(10), "0".repeat(32) + "1234", secret(7)] {
            std::fs::write(&copy, &weak).expect("writable");
            let told = complaint(for_server(&config, false));
            assert!(told.contains("is not random") && !told.contains(&weak), "{told}");
        }
    }

    #[test]
    fn tickets_survive_a_restart_and_a_rotation() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        let patient = "ann".parse().expect("valid");
        let handle = ticket::Handle {
            id: ticket::Id::derive(&patient, "k"),
            position: Position { partition: 1, offset: 2 },
            logged_at: Timestamp::from_millis(3),
            session_id: "s".parse().expect("valid"),
        };
        let held = ticket_codec(&config).expect("keys are made").encode(&handle, &patient);
        assert_eq!(ticket_codec(&config).expect("keys are kept").decode(&held, &patient), Ok(handle.clone()));
        let path = folder.path().join(TICKET_KEYS);
        assert_eq!(std::fs::metadata(&path).expect("made").permissions().mode() & 0o777, 0o600);

        let before = std::fs::read_to_string(&path).expect("text");
        std::fs::write(&path, format!("2 {}\n{before}", secret(2))).expect("writable");
        let rotated = ticket_codec(&config).expect("two keys");
        assert_eq!(rotated.decode(&held, &patient), Ok(handle.clone()));
        std::fs::write(&path, before).expect("writable");
        let old = ticket_codec(&config).expect("one key");
        assert_eq!(
            old.decode(&rotated.encode(&handle, &patient), &patient),
            Err(ticket::Unknown),
            "the first line signs"
        );
    }

    #[test]
    fn ticket_keys_that_cannot_be_used_are_named_by_line() {
        for (text, expected) in [
            (String::new(), "there is no key"),
            ("# one\n\nabc".into(), "line 3: write it as"),
            (format!("300 {}", secret(1)), "line 1: the ID must be"),
            ("1 ????".into(), "not base64"),
            ("1 c2hvcnQ=".into(), "5 bytes; make it at least 32"),
            (format!("1 {}\n1 {}", secret(1), secret(2)), "ID 1 comes twice"),
        ] {
            let told = complaint(parse_ticket_keys(&text));
            assert!(told.contains(expected), "{told}");
        }
    }
}
