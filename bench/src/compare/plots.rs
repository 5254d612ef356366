//! The pictures: who decides how much, and what people wait at which rate.

use std::path::Path;

use anyhow::Context as _;
use plotters::prelude::*;

use super::drive::{MOMENT, Moment};
use super::report::Report;
use super::scale::{Axis, Point};
use super::system::System;
use super::workload::Workload;
use crate::plot::{self, BLUE, GREEN, ORANGE, PURPLE, Panel, Series, WIDTH, figure, legend, legend_height};

const HEIGHT: u32 = 1_000;
/// Of its title, in pixels.
const TITLE: u32 = 60;
/// The part of a load's place that its bars fill.
const FILLED: f64 = 0.8;

const fn colour(system: System) -> RGBColor {
    match system {
        System::Orderly => BLUE,
        System::Distributed => RGBColor(86, 180, 233),
        System::Conditional => ORANGE,
        System::RowLock => RGBColor(230, 159, 0),
        System::Optimistic => PURPLE,
        System::RedisLock => GREEN,
        System::RedisQueue => RGBColor(120, 120, 120),
        System::Memory => RGBColor(190, 190, 190),
    }
}

/// Bars: outcomes a second of each system ÷ those of the best baseline that answers from the disk, load by load.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn ratios(path: &Path, report: &Report) -> anyhow::Result<()> {
    let was_put = |workload: &Workload| workload.is_closed() && report.rows.iter().any(|row| row.workload == *workload);
    let loads: Vec<_> = Workload::ALL.into_iter().filter(was_put).collect();
    let bars = |system: System| {
        let bar = |(index, workload): (usize, &Workload)| {
            Some((index, report.ratio(report.row(system, *workload)?, report.best_baseline(*workload)?)?))
        };
        loads.iter().enumerate().filter_map(bar).collect::<Vec<_>>()
    };
    let all: Vec<_> = System::ALL.into_iter().map(|system| (system, bars(system))).collect();
    let values = || all.iter().flat_map(|(_, bars)| bars.iter().map(|(_, value)| *value));
    let (lowest, highest) = (values().fold(0.5, f64::min) / 1.5, values().fold(2.0, f64::max) * 1.3);
    let area = SVGBackend::new(path, (WIDTH, HEIGHT)).into_drawing_area();
    area.fill(&WHITE)?;
    let shown = all.iter().filter(|(_, bars)| !bars.is_empty());
    let names: Vec<_> = shown.map(|(system, _)| (system.title(), colour(*system))).collect();
    let (top, chart_area) = area.split_vertically(TITLE + legend_height(names.len()));
    let title = "Outcomes a second ÷ the best baseline that answers from the disk";
    top.draw(&Text::new(title, (20, 12), ("sans-serif", 28).into_font()))?;
    legend(&top, TITLE.cast_signed(), &names)?;
    let mut builder = ChartBuilder::on(&chart_area);
    builder.margin(16).x_label_area_size(70).y_label_area_size(110);
    let mut chart = builder.build_cartesian_2d(0.0..loads.len() as f64, (lowest..highest).log_scale())?;
    let title = |at: &f64| {
        let index = loads.iter().zip(0_u32..).find(|(_, index)| (f64::from(*index) + 0.5 - at).abs() < 0.1);
        index.map_or_else(String::new, |(load, _)| short(*load).to_owned())
    };
    let mut mesh = chart.configure_mesh();
    mesh.disable_x_mesh().bold_line_style(BLACK.mix(0.15)).light_line_style(WHITE);
    mesh.x_labels(loads.len() * 2 + 1).x_label_formatter(&title).y_label_formatter(&|value| figure(*value));
    mesh.label_style(("sans-serif", 24)).y_desc("ratio, logarithmic").axis_desc_style(("sans-serif", 26)).draw()?;
    let width = FILLED / System::ALL.len() as f64;
    for (place, (system, bars)) in all.iter().enumerate().filter(|(_, (_, bars))| !bars.is_empty()) {
        let style = colour(*system).filled();
        let rectangle = |(index, value): &(usize, f64)| {
            let left = *index as f64 + (1.0 - FILLED) / 2.0 + place as f64 * width;
            Rectangle::new([(left, lowest), (left + width, *value)], style)
        };
        chart.draw_series(bars.iter().map(rectangle))?;
    }
    let one = [(0.0, 1.0), (loads.len() as f64, 1.0)];
    chart.draw_series(LineSeries::new(one, BLACK.stroke_width(2)))?;
    area.present().with_context(|| format!("cannot write {}", path.display()))
}

const fn short(workload: Workload) -> &'static str {
    match workload {
        Workload::Hot => "1 × 100",
        Workload::Mass => "1 × 20,000",
        Workload::Small => "50 × 20",
        Workload::Spread => "200 × 100",
        _ => "sold out",
    }
}

