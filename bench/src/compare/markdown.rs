//! The report, to be read.

use std::fmt::Write as _;

use super::goals::TICKETS_LEAST;
use super::report::{AllKnow, Report, Row};
use super::scale::Axis;
use super::system::System;
use super::workload::Workload;
use crate::goal::Goal;
use crate::latency::Summary;

/// The report as Markdown. `plots` are files beside it.
pub(super) fn markdown(report: &Report, plots: &[(&str, String)]) -> String {
    let mut text = String::from(HEAD);
    for line in report.origin.lines() {
        let _ = writeln!(text, "- {line}");
    }
    let _ = writeln!(
        text,
        "- {} connections of the client, {} of each baseline to PostgreSQL\n- it took {:.1} minutes",
        report.connections,
        report.pool,
        report.seconds / 60.0
    );
    for what in &report.left_out {
        let _ = writeln!(text, "- left out: {what}");
    }
    for what in &report.failed {
        let _ = writeln!(text, "- **could not be measured**: {what}");
    }
    ratios(&mut text, report);
    goals(&mut text, report);
    client(&mut text, report);
    for (title, file) in plots {
        let _ = writeln!(text, "\n![{title}]({file})");
    }
    for load in &report.loads {
        section(&mut text, report, load.workload, &load.note);
    }
    crashes(&mut text, report);
    scale(&mut text, report);
    text.push_str(READING);
    text
}

const HEAD: &str = "# Orderly beside what people would otherwise build\n\nWritten by `orderly-bench compare`. Figures in \
                    absolute terms are this machine's; what travels is the ratios.\n\n";

const READING: &str = "\n## How to read this
- **decided/s**: final outcomes a second at the client, over the whole load: who books slowly has the quick refusals still to come. \
`≈` where a loop was ended before, after half a minute: computed as *all know after* is. Orderly is asked with `Prefer: wait`, the baselines answer \
with the outcome. Orderly has written every refusal down by then, in its store, and the request behind it on the disk; the baselines keep no record \
of one, and ask nobody who they are (Orderly checks a signed token with each request).
- **outcome**: from when a request was due to its outcome, retries included. In a closed loop it is counted from when it was sent: compare \
such latencies within one load only, since whoever is slower is asked less.
- **accept**: to the 202. Whoever waits for the outcome sees none; so, under steady rates, it is measured at 70 % of what the \
system decides at most, and under the other loads by the same load once more, on sessions of its own, asked without `Prefer: \
wait` (a closed loop in part). The baselines have no 202: they answer with the outcome. In the storm nobody asks for one: \
everybody is impatient for the outcome.
- **all know after**: when the last of them had an outcome. `≈` where the loop was ended before all were sent: computed from the \
places and patients that were left, at the rate at which places went until then, and at which the system refuses in the hot \
doctor's load. `>` where it cannot be computed, `–` where patients come without end.
- **record after**: how long after the last answer the system of record was complete.
- **oversold, lost, doubled**: what people were told beside what the record holds. **out of order**: people who \
got a place though they asked after somebody had been told that none is left. **checker**: Orderly's own, over log, store \
and analytics.
- **CPU**: of all processes of a system, its servers included (PostgreSQL's and Redis' background work too). **fsyncs**: those that \
an answer waits for: PostgreSQL's `wal_sync`; for Orderly, embedded, the transactions of the log, one each. What nobody waits for is not \
counted: Redis' append-only file, and the embedded store's write-ahead log. Kafka writes without \
waiting for the disk, as it does by default: its promise is copies on other machines. \
**memory**: the most of all processes' own memory, and once what they share.
- **client busy**: the part of the time in which the client's one thread had a processor. It shares the machine with what it \
measures.
";

fn thousand(value: f64) -> String {
    if value >= 10_000.0 { format!("{:.1}k", value / 1_000.0) } else { format!("{value:.0}") }
}

fn ratios(text: &mut String, report: &Report) {
    text.push_str(
        "\n## Decided a second, ÷ what others decide\n\n\
         | load | the best that answers from the disk | embedded ÷ it | distributed ÷ it | the best of the five, by the letter | \
         embedded ÷ it | distributed ÷ it | the bare handler | embedded ÷ it | distributed ÷ it |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    // In an open loop everybody gets the rate that is offered.
    for workload in closed(report) {
        let cells = |name: &str, rate: f64| {
            let ratio = |system| {
                let of = report.row(system, workload).and_then(|row| report.whole_per_s(row));
                of.map_or_else(String::new, |of| format!("{:.2}", of / rate))
            };
            let name = format!("{name} {}/s", thousand(rate));
            [name.trim().to_owned(), ratio(System::Orderly), ratio(System::Distributed)].join(" | ")
        };
        let of = |row: Option<&Row>| {
            let row = row.and_then(|row| Some((row.system, report.whole_per_s(row)?)));
            row.map_or_else(|| " |  | ".to_owned(), |(system, rate)| cells(system.title(), rate))
        };
        let (disk, five) = (of(report.best_baseline(workload)), of(report.best_of_five(workload)));
        let bare = report.bare(workload).map_or_else(|| " |  | ".to_owned(), |bare| cells("", bare.per_s));
        let _ = writeln!(text, "| {} | {disk} | {five} | {bare} |", workload.title());
    }
    text.push_str(
        "\nThe five are all baselines but the one that keeps nothing. Redis first, with a queue, is one of them by the letter, and \
         answers when Redis has counted: before PostgreSQL knows of the booking, and up to a second before Redis itself has \
         written it to the disk. What that means for whoever was told a number is shown by the crashes below.\n",
    );
}

fn closed(report: &Report) -> impl Iterator<Item = Workload> + '_ {
    report.loads.iter().map(|load| load.workload).filter(|workload| workload.is_closed())
}

