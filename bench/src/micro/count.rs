//! Counts the steps' instructions under callgrind, and compares them with what they were.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};

use super::steps;
use crate::machine;

/// A step is done as often as there are different inputs, and then 20 times more: the difference leaves out what happens once.
const FEW: u64 = steps::BOOKINGS as u64;
const MORE: u64 = FEW * 20;
/// How much more than before is still noise, as a part of it.
const TOLERANCE: f64 = 0.1;
/// The same on a processor with other vectors: the binary is the same, and some libraries choose by what the processor has.
const TOLERANCE_OTHER_VECTORS: f64 = 0.25;
/// How often a step is counted: seeds of hash maps and of the allocator differ from run to run, so the least counts.
const COUNTS: usize = 3;

/// What is counted.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Do this step alone, `--times` times, and count nothing
    #[arg(long)]
    pub step: Option<String>,
    /// How often
    #[arg(long, default_value_t = MORE, requires = "step")]
    pub times: u64,
    /// What the counts were: they may not grow by more than 10 %
    #[arg(long, default_value = "bench/instructions.json")]
    pub baseline: PathBuf,
    /// Write the counts there instead of comparing them
    #[arg(long)]
    pub update: bool,
}

/// Instructions of each step, once.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Counts {
    /// Compiler and architecture: others make another binary, whose counts tell nothing about this one's.
    made_by: String,
    /// What the processor has beyond its architecture.
    vectors: String,
    instructions: BTreeMap<String, u64>,
}

/// Does one step, or counts all and says whether none has grown.
///
/// # Errors
/// When there is no such step, valgrind is missing, or the baseline cannot be read.
pub fn run(options: &Options) -> anyhow::Result<(String, bool)> {
    if let Some(name) = &options.step {
        let mut steps = steps::all()?;
        let names = steps.iter().map(|step| step.name).collect::<Vec<_>>().join(", ");
        let step = steps.iter_mut().find(|step| step.name == name);
        let step = step.with_context(|| format!("there is no step {name:?}; choose one of {names}"))?;
        (0..options.times).for_each(|_| step.run());
        return Ok((String::new(), true));
    }
    let mut counted = Counts { made_by: made_by(), vectors: vectors().to_owned(), instructions: BTreeMap::new() };
    for step in steps::all()? {
        let counts = (0..COUNTS).map(|_| count(step.name)).collect::<anyhow::Result<Vec<_>>>()?;
        let least = counts.into_iter().min().context("it was counted")?;
        counted.instructions.insert(step.name.to_owned(), least);
    }
    if options.update {
        let text = serde_json::to_string_pretty(&counted)? + "\n";
        let path = &options.baseline;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        return Ok((format!("{} has the counts now\n", path.display()), true));
    }
    let path = options.baseline.display();
    let text = std::fs::read_to_string(&options.baseline)
        .with_context(|| format!("cannot read {path}; `make bench-instructions UPDATE=1` writes it"))?;
    let before: Counts = serde_json::from_str(&text).with_context(|| format!("{path} has no counts"))?;
    compare(&before, &counted)
}

fn compare(before: &Counts, counted: &Counts) -> anyhow::Result<(String, bool)> {
    let mut table = crate::table::table(&["step, once", "instructions", "before", "ratio", ""]);
    let comparable = before.made_by == counted.made_by;
    let tolerance = if before.vectors == counted.vectors { TOLERANCE } else { TOLERANCE_OTHER_VECTORS };
    let mut holds = true;
    for step in steps::all()? {
        let now = counted.instructions[step.name];
        let Some(&was) = before.instructions.get(step.name) else {
            bail!("{} is new: `make bench-instructions UPDATE=1` takes its count down", step.name);
        };
        let ratio = now as f64 / was as f64;
        let verdict = match comparable {
            true if ratio > 1.0 + tolerance => "more",
            true if ratio < 1.0 - tolerance => "fewer: take it down with UPDATE=1",
            true => "",
            false => "not compared",
        };
        holds &= verdict != "more";
        let figures =
            [step.what.to_owned(), now.to_string(), was.to_string(), format!("{ratio:.3}"), verdict.to_owned()];
        table.add_row(figures);
    }
    let mut text = format!("{table}\n");
    if !comparable {
        writeln!(
            text,
            "\nNOTHING WAS COMPARED, and nothing is guarded: these are the counts of {}, those before are of {}.\n\
             Take these down with `make bench-instructions UPDATE=1`, at a commit whose counts are known to be good.\n",
            counted.made_by, before.made_by
        )?;
    } else if before.vectors != counted.vectors {
        writeln!(
            text,
            "The same binary on a processor that has {:?}, not {:?}: compared with a tolerance of {:.0} %, not {:.0}.",
            counted.vectors,
            before.vectors,
            TOLERANCE_OTHER_VECTORS * 100.0,
            TOLERANCE * 100.0
        )?;
    }
    if !holds {
        writeln!(
            text,
            "Steps take more instructions. Find out why; if it is worth it, `make bench-instructions UPDATE=1`"
        )?;
    }
    Ok((text, holds))
}

/// Instructions of a step, once.
fn count(step: &str) -> anyhow::Result<u64> {
    let (few, all) = (callgrind(step, FEW)?, callgrind(step, FEW + MORE)?);
    Ok(all.saturating_sub(few) / MORE)
}

/// Instructions of this program, from its start to its end, when it does a step so often.
fn callgrind(step: &str, times: u64) -> anyhow::Result<u64> {
    let program = std::env::current_exe()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["micro", "--step", step, "--times", &times.to_string()])
        .output()
        .context("valgrind does not start; install Debian's package valgrind")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind ended with {}: {told}", output.status);
    let collected = told.lines().find_map(|line| line.split_once("Collected :"));
    let (_, count) = collected.with_context(|| format!("valgrind told no count: {told}"))?;
    count.trim().parse().with_context(|| format!("valgrind told no count: {told}"))
}

/// What made this binary.
fn made_by() -> String {
    format!("{}, {}", machine::compiler(), std::env::consts::ARCH)
}

/// What libraries look for in a processor before they choose their code.
fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        return "avx2";
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What every step counted, with so many instructions each.
    fn counts(made_by: &str, vectors: &str, instructions: u64) -> Counts {
        let steps = steps::all().expect("their inputs can be made");
        let instructions = steps.iter().map(|step| (step.name.to_owned(), instructions)).collect();
        Counts { made_by: made_by.to_owned(), vectors: vectors.to_owned(), instructions }
    }

    #[test]
    fn only_another_binary_is_not_compared() {
        let before = counts("rustc 1", "avx2", 1_000);
        for (now, holds, says) in [
            (counts("rustc 1", "avx2", 1_090), true, ""),
            (counts("rustc 1", "avx2", 1_110), false, "Steps take more instructions"),
            (counts("rustc 1", "", 1_240), true, "tolerance of 25 %"),
            (counts("rustc 1", "", 1_260), false, "Steps take more instructions"),
            (counts("rustc 2", "avx2", 9_000), true, "NOTHING WAS COMPARED"),
        ] {
            let (text, found) = compare(&before, &now).expect("all steps are there");
            assert_eq!(found, holds, "{text}");
            assert!(text.contains(says), "{says}: {text}");
        }
    }
}