/// Lines over the offered rate: what people wait, and how many have their outcome in time.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn rates(path: &Path, title: &str, report: &Report, workload: Workload) -> anyhow::Result<()> {
    let lines = |of: fn(&super::report::Step) -> f64| {
        let rows = report.rows.iter().filter(|row| row.workload == workload);
        let line = |row: &super::report::Row| Series {
            name: row.system.title(),
            colour: colour(row.system),
            points: row.steps.iter().map(|step| (step.offered_per_s, Some(of(step)))).collect(),
        };
        rows.map(line).collect::<Vec<_>>()
    };
    let across = "offered a second";
    let waits = |axis, of| Panel { axis, across, logarithmic: true, series: lines(of) };
    let panels = [
        waits("outcome p50, ms", |step| step.outcome.p50_ms),
        waits("outcome p99, ms", |step| step.outcome.p99_ms),
        Panel { axis: "outcomes a second", across, logarithmic: false, series: lines(|step| step.decided_per_s) },
    ];
    plot::draw(path, title, &format!("{}\n{}", report.origin.machine, report.origin.command), &panels)
}

/// Lines over time: outcomes a second of each system under the spike, beside what was due, and how many people wait for one.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn spike(path: &Path, report: &Report) -> anyhow::Result<()> {
    let rows = || report.rows.iter().filter(|row| row.workload == Workload::Spike);
    let moment_s = MOMENT.as_secs_f64();
    let lines = |of: &dyn Fn(&[Moment]) -> Vec<f64>| {
        let line = |row: &super::report::Row| {
            let values = of(&row.timeline).into_iter().enumerate();
            Series {
                name: row.system.title(),
                colour: colour(row.system),
                points: values.map(|(index, value)| (index as f64 * moment_s, Some(value))).collect(),
            }
        };
        rows().map(line).collect::<Vec<_>>()
    };
    let rate = |of: fn(&Moment) -> u64| move |moments: &[Moment]| smooth(moments, of, moment_s);
    let waiting = |moments: &[Moment]| {
        let mut waiting = 0_i64;
        let count = |moment: &Moment| {
            waiting += moment.due.cast_signed() - moment.decided.cast_signed();
            waiting as f64
        };
        moments.iter().map(count).collect()
    };
    let mut decided = lines(&rate(|moment| moment.decided));
    let due = rows().next().map(|row| rate(|moment| moment.due)(&row.timeline)).unwrap_or_default();
    let points = due.into_iter().enumerate().map(|(index, value)| (index as f64 * moment_s, Some(value))).collect();
    decided.push(Series { name: "due", colour: BLACK, points });
    let across = "seconds";
    let panels = [
        Panel { axis: "outcomes a second", across, logarithmic: false, series: decided },
        Panel { axis: "people who wait", across, logarithmic: false, series: lines(&waiting) },
    ];
    let title = "The spike: arrivals, outcomes and who waits";
    plot::draw(path, title, &format!("{}\n{}", report.origin.machine, report.origin.command), &panels)
}

/// Lines over what grows: what an intent costs, and the server's memory.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn scale(path: &Path, report: &Report) -> anyhow::Result<()> {
    let panel = |axis, across, grows: Axis, colour, of: fn(&Point) -> f64| {
        let points = report.scale.iter().filter(|point| point.axis == grows);
        // Sizes are powers of ten.
        let points = points.map(|point| ((point.size as f64).log10(), Some(of(point)))).collect();
        Panel { axis, across, logarithmic: false, series: vec![Series { name: "Orderly, embedded", colour, points }] }
    };
    let cpu_us = |point: &Point| point.cpu_ms_per_intent * 1_000.0;
    let memory_mib = |point: &Point| point.resident_bytes as f64 / 1_048_576.0;
    let panels = [
        panel("CPU an intent, µs", "sessions, powers of ten", Axis::Sessions, BLUE, cpu_us),
        panel("CPU an intent, µs", "tickets before, powers of ten", Axis::Tickets, GREEN, cpu_us),
        panel("memory, MiB", "tickets before, powers of ten", Axis::Tickets, PURPLE, memory_mib),
    ];
    let title = "What an intent costs as sessions and tickets grow";
    plot::draw(path, title, &format!("{}\n{}", report.origin.machine, report.origin.command), &panels)
}

/// Rates over the moments around each one, so that batches do not hide the rate.
fn smooth(moments: &[Moment], of: fn(&Moment) -> u64, moment_s: f64) -> Vec<f64> {
    const AROUND: usize = 3;
    let mean = |index: usize| {
        let window = &moments[index.saturating_sub(AROUND)..(index + AROUND + 1).min(moments.len())];
        window.iter().map(of).sum::<u64>() as f64 / (window.len() as f64 * moment_s)
    };
    (0..moments.len()).map(mean).collect()
}
