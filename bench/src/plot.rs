//! Panels over time, as one SVG that can be read on a phone: portrait, few and thick lines, large type.

use std::ops::Range;
use std::path::Path;

use anyhow::Context as _;
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::timeline::Step;

pub(crate) const WIDTH: u32 = 900;
const PANEL_HEIGHT: u32 = 440;
const TITLE_HEIGHT: u32 = 50;
pub(crate) const LINE_HEIGHT: u32 = 34;
const LINE_CHARS: usize = 62;

/// One line of a panel.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it is.
    pub name: &'static str,
    /// Its colour.
    pub colour: RGBColor,
    /// The place on the horizontal axis, and the value; a gap where there is no value.
    pub points: Vec<(f64, Option<f64>)>,
}

/// One panel.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What its vertical axis shows, with the unit.
    pub axis: &'static str,
    /// What its horizontal axis shows, with the unit.
    pub across: &'static str,
    /// Whether that axis is logarithmic.
    pub logarithmic: bool,
    /// Its lines.
    pub series: Vec<Series>,
}

/// The horizontal axis of what happens over time.
const TIME: &str = "seconds from the start";

pub(crate) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(crate) const ORANGE: RGBColor = RGBColor(213, 94, 0);
pub(crate) const GREEN: RGBColor = RGBColor(0, 158, 115);
pub(crate) const PURPLE: RGBColor = RGBColor(148, 70, 133);

/// A rush: rates, backlog and latencies.
#[must_use]
pub fn rush(steps: &[Step]) -> Vec<Panel> {
    let rates = [
        series(steps, "arrivals", ORANGE, |step| Some(step.offered_per_s)),
        series(steps, "accepted", BLUE, |step| Some(step.accepted_per_s)),
        series(steps, "decided", GREEN, |step| Some(step.decided_per_s)),
    ];
    let latencies = [
        series(steps, "accept p50", BLUE, |step| step.accept_p50_ms),
        series(steps, "accept p99", ORANGE, |step| step.accept_p99_ms),
        series(steps, "decision p50", GREEN, |step| step.decision_p50_ms),
        series(steps, "decision p99", PURPLE, |step| step.decision_p99_ms),
    ];
    let backlog = series(steps, "backlog", PURPLE, |step| Some(step.backlog as f64));
    vec![
        Panel { across: TIME, axis: "intents per second", logarithmic: false, series: rates.into() },
        Panel { across: TIME, axis: "backlog: accepted, not decided", logarithmic: false, series: vec![backlog] },
        Panel {
            across: TIME,
            axis: "latency from the intended start, ms",
            logarithmic: true,
            series: latencies.into(),
        },
    ]
}

/// A replay, which sees acceptance and decision in one answer: rates and latencies.
#[must_use]
pub fn replay(steps: &[Step]) -> Vec<Panel> {
    let rates = [
        series(steps, "sent", ORANGE, |step| Some(step.offered_per_s)),
        series(steps, "decided", GREEN, |step| Some(step.decided_per_s)),
    ];
    let latencies = [
        series(steps, "outcome p50", GREEN, |step| step.decision_p50_ms),
        series(steps, "outcome p99", PURPLE, |step| step.decision_p99_ms),
    ];
    vec![
        Panel { across: TIME, axis: "bookings per second", logarithmic: false, series: rates.into() },
        Panel { across: TIME, axis: "latency to the outcome, ms", logarithmic: true, series: latencies.into() },
    ]
}

fn series(steps: &[Step], name: &'static str, colour: RGBColor, of: fn(&Step) -> Option<f64>) -> Series {
    Series { name, colour, points: steps.iter().map(|step| (step.at_seconds, of(step))).collect() }
}

/// Draws the panels under a title and a text.
///
/// # Errors
/// When the file cannot be written.
pub fn draw(path: &Path, title: &str, text: &str, panels: &[Panel]) -> anyhow::Result<()> {
    let lines = wrapped(text);
    let line_count = u32::try_from(lines.len()).context("the text of the plot is too long")?;
    let panel_count = u32::try_from(panels.len()).context("there are too many panels")?;
    let names = names(panels);
    let legend_height = legend_height(names.len());
    let head = TITLE_HEIGHT + LINE_HEIGHT * line_count + legend_height;
    let area = SVGBackend::new(path, (WIDTH, head + PANEL_HEIGHT * panel_count)).into_drawing_area();
    area.fill(&WHITE)?;
    let (top, rest) = area.split_vertically(head);
    top.draw(&Text::new(title.to_owned(), (20, 12), ("sans-serif", 32).into_font()))?;
    let mut y = 50;
    for line in lines {
        top.draw(&Text::new(line, (20, y), ("sans-serif", 24).into_font().color(&BLACK.mix(0.7))))?;
        y += 34;
    }
    legend(&top, y, &names)?;
    for (area, panel) in rest.split_evenly((panels.len(), 1)).iter().zip(panels) {
        panel_on(area, panel)?;
    }
    area.present().with_context(|| format!("cannot write {}", path.display()))
}

/// More lines than that have their names above all panels: inside one they would hide the lines.
const NAMES_INSIDE_MAX: usize = 4;
const NAMES_A_ROW: usize = 3;