fn goals(text: &mut String, report: &Report) {
    if report.goals.is_empty() {
        return;
    }
    text.push_str("\n## Goals\n\n| what | measured | goal | |\n|---|---|---|---|\n");
    for goal in &report.goals {
        let Goal { what, value, wanted, .. } = goal;
        let _ = writeln!(text, "| {what} | {value:.2} | {wanted} | {} |", goal.verdict());
    }
    let missed = report.goals.iter().filter(|goal| !goal.met).count();
    let _ = writeln!(text, "\n{missed} of {} goals are missed.", report.goals.len());
}

/// By how much the client could go faster, system by system.
fn client(text: &mut String, report: &Report) {
    let systems: Vec<_> =
        System::ALL.into_iter().filter(|system| report.rows.iter().any(|row| row.system == *system)).collect();
    if closed(report).next().is_none() || systems.is_empty() {
        return;
    }
    let titles: Vec<_> = systems.iter().map(|system| system.title()).collect();
    let _ = writeln!(
        text,
        "\n## Whether the client is what is measured\n\nHow many times faster the same client, just before each load, drives a \
         handler that parses the same request and does nothing; in brackets how busy the client's thread was.\n\n\
         | load | the handler that does nothing | {} |\n|---|---|{}",
        titles.join(" | "),
        "---|".repeat(systems.len())
    );
    let percent = |busy: f64| format!("{:.0} %", busy * 100.0);
    let mut least: Option<(f64, &Row)> = None;
    for workload in closed(report) {
        let Some(bare) = report.bare(workload) else { continue };
        let mut cells = vec![format!("{}/s ({})", thousand(bare.per_s), percent(bare.client_busy))];
        for system in &systems {
            let row = report.row(*system, workload);
            let Some((row, rate)) = row.and_then(|row| Some((row, report.whole_per_s(row)?))) else {
                cells.push(String::new());
                continue;
            };
            let times = bare.per_s / rate;
            if *system != System::Memory && least.is_none_or(|(least, _)| times < least) {
                least = Some((times, row));
            }
            cells.push(format!("{times:.1} ({})", percent(row.client_busy)));
        }
        let _ = writeln!(text, "| {} | {} |", workload.title(), cells.join(" | "));
    }
    if let Some((times, row)) = least {
        let _ = writeln!(
            text,
            "\nOf the systems that keep a record, {} comes nearest: the handler that does nothing is {times:.1} times faster than it \
             in {}. On a machine that the client shares, its own share of the processor is in every figure, and weighs most where a \
             system does least: {} is no measure of anything but that, and figures near the handler's are lower than the system's \
             own most.",
            row.system.title(),
            row.workload.title(),
            System::Memory.title(),
        );
    }
}

