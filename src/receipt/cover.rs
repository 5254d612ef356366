//! Compares the log with the roots that were published over it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use orderly_domain::port::IntentLog;
use orderly_domain::{Partition, Timestamp};

use super::roots::{Root, Tree, over};
use super::{leaf, read};

/// What the published roots make of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cover {
    /// The log has what was published at this time, and the record is a part of it.
    Published(Timestamp),
    /// No root covers the record.
    NotYet,
    /// The log has dropped the beginning of what the root covers, without which nothing can be compared.
    Aged,
    /// The log has not what was published. A root does not tell which of its records was changed.
    Changed,
}

impl Cover {
    /// Its name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Published(_) => "published",
            Self::NotYet => "not_yet",
            Self::Aged => "aged",
            Self::Changed => "changed",
        }
    }

    /// When that was published which the log has.
    pub(crate) const fn published_at(self) -> Option<Timestamp> {
        match self {
            Self::Published(published_at) => Some(published_at),
            Self::NotYet | Self::Aged | Self::Changed => None,
        }
    }
}

/// What the published roots make of some records of a partition.
///
/// # Errors
/// When the log cannot be read or has a gap, or the roots cannot be read or were changed.
pub(crate) async fn covers(
    log: &dyn IntentLog,
    partition: Partition,
    offsets: &BTreeSet<u64>,
    roots: &Path,
) -> anyhow::Result<BTreeMap<u64, Cover>> {
    let mut covers: BTreeMap<_, _> = offsets.iter().map(|offset| (*offset, Cover::NotYet)).collect();
    for root in over(roots, partition, offsets)? {
        let found = compare(log, &root).await?;
        covers.range_mut(root.from..root.to).for_each(|(_, cover)| *cover = found);
    }
    Ok(covers)
}

async fn compare(log: &dyn IntentLog, root: &Root) -> anyhow::Result<Cover> {
    match part(log, root).await? {
        Part::Whole => {}
        Part::WithoutBeginning => return Ok(Cover::Aged),
        Part::WithoutEnd => return Ok(Cover::Changed),
    }
    let mut tree = Tree::new();
    read(log, root.partition, root.from..root.to, |record| tree.push(leaf(&record))).await?;
    Ok(if root.is_of(&tree)? { Cover::Published(root.published_at) } else { Cover::Changed })
}

/// How much of what a root covers lies in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    /// Retention drops the oldest records.
    WithoutBeginning,
    /// No log loses its newest records by itself.
    WithoutEnd,
}

pub(super) async fn part(log: &dyn IntentLog, root: &Root) -> anyhow::Result<Part> {
    let extents = log.extents().await?;
    let extent = extents.iter().find(|extent| extent.partition == root.partition);
    Ok(match extent {
        Some(extent) if extent.end < root.to => Part::WithoutEnd,
        Some(extent) if extent.start > root.from => Part::WithoutBeginning,
        Some(_) => Part::Whole,
        None => Part::WithoutEnd,
    })
}
