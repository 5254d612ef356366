//! The published roots: a file of lines, each of which names the one before it.

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

/// All that were published.
#[derive(Debug, Default)]
pub(super) struct Roots {
    roots: Vec<Root>,
    /// The hash of the last line.
    head: String,
}

impl Roots {
    /// Reads a file, and checks that no line was changed or taken out of its middle.
    ///
    /// # Errors
    /// When it cannot be read, or its lines are not a chain.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read the roots in {}", path.display()))?;
        let mut roots = Self::default();
        for (index, line) in BufReader::new(file).lines().enumerate() {
            let line = line?;
            let number = index + 1;
            let root: Root = serde_json::from_str(&line)
                .with_context(|| format!("line {number} of {} is no root", path.display()))?;
            ensure!(
                root.before == roots.head && root.from < root.to,
                "line {number} of {} does not follow from the one before it: the file was changed",
                path.display()
            );
            roots.head = BASE64.encode(Sha256::digest(line.as_bytes()));
            roots.roots.push(root);
        }
        Ok(roots)
    }

    /// The root over a record.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn covering(&self, at: Position) -> anyhow::Result<&Root> {
        let covers = |root: &&Root| root.partition == at.partition && (root.from..root.to).contains(&at.offset);
        self.roots.iter().find(covers).with_context(|| format!("no root was published yet that covers record {at}"))
    }

    /// The first offset of a partition that no root covers.
    pub(super) fn next(&self, partition: Partition) -> u64 {
        let of_partition = self.roots.iter().rev().find(|root| root.partition == partition);
        of_partition.map_or(0, |root| root.to)
    }

    /// Publishes one more: it is on the disk when this returns.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn publish(
        &mut self,
        file: &mut File,
        partition: Partition,
        from: u64,
        tree: &Tree,
        published_at: Timestamp,
    ) -> anyhow::Result<()> {
        let (root, before) = (BASE64.encode(digest(tree)), self.head.clone());
        let root = Root { partition, from, to: from + tree.len(), published_at, root, before };
        let line = serde_json::to_string(&root)?;
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_data()?;
        self.head = BASE64.encode(Sha256::digest(line.as_bytes()));
        self.roots.push(root);
        Ok(())
    }
}
