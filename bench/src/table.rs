//! Tables for people.

use comfy_table::{CellAlignment, Table};

use crate::latency::Summary;

/// A table of latencies, in milliseconds.
pub(crate) fn latencies(rows: &[(&str, &Summary)]) -> Table {
    let mut table = table(&["latency, ms", "count", "p50", "p95", "p99", "p99.9", "max"]);
    for (name, latency) in rows {
        let figures = [latency.p50_ms, latency.p95_ms, latency.p99_ms, latency.p999_ms, latency.max_ms];
        let figures = figures.into_iter().map(|value| format!("{value:.1}"));
        table.add_row([(*name).to_owned(), latency.count.to_string()].into_iter().chain(figures).collect::<Vec<_>>());
    }
    table
}

/// A table whose columns after the first hold figures.
#[must_use]
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED).set_header(header.to_vec());
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}
