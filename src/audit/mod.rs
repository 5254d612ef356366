//! The audit trail: which adapter keeps it, where its head is anchored, and the commands `orderly audit …`.

mod anchoring;
mod report;
mod verify;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use orderly_domain::Clock as _;
use orderly_domain::audit::Entry;
use orderly_domain::clock::System;
use orderly_domain::port::Audit;
use orderly_sinks::audit::{anchor, postgres, sqlite};

use crate::config::{Config, Profile};
use crate::serve::owner;

pub(crate) use anchoring::anchor;
pub(crate) use verify::verify;

/// Opens the trail of the configured profile for writing.
///
/// # Errors
/// When it cannot be opened. Says what to do.
pub(crate) async fn open(config: &Config) -> anyhow::Result<Arc<dyn Audit>> {
    Ok(match config.profile {
        Profile::Embedded => Arc::new(sqlite::Audit::open(&config.data, config.audit_sqlite_options())?),
        Profile::Distributed => {
            Arc::new(postgres::Audit::open(config.audit_postgres_options()).await.context("the audit trail")?)
        }
    })
}

/// Writes down what is done by a command, to what. A trail that is not reached keeps nobody from their keys: it is told, and
/// nothing more.
pub(crate) async fn note(config: &Config, command: &str, target: String) {
    // The first start of a server makes it; keys may be made before that.
    if config.profile == Profile::Embedded && !config.data.join(sqlite::FILE).exists() {
        return;
    }
    let noted = async {
        let entry = Entry { node: owner()?, ..Entry::system(System.now(), command, target, 1) };
        open(config).await?.append(&[entry]).await.context("the audit trail cannot be written")
    };
    if let Err(error) = noted.await {
        tracing::warn!("`{command}` is not in the audit trail, write it down: {error:#}");
    }
}

/// Opens the trail for reading, also while it is written.
async fn open_read_only(config: &Config) -> anyhow::Result<Arc<dyn Audit>> {
    Ok(match config.profile {
        Profile::Embedded => {
            let name = config.data.display();
            let audit = sqlite::Audit::open_read_only(&config.data);
            Arc::new(
                audit.with_context(|| format!("cannot open the audit trail in {name}; name its folder with --data"))?,
            )
        }
        Profile::Distributed => {
            let audit = postgres::Audit::open_read_only(config.audit_postgres_options()).await;
            Arc::new(audit.context("cannot open the audit trail")?)
        }
    })
}

/// Where this process anchors the head.
fn anchor_file(config: &Config) -> PathBuf {
    config.audit.anchor_file.clone().unwrap_or_else(|| config.data.join(anchor::FILE))
}

/// Prints the head of the chain.
///
/// # Errors
/// When the trail cannot be read.
pub(crate) async fn head(config: &Config) -> anyhow::Result<()> {
    let extent = open_read_only(config).await?.extent().await.context("the audit trail cannot be read")?;
    let head = extent.head;
    writeln!(std::io::stdout().lock(), "{} {} {}", head.seq, head.hash, head.at)?;
    Ok(())
}
