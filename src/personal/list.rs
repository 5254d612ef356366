//! `orderly keys list`: which keys there are, how many rows need each, and which may go.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table};
use orderly_domain::Timestamp;
use orderly_domain::clock::{Clock as _, System};
use orderly_domain::port::Store;
use serde_json::json;

use super::file::File;
use super::{open_store, path, read};
use crate::config::Config;

/// Rows that are read at once.
pub(super) const BATCH: usize = 1_000;

/// How many rows of the store are sealed with each key, and how many there are. A row counts for every key that one of its fields
/// is sealed with; `None` stands for a form that is not known here.
pub(super) async fn count(store: &dyn Store) -> anyhow::Result<(BTreeMap<Option<u16>, u64>, u64)> {
    let (mut keys, mut rows, mut after) = (BTreeMap::new(), 0, None);
    loop {
        let page = store.details_after(after, BATCH).await?;
        let Some(last) = page.last() else { return Ok((keys, rows)) };
        after = Some(last.position);
        for row in &page {
            rows += 1;
            let used: BTreeSet<_> = row.fields.iter().map(|(_, sealed)| sealed.key_id()).collect();
            used.into_iter().for_each(|id| *keys.entry(id).or_default() += 1);
        }
    }
}

/// A key, or one that rows name and the file does not have.
struct Entry {
    id: Option<u16>,
    made: Option<Timestamp>,
    rows: u64,
    verdict: String,
    may_go: bool,
}

/// Prints it.
///
/// # Errors
/// When the keys file or the store cannot be read.
pub(crate) async fn list(config: &Config, as_json: bool) -> anyhow::Result<()> {
    let file = read(&path(config))?;
    let (rows, _) = count(&*open_store(config, false).await?).await?;
    let kept_hours = i64::from(config.log.retention_hours);
    let entries = judge(&file, &rows, System.now(), kept_hours);
    let mut out = std::io::stdout().lock();
    if as_json {
        let entries = entries.iter().map(|entry| {
            let made = entry.made.map(|made| made.to_jiff().to_string());
            json!({"id": entry.id, "made": made, "rows": entry.rows, "may_go": entry.may_go, "verdict": entry.verdict})
        });
        writeln!(out, "{:#}", json!({"keys": entries.collect::<Vec<_>>()}))?;
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["key", "made", "rows", "what it is for"]);
    for Entry { id, made, rows, verdict, .. } in &entries {
        table.add_row([
            id.map_or_else(|| "?".to_owned(), |id| id.to_string()),
            made.map_or_else(|| "?".to_owned(), |made| made.to_jiff().strftime("%Y-%m-%d %H:%M UTC").to_string()),
            rows.to_string(),
            verdict.clone(),
        ]);
    }
    for column in [0, 2] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    writeln!(out, "{table}")?;
    Ok(())
}

/// What each key is for. An old one is needed until no row names it, and until the log has dropped what was sealed before the
/// next key was made.
fn judge(file: &File, rows: &BTreeMap<Option<u16>, u64>, now: Timestamp, kept_hours: i64) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut next_made = None;
    for (index, key) in file.keys.iter().enumerate() {
        let used = rows.get(&Some(key.id)).copied().unwrap_or(0);
        let log_until = next_made.filter(|_| kept_hours > 0).map(|made: Timestamp| {
            Timestamp::from_micros(made.as_micros().saturating_add(kept_hours.saturating_mul(3_600_000_000)))
        });
        let (verdict, may_go) = match (index, used, log_until) {
            (0, ..) => ("seals".to_owned(), false),
            (_, 1.., _) => ("opens; run `orderly keys reencrypt`".to_owned(), false),
            (_, 0, Some(until)) if until <= now => ("may go: nothing needs it".to_owned(), true),
            (_, 0, Some(until)) => {
                (format!("opens what is in the log until {}", until.to_jiff().strftime("%Y-%m-%d %H:%M UTC")), false)
            }
            (_, 0, None) => ("opens what may still be in the log".to_owned(), false),
        };
        entries.push(Entry { id: Some(key.id), made: key.made, rows: used, verdict, may_go });
        next_made = key.made;
    }
    for (id, used) in rows {
        if id.is_none_or(|id| file.keys.iter().all(|key| key.id != id)) {
            let verdict = "MISSING in this file: these rows cannot be opened".to_owned();
            entries.push(Entry { id: *id, made: None, rows: *used, verdict, may_go: false });
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::super::file::rotated;
    use super::*;

    #[test]
    fn a_key_may_go_when_neither_row_nor_log_needs_it() {
        let hours = |hours: i64| Timestamp::from_millis(hours * 3_600_000);
        let text = File::fresh(hours(0)).expect("random numbers");
        let text = rotated(&text, hours(100)).expect("valid").0;
        let text = rotated(&text, hours(200)).expect("valid").0;
        let file = File::parse(&text).expect("valid");
        let judged = |rows: &[(Option<u16>, u64)], now: i64| -> Vec<(Option<u16>, bool)> {
            let entries = judge(&file, &rows.iter().copied().collect(), hours(now), 168);
            entries.iter().map(|entry| (entry.id, entry.may_go)).collect()
        };
        assert_eq!(judged(&[], 267), [(Some(3), false), (Some(2), false), (Some(1), false)]);
        assert_eq!(judged(&[], 268), [(Some(3), false), (Some(2), false), (Some(1), true)]);
        assert_eq!(judged(&[(Some(1), 1)], 268), [(Some(3), false), (Some(2), false), (Some(1), false)]);
        assert_eq!(judged(&[], 368), [(Some(3), false), (Some(2), true), (Some(1), true)]);
        let lost = judge(&file, &BTreeMap::from([(Some(9), 4), (None, 1)]), hours(0), 168);
        assert_eq!(lost.iter().filter(|entry| entry.verdict.contains("MISSING")).count(), 2);
        assert!(
            !judge(&file, &BTreeMap::new(), hours(9_000), 0)[2].may_go,
            "a log that is kept for ever needs it for ever"
        );
    }
}
