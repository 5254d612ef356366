//! The published roots: a file of lines, each of which names the one before it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use orderly_domain::{Partition, Position, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub(super) type Tree = MemoryBackedTree<Sha256, [u8; 32]>;

/// The root over some records of a partition, a line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Root {
    pub(super) partition: Partition,
    /// The first offset under it.
    pub(super) from: u64,
    /// The first that is not.
    pub(super) to: u64,
    pub(super) published_at: Timestamp,
    /// SHA-256, base64url.
    root: String,
    /// SHA-256 of the line before this one, base64url; empty in the first.
    before: String,
}

impl Root {
    pub(super) fn digest(&self) -> anyhow::Result<[u8; 32]> {
        let bytes = BASE64.decode(&self.root).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.with_context(|| format!("the root of {}/{} is not a hash", self.partition, self.from))
    }

    pub(super) fn is_of(&self, tree: &Tree) -> anyhow::Result<bool> {
        Ok(tree.len() == self.to - self.from && self.digest()? == digest(tree))
    }
}

fn digest(tree: &Tree) -> [u8; 32] {
    (*tree.root().as_bytes()).into()
}

/// Reads a file of roots, and checks that no line was changed or taken out of its middle, and that none covers again what one
/// before it covers. A last line that was not finished was never published. Returns the hash of the last line, and how many
/// bytes are whole lines.
///
/// # Errors
/// When it cannot be read, or its lines are not a chain.
fn walk(path: &Path, mut each: impl FnMut(Root)) -> anyhow::Result<(String, u64)> {
    let file = File::open(path).with_context(|| format!("cannot read the roots in {}", path.display()))?;
    let (mut lines, mut line) = (BufReader::new(file), String::new());
    let (mut head, mut bytes) = (String::new(), 0);
    let mut covered: BTreeMap<Partition, u64> = BTreeMap::new();
    for number in 1_u64.. {
        line.clear();
        lines.read_line(&mut line).with_context(|| format!("cannot read the roots in {}", path.display()))?;
        let Some(whole) = line.strip_suffix('\n') else { break };
        let root: Root =
            serde_json::from_str(whole).with_context(|| format!("line {number} of {} is no root", path.display()))?;
        ensure!(
            root.before == head && root.from < root.to,
            "line {number} of {} does not follow from the one before it: the file was changed",
            path.display()
        );
        ensure!(
            covered.insert(root.partition, root.to).is_none_or(|covered| covered <= root.from),
            "line {number} of {} is a second root over records that have one",
            path.display()
        );
        head = BASE64.encode(Sha256::digest(whole.as_bytes()));
        bytes += line.len() as u64;
        each(root);
    }
    Ok((head, bytes))
}

/// The published root over a record.
///
/// # Errors
/// When there is none, or the file was changed.
pub(super) fn covering(path: &Path, at: Position) -> anyhow::Result<Root> {
    let mut found = None;
    walk(path, |root| {
        if root.partition == at.partition && (root.from..root.to).contains(&at.offset) {
            found = Some(root);
        }
    })?;
    found.with_context(|| format!("no root was published yet that covers record {at}"))
}

/// The published roots that cover any of these records of a partition.
///
/// # Errors
/// When the file cannot be read, or was changed.
pub(super) fn over(path: &Path, partition: Partition, offsets: &BTreeSet<u64>) -> anyhow::Result<Vec<Root>> {
    let mut found = Vec::new();
    walk(path, |root| {
        if root.partition == partition && offsets.range(root.from..root.to).next().is_some() {
            found.push(root);
        }
    })?;
    Ok(found)
}

/// The file of roots, to go on with.
#[derive(Debug)]
pub(super) struct Roots {
    file: File,
    /// The hash of the last line.
    head: String,
    /// The first offset of each partition that no root covers.
    next: BTreeMap<Partition, u64>,
}

impl Roots {
    /// Goes on with a file, or begins one.
    ///
    /// # Errors
    /// When it cannot be written, was changed, or another process writes it.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("cannot publish roots in {}", path.display());
        let file = File::options().create(true).append(true).read(true).open(path).with_context(cannot)?;
        file.try_lock().context("another process publishes there").with_context(cannot)?;
        let mut next = BTreeMap::new();
        let walked = walk(path, |root| {
            next.insert(root.partition, root.to);
        });
        let (head, bytes) = walked.with_context(cannot)?;
        // What a crash left of a line.
        file.set_len(bytes).with_context(cannot)?;
        Ok(Self { file, head, next })
    }

    /// The first offset of a partition that no root covers.
    pub(super) fn next(&self, partition: Partition) -> u64 {
        self.next.get(&partition).copied().unwrap_or(0)
    }

    /// Publishes one more: it is on the disk when this returns.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn publish(
        &mut self,
        partition: Partition,
        from: u64,
        tree: &Tree,
        published_at: Timestamp,
    ) -> anyhow::Result<()> {
        let (root, before) = (BASE64.encode(digest(tree)), self.head.clone());
        let to = from + tree.len();
        let line = serde_json::to_string(&Root { partition, from, to, published_at, root, before })?;
        self.file.write_all(format!("{line}\n").as_bytes()).context("the root cannot be written")?;
        self.file.sync_data().context("the root cannot be written")?;
        self.head = BASE64.encode(Sha256::digest(line.as_bytes()));
        self.next.insert(partition, to);
        Ok(())
    }
}
