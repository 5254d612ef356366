//! The report, to be read.

use std::fmt::Write as _;

use super::report::{Report, Row};
use super::scale::Axis;
use super::system::System;
use super::workload::Workload;

/// The report as Markdown. `plots` are files beside it.
pub(super) fn markdown(report: &Report, plots: &[(&str, String)]) -> String {
    let mut text = String::from(HEAD);
    for line in [&report.machine, &format!("commit {}", report.commit), &format!("`{}`", report.command)] {
        let _ = writeln!(text, "- {line}");
    }
    for version in &report.versions {
        let _ = writeln!(text, "- {version}");
    }
    let _ = writeln!(
        text,
        "- {} connections of the client, {} of each baseline to PostgreSQL",
        report.connections, report.pool
    );
    ratios(&mut text, report);
    for (title, file) in plots {
        let _ = writeln!(text, "\n![{title}]({file})");
    }
    for (workload, note) in &report.loads {
        load(&mut text, report, *workload, note);
    }
    crashes(&mut text, report);
    scale(&mut text, report);
    text.push_str(READING);
    text
}

const HEAD: &str = "# Orderly beside what people would otherwise build\n\nWritten by `orderly-bench compare`. Figures in \
                    absolute terms are this machine's; what travels is the ratios.\n\n";

const READING: &str = "\n## How to read this
- **decided/s**: final outcomes a second at the client; Orderly is asked with `Prefer: wait`, the baselines answer with the \
outcome. Orderly has recorded every refusal durably by then; the baselines keep no record of one, and ask nobody who they are \
(Orderly checks a signed token with each request).
- **outcome**: from when a request was due (closed loop: from when it was sent) to its outcome, retries included. **accept**: \
the 202, at 70 % of what the system decides at most.
- **all know after**: when the last of them had an outcome; `>` where the loop was ended before all were sent.
- **record after**: how long after the last answer the system of record was complete.
- **oversold, lost, doubled**: what people were told beside what the record holds. **out of order**: people who \
got a place though they asked after somebody had been told that none is left. **checker**: Orderly's own, over log, store \
and analytics.
- **CPU**: of all processes of a system, its servers included (PostgreSQL's and Redis' background work too). **fsyncs**: \
PostgreSQL's `wal_sync`; for Orderly, embedded, the transactions of log and store, which wait once each. Kafka writes without \
waiting for the disk, as it does by default: its promise is copies on other machines. \
**memory**: the most of all processes' own memory, and once what they share.
- The client has one thread. It shares the machine with what it measures.
";

fn thousand(value: f64) -> String {
    if value >= 10_000.0 { format!("{:.1}k", value / 1_000.0) } else { format!("{value:.0}") }
}

fn ratios(text: &mut String, report: &Report) {
    text.push_str(
        "\n## Decided a second, ÷ what others decide\n\n\
         | load | best baseline that answers from the disk | embedded ÷ it | distributed ÷ it | Redis first, queue | \
         embedded ÷ it | distributed ÷ it |\n|---|---|---|---|---|---|---|\n",
    );
    for (workload, _) in &report.loads {
        // In an open loop everybody gets the rate that is offered.
        if !workload.is_closed() {
            continue;
        }
        let cells = |other: Option<&Row>, title: bool| {
            let Some(other) = other else { return [String::new(), String::new(), String::new()] };
            let ratio = |system| {
                let row = report.row(system, *workload);
                row.map_or_else(String::new, |row| format!("{:.2}", row.goodput_per_s / other.goodput_per_s))
            };
            let rate = format!("{}/s", thousand(other.goodput_per_s));
            let name = if title { format!("{} ({rate})", other.system.title()) } else { rate };
            [name, ratio(System::Orderly), ratio(System::Distributed)]
        };
        let disk = cells(report.best_baseline(*workload), true);
        let queue = cells(report.row(System::RedisQueue, *workload), false);
        let _ = writeln!(text, "| {} | {} | {} |", workload.title(), disk.join(" | "), queue.join(" | "));
    }
    text.push_str(
        "\nRedis first, with a queue, answers when Redis has counted: before PostgreSQL knows of the booking, and up to a \
         second before Redis itself has written it to the disk.\n",
    );
    let most = report.rows.iter().filter(|row| row.workload.is_closed() && row.system != System::Memory);
    let most = most.map(|row| row.goodput_per_s).fold(0.0, f64::max);
    let _ = writeln!(
        text,
        "\nThe client drives a handler that does nothing to {}/s: {:.1} times the fastest of them, the one without a record left out.",
        thousand(report.bare_per_s),
        report.bare_per_s / most.max(1.0)
    );
}

