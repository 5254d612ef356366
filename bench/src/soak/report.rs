//! What a server held, as tables and plots, and whether that is as it should be.

use std::path::Path;

use serde::Serialize;

use super::watch::Sample;
use crate::goal::Goal;
use crate::machine::Origin;
use crate::plot::{self, BLUE, GREEN, ORANGE, PURPLE, Panel, Series};
use crate::table::table;

/// A run, and what is wanted of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What it was, in a line.
    pub what: String,
    /// Where, when and how.
    #[serde(flatten)]
    pub origin: Origin,
    /// What was asked, by name.
    pub counts: Vec<(&'static str, u64)>,
    /// At rest, before it began.
    pub before: Sample,
    /// At rest, after it.
    pub after: Sample,
    /// From when on growth counts, in seconds from the start.
    pub warm_s: f64,
    /// Meanwhile.
    pub samples: Vec<Sample>,
    /// What is wanted.
    pub goals: Vec<Goal>,
}

const MEGABYTE: f64 = 1e6;

impl Report {
    /// Whether all goals are met.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.goals.iter().all(|goal| goal.met)
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut held = table(&["held", "at rest before", "warm", "at the end", "at rest after"]);
        let warm = self.warm().first().copied().unwrap_or_default();
        let end = self.samples.last().copied().unwrap_or_default();
        let moments = [self.before, warm, end, self.after];
        let mut row = |what: &str, of: &dyn Fn(&Sample) -> String| {
            held.add_row([what.to_owned()].into_iter().chain(moments.iter().map(of)).collect::<Vec<_>>());
        };
        row("resident memory, MB", &|sample| format!("{:.1}", sample.resident_bytes as f64 / MEGABYTE));
        row("of it no file's, MB", &|sample| format!("{:.1}", sample.anonymous_bytes as f64 / MEGABYTE));
        row("descriptors", &|sample| sample.descriptors.to_string());
        row("threads", &|sample| sample.threads.to_string());
        row("tasks", &|sample| sample.tasks.to_string());
        row("event streams", &|sample| sample.streams.to_string());
        let mut counted = table(&["asked", "count"]);
        for (what, count) in &self.counts {
            counted.add_row([(*what).to_owned(), count.to_string()]);
        }
        let mut wanted = table(&["goal", "measured", "wanted", ""]);
        for goal in &self.goals {
            let figures = [format!("{:.2}", goal.value), goal.wanted.to_string(), goal.verdict().to_owned()];
            wanted.add_row([goal.what.clone()].into_iter().chain(figures).collect::<Vec<_>>());
        }
        let origin = self.origin.lines().collect::<Vec<_>>().join("\n");
        format!("{}\n{origin}\n{held}\n{counted}\n{wanted}\n", self.what)
    }

    /// Draws what was held over time.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn draw(&self, path: &Path) -> anyhow::Result<()> {
        let line = |name, colour, of: fn(&Sample) -> f64| Series {
            name,
            colour,
            points: self.samples.iter().map(|sample| (sample.at_s / 60.0, Some(of(sample)))).collect(),
        };
        let panel = |axis, series| Panel { axis, across: "minutes from the start", logarithmic: false, series };
        let panels = [
            panel(
                "memory, MB",
                vec![
                    line("resident", BLUE, |sample| sample.resident_bytes as f64 / MEGABYTE),
                    line("of it no file's", GREEN, |sample| sample.anonymous_bytes as f64 / MEGABYTE),
                ],
            ),
            panel(
                "descriptors, tasks, streams, threads",
                vec![
                    line("descriptors", BLUE, |sample| sample.descriptors as f64),
                    line("tasks", ORANGE, |sample| sample.tasks as f64),
                    line("event streams", PURPLE, |sample| sample.streams as f64),
                    line("threads", GREEN, |sample| sample.threads as f64),
                ],
            ),
        ];
        plot::draw(path, &self.what, &self.origin.lines().collect::<Vec<_>>().join("\n"), &panels)
    }

    fn warm(&self) -> &[Sample] {
        warm(&self.samples, self.warm_s)
    }
}

/// Those from which growth is told.
pub(super) fn warm(samples: &[Sample], warm_s: f64) -> &[Sample] {
    let first = samples.iter().position(|sample| sample.at_s >= warm_s).unwrap_or(samples.len());
    &samples[first..]
}

/// How much more it is.
pub(super) fn more(before: u64, after: u64) -> f64 {
    after as f64 - before as f64
}