fn section(text: &mut String, report: &Report, workload: Workload, note: &str) {
    let _ = writeln!(text, "\n## {}\n{note}\n", capitalised(workload.title()));
    let rows: Vec<_> = report.rows.iter().filter(|row| row.workload == workload).collect();
    text.push_str(
        "| system | decided/s | outcome p50 | p95 | p99 | p99.9 ms | accept p50 | p95 | p99 ms | all know after s | booked | \
         without outcome | turned away | oversold | lost | doubled | out of order | checker | CPU ms each | fsyncs each | memory MiB | \
         record after s | client busy |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in &rows {
        line(text, report, row);
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
        "\n| system | share of its most | offered/s | decided/s in time | outcome p50 | p99 | p99.9 ms | without outcome |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        for step in &row.steps {
            let _ = writeln!(
                text,
                "| {} | {:.1} | {} | {} | {:.1} | {:.1} | {:.1} | {} |",
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

fn line(text: &mut String, report: &Report, row: &Row) {
    let checker = row.truth.checker_holds.map_or("", |holds| if holds { "holds" } else { "**BROKEN**" });
    let syncs = row.fsyncs_per_intent.map_or_else(String::new, |syncs| format!("{syncs:.4}"));
    let accept = row.accept.map_or_else(
        || "– | – | –".to_owned(),
        |Summary { p50_ms, p95_ms, p99_ms, .. }| format!("{p50_ms:.1} | {p95_ms:.1} | {p99_ms:.1}"),
    );
    let all_know = match report.all_know(row) {
        Some(AllKnow::After(seconds)) => format!("{seconds:.1}"),
        Some(AllKnow::Computed(seconds)) => format!("≈ {seconds:.0}"),
        Some(AllKnow::Later(seconds)) => format!("> {seconds:.1}"),
        None => "–".to_owned(),
    };
    let is_computed = matches!(report.all_know(row), Some(AllKnow::Computed(_)));
    let whole = report
        .whole_per_s(row)
        .map_or_else(|| "–".to_owned(), |rate| format!("{}{}", if is_computed { "≈ " } else { "" }, thousand(rate)));
    let wrong = |count: u64| if count == 0 { "0".to_owned() } else { format!("**{count}**") };
    let _ = writeln!(
        text,
        "| {} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {accept} | {all_know} | {} | {} | {} | {} | {} | {} | {} | {checker} | {:.3} | {syncs} | \
         {:.0} | {:.2} | {:.0} % |",
        row.system.title(),
        whole,
        row.outcome.p50_ms,
        row.outcome.p95_ms,
        row.outcome.p99_ms,
        row.outcome.p999_ms,
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
        row.client_busy * 100.0,
    );
}

fn crashes(text: &mut String, report: &Report) {
    if report.crashes.is_empty() {
        return;
    }
    text.push_str(
        "\n## A crash in the middle of a load\nWhile patients book, PostgreSQL hangs for half a second (SIGSTOP; the embedded profile \
         has none), then the system and all of its servers are killed (`kill -9`). **Not in the record**: patients who had been told a \
         number which the system of record (PostgreSQL; Orderly's store) does not have when it is up again. **Lost**: those whom it \
         still does not have when everything else is up again and the queue is empty. This is no loss of power: what a process has \
         given to the kernel survives, so that an append-only file of Redis that is written to disk once a second has everything.\n\n\
         | system | had been told a number | not in the record | lost | told or held twice |\n|---|---|---|---|---|\n",
    );
    let wrong = |count: u64| if count == 0 { "0".to_owned() } else { format!("**{count}**") };
    for crash in &report.crashes {
        let [unrecorded, lost, oversold] = [crash.unrecorded, crash.lost, crash.oversold].map(wrong);
        let _ = writeln!(text, "| {} | {} | {unrecorded} | {lost} | {oversold} |", crash.what, crash.told);
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
    for (axis, least, what) in [(Axis::Sessions, 0, "sessions"), (Axis::Tickets, TICKETS_LEAST, "tickets")] {
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

#[cfg(test)]
mod tests {
    use super::super::report::tests::{report, row};
    use super::super::report::{Bare, Crash};
    use super::*;

    #[test]
    fn it_says_what_a_sceptic_asks_for() {
        let hot = |system, rate| row(system, Workload::Hot, rate);
        let accept = Some(Summary { count: 9, p50_ms: 1.25, p95_ms: 2.5, p99_ms: 3.75, ..Summary::default() });
        let orderly = Row { accept, client_busy: 0.5, ..hot(System::Orderly, 20_000.0) };
        let row_lock = Row { decided: 50_000, booked: 100, ..hot(System::RowLock, 10_000.0) };
        let mass = Row {
            cut: true,
            seconds: 6.0,
            booked: 6_000,
            decided: 6_000,
            ..row(System::RowLock, Workload::Mass, 1_000.0)
        };
        let mut report = report(vec![orderly, row_lock, hot(System::RedisQueue, 40_000.0), mass]);
        report.loads[0].bare = Some(Bare { per_s: 80_000.0, client_busy: 0.9 });
        report.left_out = vec!["real bookings: no file".to_owned()];
        report.failed = vec!["it did not start".to_owned()];
        let crash = Crash { what: "a queue", is_orderly: false, told: 9, unrecorded: 7, lost: 0, oversold: 0 };
        report.crashes = vec![crash];
        report.finish(std::time::Duration::from_secs(90));
        let text = markdown(&report, &[]);
        for part in [
            "| hot doctor, 1 × 100 | row lock 10.0k/s | 2.00 |  | Redis first, queue 40.0k/s | 0.50 |  | 80.0k/s | 0.25 |  |",
            "| hot doctor, 1 × 100 | 80.0k/s (90 %) | 4.0 (50 %) | 8.0 (0 %) | 2.0 (0 %) |",
            "Redis first, queue comes nearest: the handler that does nothing is 2.0 times faster",
            "| hot doctor, 1 × 100: Orderly, embedded ÷ the bare handler | 0.25 | ≥ 0.45 | missed |",
            "| 1.2 | 2.5 | 3.8 |",
            "| ≈ 23 |",
            "| a queue | 9 | **7** | 0 | 0 |",
            "- left out: real bookings: no file",
            "- **could not be measured**: it did not start",
            "- it took 1.5 minutes",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!report.holds(), "what could not be measured does not hold");
    }
}
