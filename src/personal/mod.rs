//! The keys of personal data: read, made where that is right, followed while a server runs, and `orderly keys`.

mod file;
mod list;
mod reencrypt;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use orderly_domain::clock::{Clock as _, System};
use orderly_domain::personal::Pseudonyms;
use orderly_domain::port::Store;
use orderly_ingress::personal::Keys;
use orderly_sinks::store;
use prometheus::Registry;

use crate::audit;
use crate::config::{Config, Profile};
use crate::keys::{read_text, write_private};
use file::File;

pub(crate) use list::list;
pub(crate) use reencrypt::reencrypt;

/// The file in the data folder, where none is configured.
const KEYS: &str = "personal.keys";

/// How often a server looks for new keys.
const LOOK_EVERY: Duration = Duration::from_secs(2);

fn path(config: &Config) -> PathBuf {
    config.personal.keys_file.clone().unwrap_or_else(|| config.data.join(KEYS))
}

fn read(path: &Path) -> anyhow::Result<File> {
    File::parse(&read_text(path)?).with_context(|| cannot_be_used(path))
}

fn cannot_be_used(path: &Path) -> String {
    format!("the keys of personal data in {} cannot be used", path.display())
}

/// The pseudonyms of patients, for what is shared with other processes.
///
/// # Errors
/// When the keys file cannot be read or used.
pub(crate) fn pseudonyms(config: &Config) -> anyhow::Result<Pseudonyms> {
    let path = path(config);
    read(&path)?.pseudonyms().with_context(|| cannot_be_used(&path))
}

/// The keys that a server seals and opens with. Without a configured file they are kept in the data folder, and made there once;
/// not when the store has data that other keys sealed.
///
/// # Errors
/// When the keys cannot be read, made or used.
pub(crate) async fn open(config: &Config, demo: bool, store: &dyn Store) -> anyhow::Result<Keys> {
    let path = path(config);
    if config.personal.keys_file.is_none() {
        if !path.exists() {
            let sealed = store.details_after(None, 1).await.context("the store cannot be read")?;
            ensure!(
                sealed.is_empty(),
                "there is no {}, but the store has patients' data that its keys sealed: put the file back, or name it by \
                 personal.keys_file. Without it they cannot be read any more (docs/ops/keys.md)",
                path.display()
            );
            write_private(&path, &File::fresh(System.now())?)?;
        }
        if !demo {
            tracing::warn!(
                "the keys of personal data lie beside what they seal, in {}; keep them elsewhere and name them by \
                 personal.keys_file",
                path.display()
            );
        }
    }
    Ok(Keys::new(read(&path)?.ring()))
}

/// Takes over what is put into the keys file while a server runs. A file that cannot be used is told, and changes nothing.
pub(crate) async fn follow(config: Config, keys: Keys) {
    let path = path(&config);
    let mut known = std::fs::read(&path).ok();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        let Ok(now) = std::fs::read(&path) else { continue };
        if known.as_ref() == Some(&now) {
            continue;
        }
        match read(&path) {
            Ok(file) => {
                let ring = file.ring();
                tracing::info!(key = ring.sealing_id(), "personal data is sealed with this key from now on");
                keys.replace(ring);
            }
            Err(error) => tracing::warn!("{error:#}; the keys before stay in use"),
        }
        known = Some(now);
    }
}

/// Adds a key that seals from now on, in the keys file; makes the file when there is none. It is noted in the audit trail. Says
/// what to do next.
///
/// # Errors
/// When the file cannot be read, used or written.
pub(crate) async fn rotate(config: &Config) -> anyhow::Result<String> {
    const COMMAND: &str = "orderly keys rotate";
    let path = path(config);
    let name = path.display();
    if !path.exists() {
        write_private(&path, &File::fresh(System.now())?)?;
        audit::note(config, COMMAND, "key 1".to_owned()).await;
        return Ok(format!("made {name} with key 1; give it to every node, and keep a copy where the data are not"));
    }
    let text = read_text(&path)?;
    let (rotated, id) = file::rotated(&text, System.now()).with_context(|| cannot_be_used(&path))?;
    write_private(&path, &rotated)?;
    audit::note(config, COMMAND, format!("key {id}")).await;
    Ok(format!(
        "key {id} seals from now on; servers that read {name} take it over within seconds, without a restart\n\
         next: copy the file to nodes that have their own, then `orderly keys reencrypt`; `orderly keys list` says when an \
         old key may go"
    ))
}

/// The configured store: to write it, or only to read it.
async fn open_store(config: &Config, writes: bool) -> anyhow::Result<Box<dyn Store>> {
    match config.profile {
        Profile::Embedded => {
            let data = &config.data;
            ensure!(
                data.join(store::sqlite::FILE).exists(),
                "there is no store in {}; name its folder with --data",
                data.display()
            );
            let hint = || format!("cannot open the store in {}", data.display());
            if writes {
                let store = store::sqlite::Store::open(data, config.store_options(), &Registry::new());
                return Ok(Box::new(store.with_context(hint)?));
            }
            Ok(Box::new(store::sqlite::Store::open_read_only(data).with_context(hint)?))
        }
        Profile::Distributed => {
            let store = store::postgres::Store::open(config.postgres_options(), &Registry::new()).await;
            Ok(Box::new(store.context("cannot open the store")?))
        }
    }
}