fn load(text: &mut String, report: &Report, workload: Workload, note: &str) {
    let _ = writeln!(text, "\n## {}\n{note}\n", capitalised(workload.title()));
    let rows: Vec<_> = report.rows.iter().filter(|row| row.workload == workload).collect();
    text.push_str(
        "| system | decided/s | outcome p50 | p95 | p99 | p99.9 ms | all know after s | booked | without outcome | \
         turned away | oversold | lost | doubled | out of order | checker | CPU ms each | fsyncs each | memory MiB | record after s |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in &rows {
        line(text, row);
    }
    for row in rows.iter().filter(|row| row.broken > 0) {
        let why = row.first_break.as_deref().unwrap_or_default();
        let _ =
            writeln!(text, "\n{}: {} attempts without an answer; the first: `{why}`", row.system.title(), row.broken);
    }
    if rows.iter().all(|row| row.steps.is_empty()) {
        return;
    }
    text.push_str(
        "\n| system | share of its most | offered/s | decided/s in time | outcome p50 | p99 | p99.9 ms | without outcome | \
         accept p99 ms |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let accept = row.accept.map_or_else(String::new, |accept| format!("{:.1}", accept.p99_ms));
        for step in &row.steps {
            let _ = writeln!(
                text,
                "| {} | {:.1} | {} | {} | {:.1} | {:.1} | {:.1} | {} | {accept} |",
                row.system.title(),
                step.share,
                thousand(step.offered_per_s),
                thousand(step.decided_per_s),
                step.outcome.p50_ms,
                step.outcome.p99_ms,
                step.outcome.p999_ms,
                step.undecided,
            );
        }
    }
}

fn line(text: &mut String, row: &Row) {
    let checker = row.truth.checker_holds.map_or("", |holds| if holds { "holds" } else { "**BROKEN**" });
    let syncs = row.fsyncs_per_intent.map_or_else(String::new, |syncs| format!("{syncs:.4}"));
    let wrong = |count: u64| if count == 0 { "0".to_owned() } else { format!("**{count}**") };
    let _ = writeln!(
        text,
        "| {} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {}{:.1} | {} | {} | {} | {} | {} | {} | {} | {checker} | {:.3} | {syncs} | {:.0} | {:.2} |",
        row.system.title(),
        thousand(row.goodput_per_s),
        row.outcome.p50_ms,
        row.outcome.p95_ms,
        row.outcome.p99_ms,
        row.outcome.p999_ms,
        if row.cut { "> " } else { "" },
        row.seconds,
        row.booked,
        row.undecided,
        row.turned_away,
        wrong(row.truth.oversold),
        wrong(row.truth.lost),
        wrong(row.truth.doubled),
        wrong(row.out_of_order),
        row.cpu_ms_per_intent,
        row.peak_resident_bytes as f64 / 1_048_576.0,
        row.record_complete_s,
    );
}

fn crashes(text: &mut String, report: &Report) {
    if report.crashes.is_empty() {
        return;
    }
    text.push_str(
        "\n## A crash in the middle of a load\nThe system and its servers are killed (`kill -9`) while patients book, and \
         started again. This is no loss of power: what a process has given to the kernel survives, so that an append-only \
         file of Redis that is written to disk once a second shows no gap here.\n\n\
         | system | had been told a number | lost | told or held twice |\n|---|---|---|---|\n",
    );
    for crash in &report.crashes {
        let _ = writeln!(text, "| {} | {} | {} | {} |", crash.what, crash.told, crash.lost, crash.oversold);
    }
}

fn scale(text: &mut String, report: &Report) {
    if report.scale.is_empty() {
        return;
    }
    text.push_str(
        "\n## What an intent costs as a hospital grows\nOrderly, embedded, in a closed loop; everybody gets a number.\n\n\
         | what grows | to | CPU ms each | decided/s | memory MiB |\n|---|---|---|---|---|\n",
    );
    for point in &report.scale {
        let _ = writeln!(
            text,
            "| {} | {} | {:.4} | {} | {:.0} |",
            if point.axis == Axis::Sessions { "sessions" } else { "tickets" },
            point.size,
            point.cpu_ms_per_intent,
            thousand(point.decided_per_s),
            point.resident_bytes as f64 / 1_048_576.0,
        );
    }
    // The first tickets also pay for the start.
    for (axis, least, what) in [(Axis::Sessions, 0, "sessions"), (Axis::Tickets, 100_000, "tickets")] {
        if let Some((small, large)) = report.growth(axis, least) {
            let ratio = large.cpu_ms_per_intent / small.cpu_ms_per_intent;
            let _ = writeln!(text, "\nAt {} {what} ÷ at {}: {ratio:.2}.", large.size, small.size);
        }
    }
}

fn capitalised(title: &str) -> String {
    let mut letters = title.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
