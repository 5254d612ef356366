//! The audit trail: which adapter keeps it, where its head is anchored, and the commands `orderly audit …`.

mod anchoring;
mod report;
mod verify;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use orderly_domain::port::Audit;
use orderly_sinks::audit::{anchor, postgres, sqlite};

use crate::config::{Config, Profile};

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
