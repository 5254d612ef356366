//! Whether mistakes that are made on purpose are found.

use std::io::Write;
use std::time::Instant;

use orderly_domain::planted::{Bug, plant};

use crate::plan::Plan;
use crate::run;

/// Makes each mistake in turn and runs seeds until one fails.
pub(crate) fn run(seeds_max: u64, only: Option<&str>, out: &mut dyn Write) -> anyhow::Result<()> {
    // A mistake that ends a worker by a panic is found by that; the panic's text is of no use here.
    std::panic::set_hook(Box::new(|_| {}));
    writeln!(out, "| mistake | what is done wrong | found by seed | seconds | as |\n|---|---|---:|---:|---|")?;
    let mut missed = Vec::new();
    for bug in Bug::ALL.iter().copied().filter(|bug| only.is_none_or(|only| only == format!("{bug:?}"))) {
        let began = Instant::now();
        plant(Some(bug));
        let mut found = None;
        for seed in 1..=seeds_max {
            let plan = Plan::draw(seed);
            let Some(violation) = run::run(&plan, false)?.violation else { continue };
            // What fails without the mistake, too, finds nothing.
            plant(None);
            let innocent = run::run(&plan, false)?.violation.is_none();
            plant(Some(bug));
            if innocent {
                found = Some((seed, violation));
                break;
            }
        }
        plant(None);
        let seconds = began.elapsed().as_secs_f64();
        let text = bug.text();
        match found {
            Some((seed, violation)) => {
                let short: String = violation.replace('|', "/").chars().take(90).collect();
                writeln!(out, "| {bug:?} | {text} | {seed} | {seconds:.1} | {short} |")?;
            }
            None => {
                missed.push(bug);
                writeln!(out, "| {bug:?} | {text} | not in {seeds_max} | {seconds:.1} | |")?;
            }
        }
        out.flush()?;
    }
    let found = Bug::ALL.len() - missed.len();
    anyhow::ensure!(missed.is_empty(), "{missed:?} were not found, {found} were: mend what judges");
    Ok(())
}
