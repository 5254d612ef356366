//! What a replay came to, as a table or as JSON.

use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};

use super::compare::Comparison;
use crate::config::Profile;

/// What a replay came to.
#[derive(Debug)]
pub(super) struct Report {
    /// How the decisions compare.
    pub(super) comparison: Comparison,
    /// Records that lay in the log without a decision when it began.
    pub(super) undecided: u64,
}

impl Report {
    pub(super) fn to_json(&self) -> Value {
        let Comparison { records, sorts, different, first } = &self.comparison;
        let outcomes = sorts.iter().map(|((kind, outcome, repeat), [store, anew])| {
            json!({ "kind": kind, "outcome": outcome, "repeat": repeat, "store": store, "anew": anew })
        });
        let differences = first.iter().map(|((logged_at, position), difference)| {
            json!({
                "partition": position.partition,
                "offset": position.offset,
                "logged_at": logged_at,
                "asked": difference.asked,
                "store": difference.told,
                "anew": difference.anew,
            })
        });
        json!({
            "same": self.comparison.is_same(),
            "records": records,
            "different": different,
            "undecided": self.undecided,
            "outcomes": outcomes.collect::<Vec<_>>(),
            "differences": differences.collect::<Vec<_>>(),
        })
    }

    pub(super) fn to_text(&self, profile: Profile) -> String {
        let Comparison { records, sorts, different, first } = &self.comparison;
        let mut table = Table::new();
        table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
        table.set_header(["asked", "outcome", "in the store", "decided anew"]);
        for ((kind, outcome, repeat), [store, anew]) in sorts {
            let outcome = if *repeat { format!("{outcome}, again") } else { (*outcome).to_owned() };
            table.add_row([(*kind).to_owned(), outcome, store.to_string(), anew.to_string()]);
        }
        table.column_iter_mut().skip(2).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        let mut text = format!("{table}\n");
        if self.undecided > 0 {
            text += &format!("\n{} records were not decided when it began, and are not compared.\n", self.undecided);
        }
        if self.comparison.is_same() {
            return text + &format!("\nAll {records} records are decided alike.\n");
        }
        text += &format!("\n{different} of {records} records are decided otherwise, the first in the log:\n");
        for ((_, position), difference) in first {
            text += &format!(
                "  {position}: {} was told {}; anew: {}\n",
                difference.asked, difference.told, difference.anew
            );
        }
        let more = different - first.len() as u64;
        if more > 0 {
            text += &format!("  … and {more} more\n");
        }
        text + match profile {
            Profile::Embedded => "\nKeep the folder: it is the evidence.\n",
            Profile::Distributed => {
                "\nWhat two doctors of a department and day contend for, one appointment per patient, goes with several \
                 pipelines to whoever asks first; `orderly check` judges that. Anything else is a fault: keep log and store, \
                 they are the evidence.\n"
            }
        }
    }
}