/// The names that go above all panels, once each.
fn names(panels: &[Panel]) -> Vec<(&'static str, RGBColor)> {
    let crowded = panels.iter().any(|panel| panel.series.len() > NAMES_INSIDE_MAX);
    let mut names: Vec<(&'static str, RGBColor)> = Vec::new();
    for series in panels.iter().filter(|_| crowded).flat_map(|panel| &panel.series) {
        if !names.iter().any(|(name, _)| *name == series.name) {
            names.push((series.name, series.colour));
        }
    }
    names
}

/// How much height [`legend`] takes, in pixels.
pub(crate) fn legend_height(names: usize) -> u32 {
    LINE_HEIGHT * u32::try_from(names.div_ceil(NAMES_A_ROW)).unwrap_or(0)
}

/// Writes names beside their colours, from `y` on.
pub(crate) fn legend(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    y: i32,
    names: &[(&'static str, RGBColor)],
) -> anyhow::Result<()> {
    let width = i32::try_from(WIDTH)? / i32::try_from(NAMES_A_ROW)?;
    for (index, (name, colour)) in names.iter().enumerate() {
        let (row, place) = (i32::try_from(index / NAMES_A_ROW)?, i32::try_from(index % NAMES_A_ROW)?);
        let (x, y) = (20 + place * (width - 10), y + row * i32::try_from(LINE_HEIGHT)?);
        area.draw(&Rectangle::new([(x, y + 4), (x + 22, y + 20)], colour.filled()))?;
        area.draw(&Text::new(*name, (x + 32, y), ("sans-serif", 24).into_font()))?;
    }
    Ok(())
}

fn panel_on(area: &DrawingArea<SVGBackend<'_>, Shift>, panel: &Panel) -> anyhow::Result<()> {
    let values = || panel.series.iter().flat_map(|series| &series.points);
    let end = values().map(|(at, _)| *at).fold(1.0, f64::max);
    let highest = values().filter_map(|(_, value)| *value).fold(1.0, f64::max);
    let mut builder = ChartBuilder::on(area);
    builder.margin(16).margin_right(30).x_label_area_size(62).y_label_area_size(110);
    let is_crowded = panel.series.len() > NAMES_INSIDE_MAX;
    // Above the highest value there is room for the names of the lines.
    if panel.logarithmic {
        let lowest = values().filter_map(|(_, value)| *value).filter(|value| *value > 0.0).fold(highest, f64::min);
        let bounds = decade_below(lowest)..highest * if is_crowded { 2.0 } else { 12.0 };
        lines_on(&mut builder.build_cartesian_2d(0.0..end, bounds.clone().log_scale())?, panel, &bounds)
    } else {
        let bounds = 0.0..highest * if is_crowded { 1.05 } else { 1.5 };
        lines_on(&mut builder.build_cartesian_2d(0.0..end, bounds.clone())?, panel, &bounds)
    }
}

fn lines_on<'a, Y>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<plotters::coord::types::RangedCoordf64, Y>>,
    panel: &Panel,
    bounds: &Range<f64>,
) -> anyhow::Result<()>
where
    Y: Ranged<ValueType = f64> + plotters::coord::ranged1d::ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.15))
        .label_style(("sans-serif", 24))
        .axis_desc_style(("sans-serif", 26))
        .x_desc(panel.across)
        .y_desc(panel.axis)
        .x_labels(8)
        .y_labels(6)
        .x_label_formatter(&|at| figure(*at))
        .y_label_formatter(&|value| figure(*value))
        .draw()?;
    for series in &panel.series {
        let style = series.colour.stroke_width(3);
        // A gap ends a line; the next value begins another.
        for (index, run) in series.points.split(|(_, value)| value.is_none()).enumerate() {
            let points =
                run.iter().filter_map(|(at, value)| Some((*at, value.as_ref()?.clamp(bounds.start, bounds.end))));
            let line = chart.draw_series(LineSeries::new(points, style))?;
            if index == 0 {
                line.label(series.name).legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 24, y)], style));
            }
        }
    }
    if panel.series.len() > NAMES_INSIDE_MAX {
        return Ok(());
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 24))
        .legend_area_size(34)
        .draw()?;
    Ok(())
}

fn decade_below(value: f64) -> f64 {
    10_f64.powf(value.max(0.001).log10().floor())
}

/// A short figure for an axis.
pub(crate) fn figure(value: f64) -> String {
    if value >= 10_000.0 {
        format!("{:.0}k", value / 1_000.0)
    } else if value >= 1_000.0 {
        format!("{:.1}k", value / 1_000.0)
    } else if value >= 1.0 || value == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value}")
    }
}

pub(crate) fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > LINE_CHARS {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_names_its_axes_lines_and_machine() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("plot.svg");
        let step = |at_seconds: f64, value: Option<f64>| Step {
            at_seconds,
            offered_per_s: at_seconds * 3_000.0,
            accept_p50_ms: value,
            accept_p99_ms: value,
            ..Step::default()
        };
        let steps = [step(1.0, Some(0.5)), step(2.0, None), step(3.0, Some(80.0)), step(4.0, Some(40.0))];
        draw(&path, "A rush", "on a machine\nby a command", &rush(&steps)).expect("drawn");
        let svg = std::fs::read_to_string(&path).expect("written");
        for text in [
            "A rush",
            "on a machine",
            "by a command",
            "intents per second",
            "backlog: accepted",
            "ms",
            "decision p99",
            "seconds from the start",
        ] {
            assert!(svg.contains(text), "{text} is missing");
        }
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn nothing_can_be_drawn_too() {
        let folder = tempfile::tempdir().expect("a folder");
        draw(&folder.path().join("plot.svg"), "Nothing", "", &rush(&[])).expect("drawn");
        assert!(draw(&folder.path().join("no/such/folder.svg"), "", "", &rush(&[])).is_err());
    }

    #[test]
    fn long_lines_are_wrapped() {
        let lines = wrapped(&"word ".repeat(40));
        assert!(lines.len() > 2 && lines.iter().all(|line| line.chars().count() <= LINE_CHARS));
    }
}
