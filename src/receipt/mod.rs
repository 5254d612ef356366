//! Receipts: proof that a request lay at its place in the log, for whoever does not want to take the hospital's word.
//!
//! The auditor publishes the root of a Merkle tree (RFC 6962, SHA-256) over the records that each partition got in a minute.
//! A receipt has the record and its path to such a root; who kept the root can verify it without any server.

mod cover;
mod publish;
mod roots;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ct_merkle::{InclusionProof, RootHash};
use orderly_domain::port::IntentLog;
use orderly_domain::port::log::{Delivery, Record};
use orderly_domain::{Command, Position, Timestamp, envelope};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::config::Config;
use crate::edges::Past;

pub(crate) use cover::{Cover, covers};
use cover::{Part, part};
pub(crate) use publish::Publishing;
use roots::{Root, Tree, covering};

/// Records that are read at once.
const PAGE: usize = 4_096;

/// The proof for one record, a line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Receipt {
    log: Position,
    logged_at: Timestamp,
    /// The record, base64url.
    record: String,
    /// The first offset under the root, and the first behind it.
    from: u64,
    to: u64,
    /// The hashes beside the way to the root, from the leaf up, base64url.
    path: String,
}

/// What a record is in the tree: its place, its time and its content, in one hash.
fn leaf(Record { position, logged_at, payload }: &Record) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(position.partition.to_be_bytes());
    hash.update(position.offset.to_be_bytes());
    hash.update(logged_at.as_micros().to_be_bytes());
    hash.update(payload);
    hash.finalize().into()
}

/// Reads the records of a range, in order. Calls for each one.
///
/// # Errors
/// When the log cannot be read, or has none at one of these offsets.
async fn read(
    log: &dyn IntentLog,
    partition: u16,
    range: std::ops::Range<u64>,
    mut each: impl FnMut(Record),
) -> anyhow::Result<()> {
    let mut reader = log.scan(&[(partition, range.start)]).await?;
    let mut next = range.start;
    while next < range.end {
        // A scan is not told of assignments.
        let Delivery::Records(records) = reader.next(PAGE).await? else { continue };
        for record in records {
            if next == range.end {
                break;
            }
            ensure!(record.position.offset == next, "the log has no record {partition}/{next}");
            each(record);
            next += 1;
        }
    }
    Ok(())
}

/// Prints the receipt of a record.
///
/// # Errors
/// When no published root covers it, or the log does not hold what was published.
pub(crate) async fn make(config: &Config, at: Position, roots: &Path) -> anyhow::Result<()> {
    let root = covering(roots, at)?;
    let past = Past::open(config).await?;
    let made = prove(&*past.log, at, &root).await;
    past.close().await;
    writeln!(std::io::stdout().lock(), "{}", serde_json::to_string(&made?)?)?;
    Ok(())
}

async fn prove(log: &dyn IntentLog, at: Position, root: &Root) -> anyhow::Result<Receipt> {
    ensure!(
        part(log, root).await? != Part::WithoutEnd,
        "the log ends before {}/{}, up to which it was published: records were lost",
        at.partition,
        root.to
    );
    let (mut tree, mut wanted) = (Tree::new(), None);
    let mut take = |record: Record| {
        tree.push(leaf(&record));
        if record.position == at {
            wanted = Some(record);
        }
    };
    read(log, at.partition, root.from..root.to, &mut take)
        .await
        .context("the log does not have all that the root covers; it may have aged")?;
    let record = wanted.context("the root does not cover this record")?;
    ensure!(
        root.is_of(&tree)?,
        "the log is not what was published of {}/{}..{}: records were changed since",
        at.partition,
        root.from,
        root.to
    );
    Receipt::of(&record, root.from..root.to, &tree)
}

/// Verifies a receipt against published roots, and prints what it proves. Asks no server.
///
/// # Errors
/// When it proves nothing. Says why.
pub(crate) fn verify(receipt: &str, roots: &Path) -> anyhow::Result<()> {
    let receipt: Receipt = serde_json::from_str(receipt.trim()).context("this is no receipt: a line of JSON")?;
    let root = covering(roots, receipt.log)?;
    let record = receipt.proven_by(&root)?;
    writeln!(std::io::stdout().lock(), "{}", receipt.tell(&record, &root))?;
    Ok(())
}

impl Receipt {
    /// The receipt of a record that lies in a tree over these offsets.
    fn of(record: &Record, covered: std::ops::Range<u64>, tree: &Tree) -> anyhow::Result<Self> {
        let path = tree.prove_inclusion(usize::try_from(record.position.offset - covered.start)?);
        Ok(Self {
            log: record.position,
            logged_at: record.logged_at,
            record: BASE64.encode(&record.payload),
            from: covered.start,
            to: covered.end,
            path: BASE64.encode(path.as_bytes()),
        })
    }

    /// The record, when it lay where the receipt says.
    fn proven_by(&self, root: &Root) -> anyhow::Result<Record> {
        ensure!(
            (root.from, root.to) == (self.from, self.to),
            "the root published for {} covers {}..{}, the receipt says {}..{}",
            self.log,
            root.from,
            root.to,
            self.from,
            self.to
        );
        let payload = BASE64.decode(&self.record).context("the receipt's record is not base64url")?;
        let record = Record { position: self.log, logged_at: self.logged_at, payload };
        let path = BASE64.decode(&self.path).context("the receipt's path is not base64url")?;
        let Ok(path) = InclusionProof::<Sha256>::try_from_bytes(path) else {
            bail!("the receipt's path is not made of hashes");
        };
        let published = RootHash::<Sha256>::new(root.digest()?.into(), root.to - root.from);
        if published.verify_inclusion(&leaf(&record), self.log.offset - root.from, &path).is_err() {
            bail!(
                "the receipt does not lead to the published root: its record, place or time is not what lay in the log"
            );
        }
        Ok(record)
    }

    fn tell(&self, record: &Record, root: &Root) -> String {
        let asked = match envelope::decode(&record.payload) {
            Ok(intent) => {
                let patient = intent.command.patient_id().map(|patient| format!(" for {patient}")).unwrap_or_default();
                let what = match intent.command {
                    Command::Book(_) => "a booking",
                    Command::Cancel(_) => "a cancellation",
                    Command::OpenSession(_) | Command::CloseSession(_) | Command::ChangeCapacity(_) => "a call of ops",
                };
                format!("{what} of {}{patient}", intent.command.session_id())
            }
            Err(_) => "a record that cannot be read".to_owned(),
        };
        format!(
            "proven: {asked}\nwas taken at {} as number {} of partition {}, behind everything with a smaller number; \
             published {}",
            self.logged_at, self.log.offset, self.log.partition, root.published_at
        )
    }
}
