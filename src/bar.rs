//! Progress bars of long work.

use indicatif::{ProgressBar, ProgressStyle};

/// How far one of the steps is, on stderr where that is a terminal.
pub(crate) fn bar(records: u64, step: &str) -> anyhow::Result<ProgressBar> {
    let style = format!("{{elapsed:>4}} {{bar:30}} {{pos}} of {{len}} records {step}, {{eta}} left {{msg}}");
    Ok(ProgressBar::new(records).with_style(ProgressStyle::with_template(&style)?))
}
