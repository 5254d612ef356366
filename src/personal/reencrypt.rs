//! `orderly keys reencrypt`: seals with the newest key what older ones sealed.

use std::io::Write as _;

use anyhow::{Context as _, bail};
use orderly_domain::personal::{Fields, Sealed};
use orderly_domain::port::store::Details;
use orderly_ingress::personal::Ring;

use super::list::{BATCH, count};
use super::{open_store, path, read};
use crate::audit;
use crate::bar::bar;
use crate::config::Config;

/// Goes through the store, a batch in a transaction. It can be stopped and begun again, and servers may be running. That it
/// began is noted in the audit trail.
///
/// # Errors
/// When the keys file cannot be used, the store cannot be read or written, or some rows cannot be opened; those stay as they
/// are, and the others are sealed anew.
pub(crate) async fn reencrypt(config: &Config) -> anyhow::Result<()> {
    let ring = read(&path(config))?.ring();
    let store = open_store(config, true).await?;
    let (_, rows) = count(&*store).await.context("the store cannot be read")?;
    audit::note(config, "orderly keys reencrypt", format!("to key {}", ring.sealing_id())).await;
    let bar = bar(rows, "looked at")?;
    let (mut resealed, mut unopened, mut after) = (0, 0_u64, None);
    loop {
        let page = store.details_after(after, BATCH).await.context("the store cannot be read")?;
        let Some(last) = page.last() else { break };
        after = Some(last.position);
        let mut changed = Vec::new();
        for row in &page {
            match anew(&ring, row) {
                Ok(None) => {}
                Ok(Some(details)) => changed.push(details),
                Err(cause) => {
                    unopened += 1;
                    tracing::error!(position = %row.position, "this row stays as it is: {cause}");
                }
            }
        }
        if !changed.is_empty() {
            resealed += store.reseal(&changed).await.context("the store cannot be written; run it again")?;
        }
        bar.inc(page.len() as u64);
    }
    bar.finish_and_clear();
    writeln!(std::io::stdout().lock(), "{rows} rows, {resealed} of them sealed anew with key {}", ring.sealing_id())?;
    if unopened > 0 {
        bail!("{unopened} rows cannot be opened and stay as they are; `orderly keys list` names the keys they need");
    }
    Ok(())
}

/// The row under the newest key; `None` when it is already.
fn anew(ring: &Ring, row: &Details) -> anyhow::Result<Option<Details>> {
    if row.fields.iter().all(|(_, sealed)| sealed.key_id() == Some(ring.sealing_id())) {
        return Ok(None);
    }
    let clear = row.fields.try_map(|field, sealed: &Sealed| ring.open(field, row.ticket, sealed))?;
    let fields: Fields<Sealed> = clear.try_map(|field, clear| ring.seal(field, row.ticket, clear))?;
    Ok(Some(Details { fields, ..row.clone() }))
}
