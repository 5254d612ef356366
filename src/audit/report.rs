//! What a check of the trail came to, as a table or as JSON.

use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table};
use orderly_domain::audit::{Finding, Kind, Verdict};
use orderly_sinks::audit::anchor::Held;
use serde_json::{Value, json};

/// Findings of a kind that are printed.
const SHOWN_MAX: usize = 20;

/// What a check came to.
#[derive(Debug)]
pub(super) struct Report {
    /// Anchor files that were read.
    pub(super) files: Vec<PathBuf>,
    /// Lines of them that are no anchors.
    pub(super) unreadable: Vec<String>,
    /// How many anchors they hold.
    pub(super) anchors: usize,
    /// `None` before the check.
    pub(super) verdict: Option<Verdict>,
}

impl Report {
    /// Notes what an anchor file held.
    pub(super) fn read(&mut self, file: &Path, held: &Held) {
        let line = |number: &usize| format!("{}:{number}", file.display());
        self.unreadable.extend(held.unreadable.iter().map(line));
        self.files.push(file.to_owned());
        self.anchors += held.anchors.len();
    }

    /// Whether nothing is wrong with the chain. Lines that are no anchors are told and not held against it: a kill leaves
    /// half of one.
    pub(super) fn holds(&self) -> bool {
        self.verdict.as_ref().is_some_and(Verdict::holds)
    }

    /// Whether a chain that was cut off, or written anew as a whole, would be told. One with neither entries nor anchors is
    /// taken for a new one.
    pub(super) fn can_tell_a_cut(&self) -> bool {
        self.anchors > 0 || self.verdict.as_ref().is_some_and(|verdict| verdict.entries == 0)
    }

    pub(super) fn to_json(&self) -> Value {
        let Some(verdict) = &self.verdict else { return Value::Null };
        let finding =
            |finding: &Finding| json!({ "kind": finding.kind.as_str(), "from": finding.from, "to": finding.to });
        json!({
            "holds": self.holds(),
            "entries": verdict.entries,
            "anchors": verdict.anchors,
            "anchor_files": self.files,
            "can_tell_a_cut": self.can_tell_a_cut(),
            "unreadable_anchors": self.unreadable,
            "start": verdict.start,
            "head": verdict.head,
            "total": verdict.total,
            "findings": verdict.findings.iter().map(finding).collect::<Vec<_>>(),
        })
    }

    pub(super) fn to_text(&self) -> String {
        let Some(verdict) = &self.verdict else { return String::new() };
        let mut table = Table::new();
        table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["what must be true", "checked", "violations", "verdict"]);
        let of = |kind: Kind| verdict.findings.iter().filter(move |finding| finding.kind == kind);
        for kind in Kind::ALL {
            let anchored = matches!(kind, Kind::Truncated | Kind::Rewritten | Kind::Early);
            let checked =
                if anchored { format!("{} anchors", verdict.anchors) } else { format!("{} entries", verdict.entries) };
            let found = of(kind).count();
            let word = if found > 0 { "BROKEN" } else { "holds" };
            table.add_row([kind.meaning().to_owned(), checked, found.to_string(), word.to_owned()]);
        }
        table.column_iter_mut().skip(1).take(2).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        let mut text = format!("{table}\n");
        for kind in Kind::ALL {
            let found = of(kind).count();
            if found == 0 {
                continue;
            }
            let places: Vec<_> = of(kind).take(SHOWN_MAX).map(places).collect();
            let more = if found > SHOWN_MAX { format!(" … and {} more", found - SHOWN_MAX) } else { String::new() };
            text += &format!("\n{}: {}{more}", kind.as_str(), places.join(", "));
        }
        if !verdict.findings.is_empty() {
            text.push('\n');
        }
        if !self.unreadable.is_empty() {
            text += &format!("\nLines that are no anchors: {}\n", self.unreadable.join(", "));
        }
        if !self.can_tell_a_cut() {
            text += "\nNo anchor was read: a chain that was cut off or written anew as a whole cannot be told from a true one. Name \
                     the anchor file with --anchor. If there is none yet (a server writes the first within \
                     audit.anchor_interval_s), give --without-anchors.\n";
        }
        let Verdict { entries, head, .. } = verdict;
        text + &if self.holds() {
            format!("\nThe chain holds: {entries} entries, the last is {}, {}.\n", head.seq, head.hash)
        } else {
            "\nThe chain is broken. Keep the store and the anchor files as they are: they are the evidence.\n"
                .to_owned()
        }
    }
}

fn places(finding: &Finding) -> String {
    if finding.from == finding.to { finding.from.to_string() } else { format!("{} to {}", finding.from, finding.to) }
}
