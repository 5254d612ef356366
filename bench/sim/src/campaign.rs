//! Many seeds, and what they came to.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;

use crate::plan::Plan;
use crate::run;
use crate::shrink;

/// Violations that are written out in full.
const SHOWN_MAX: u64 = 10;

/// Prints one run, and the least of it that still fails.
pub(crate) fn replay(seed: u64, out: &mut dyn Write) -> anyhow::Result<()> {
    let plan = Plan::draw(seed);
    let verdict = run::run(&plan, true)?;
    print_history(&verdict, out)?;
    let Some(violation) = verdict.violation else {
        writeln!(out, "seed {seed}: all promises were kept")?;
        return Ok(());
    };
    writeln!(out, "seed {seed}: {violation}")?;
    let least = shrink::shrink(&plan)?;
    let verdict = run::run(&least, true)?;
    writeln!(out, "\nthe least of it that fails, {} of {} steps:", least.steps.len(), plan.steps.len())?;
    print_history(&verdict, out)?;
    anyhow::bail!("seed {seed}: {}", verdict.violation.unwrap_or(violation))
}

fn print_history(verdict: &run::Verdict, out: &mut dyn Write) -> anyhow::Result<()> {
    for line in &verdict.history {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// The seed after the last one in a ledger.
pub(crate) fn ended_at(ledger: &Path) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(ledger).with_context(|| format!("reading {}", ledger.display()))?;
    let last =
        text.lines().filter_map(|line| line.split('|').nth(3)?.trim().replace(',', "").parse::<u64>().ok()).max();
    Ok(last.map_or(1, |last| last + 1))
}

/// Runs seeds one after the other; tells whether all promises were kept.
pub(crate) fn run(from: u64, seeds: u64, ledger: Option<&Path>, out: &mut dyn Write) -> anyhow::Result<bool> {
    let began = Instant::now();
    let (mut intents, mut violations) = (0, 0);
    let mut faults: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in from..from + seeds {
        let verdict = run::run(&Plan::draw(seed), false)?;
        intents += verdict.intents;
        for (kind, count) in verdict.faults {
            *faults.entry(kind).or_default() += count;
        }
        if let Some(violation) = verdict.violation {
            violations += 1;
            if violations <= SHOWN_MAX {
                writeln!(out, "seed {seed}: {}", violation.chars().take(400).collect::<String>())?;
            }
        }
    }
    let last = from + seeds - 1;
    let all: u64 = faults.values().sum();
    let seconds = began.elapsed().as_secs_f64();
    writeln!(
        out,
        "seeds {from} to {last}: {intents} intents, {all} faults, {violations} violations in {seconds:.0} s"
    )?;
    for (kind, count) in &faults {
        writeln!(out, "  {count:>9} {kind}")?;
    }
    if let Some(ledger) = ledger {
        let kinds: Vec<_> = faults.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let date = jiff::Zoned::now().date();
        let commit = commit();
        let line = format!(
            "| {date} | {from} | {last} | {intents} | {all} | {violations} | `{commit}` | `make sim SEEDS={seeds}` | {} |\n",
            kinds.join(", ")
        );
        let mut file = OpenOptions::new().append(true).open(ledger).context("opening the ledger of seeds")?;
        file.write_all(line.as_bytes())?;
    }
    Ok(violations == 0)
}

fn commit() -> String {
    let described = std::process::Command::new("git").args(["describe", "--always", "--dirty"]).output();
    described.map_or_else(|_| "unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
