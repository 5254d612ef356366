//! `orderly audit verify`: every entry against its hash, every hash against the one before it, and all against the anchors.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use orderly_domain::Clock as _;
use orderly_domain::audit::{Anchor, Place, Verdict, Verifier};
use orderly_domain::clock::System;
use orderly_domain::port::Audit;
use orderly_sinks::audit::anchor;

use super::report::Report;
use super::{anchor_file, open_read_only};
use crate::bar::bar;
use crate::config::Config;

/// Entries that are read at once.
const PAGE: usize = 4_096;

/// How often it is begun anew because old entries were forgotten meanwhile.
const TRIES_MAX: usize = 5;

/// Checks the trail and prints what was found; true when nothing is wrong and there is an anchor to tell it by, or
/// `without_anchors` says that none is asked for. A server may be writing it: what was there when the check began is checked.
/// `files` are the anchor files; without one, the configured one is taken if it is there.
///
/// # Errors
/// When the trail or an anchor file cannot be read.
pub(crate) async fn verify(
    config: &Config,
    files: &[PathBuf],
    without_anchors: bool,
    as_json: bool,
) -> anyhow::Result<bool> {
    let audit = open_read_only(config).await?;
    let mut report = Report { unreadable: Vec::new(), files: Vec::new(), anchors: 0, verdict: None };
    let mut anchors = Vec::new();
    if files.is_empty() {
        let file = anchor_file(config);
        if let Some(held) = anchor::read(&file)? {
            report.read(&file, &held);
            anchors.extend(held.anchors);
        }
    }
    for file in files {
        let held = anchor::read(file)?.with_context(|| no_such_file(file))?;
        report.read(file, &held);
        anchors.extend(held.anchors);
    }
    report.verdict = Some(check(&*audit, &anchors).await?);
    let mut out = std::io::stdout().lock();
    if as_json {
        writeln!(out, "{:#}", report.to_json())?;
    } else {
        write!(out, "{}", report.to_text())?;
    }
    Ok(report.holds() && (report.can_tell_a_cut() || without_anchors))
}

fn no_such_file(file: &Path) -> String {
    format!("there is no anchor file {}; check the path, or leave --anchor out", file.display())
}

async fn check(audit: &dyn Audit, anchors: &[Anchor]) -> anyhow::Result<Verdict> {
    for _ in 0..TRIES_MAX {
        let extent = audit.extent().await.context("the audit trail cannot be read")?;
        let verdict = pass(audit, anchors, extent.start, extent.head).await?;
        if audit.extent().await.context("the audit trail cannot be read")?.start == extent.start {
            return Ok(verdict);
        }
    }
    bail!("the audit trail's beginning kept moving while it was checked; stop what forgets old entries and check again")
}

/// Looks at every entry once, up to what the store says is the last.
async fn pass(audit: &dyn Audit, anchors: &[Anchor], start: Place, head: Place) -> anyhow::Result<Verdict> {
    let now = System.now();
    // What the store itself says is the end is an anchor, too: it finds a cut by somebody who forgot it.
    let end = Anchor { place: head, anchored_at: now, node: String::new() };
    // What was anchored since is checked as far as it was there.
    let newer = anchors.iter().map(|anchor| anchor.place.seq).max().unwrap_or_default();
    let mut verifier = Verifier::new(start, anchors.iter().cloned().chain([end]), now);
    let bar = bar(head.seq.saturating_sub(start.seq), "verified")?;
    let (mut from, last) = (1, head.seq.max(newer));
    loop {
        let page = audit.scan(from, PAGE).await.context("the audit trail cannot be read")?;
        let Some(next) = page.last().map(|linked| linked.seq + 1) else { break };
        for linked in page.iter().filter(|linked| linked.seq <= last) {
            verifier.check(linked);
        }
        bar.inc(page.len() as u64);
        if next > last {
            break;
        }
        from = next;
    }
    bar.finish_and_clear();
    Ok(verifier.finish())
}
