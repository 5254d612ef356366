//! A plan for people.

use std::fmt::Write as _;

use super::size::{Plan, number};

/// Every line as formula = numbers = result, and then what the peak comes to.
pub(super) fn to_text(plan: &Plan) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, plan);
    text
}

fn write(text: &mut String, plan: &Plan) -> std::fmt::Result {
    let (demand, costs, came) = (&plan.demand, &plan.costs, &plan.simulated);
    writeln!(
        text,
        "{} doctors, {} patients; {} intents a second for {} s, {:.0} % of them booked; 99 % to know within {} ms",
        number(demand.doctors),
        number(demand.patients),
        number(demand.peak_rps),
        number(demand.peak_seconds),
        demand.booked_share * 100.0,
        number(demand.p99_ms)
    )?;
    writeln!(text, "costs measured on {} ({}, {}) by {}\n", costs.machine, costs.commit, costs.date, costs.command)?;
    for line in &plan.lines {
        // "pipeline nodes: 3" needs no unit.
        let unit = if line.what.contains(line.unit) { String::new() } else { format!(" {}", line.unit) };
        writeln!(text, "{}: {}{unit}", line.what, number(line.result))?;
        writeln!(text, "    {} = {}", line.formula, line.numbers)?;
    }
    writeln!(text, "\nthe peak, simulated a millisecond at a time:")?;
    writeln!(text, "backlog at its end: {} intents", number(came.backlog))?;
    writeln!(text, "until the last patient knows: {} s after the first request", number(came.last_outcome_s))?;
    writeln!(text, "p99 to the 202: {} ms", number(came.accept_p99_ms))?;
    writeln!(text, "p99 to the outcome: {} ms", number(came.total_p99_ms))?;
    let verdict = if plan.met { "met" } else { "NOT met" };
    writeln!(text, "99 % within {} ms: {verdict}", number(demand.p99_ms))?;
    for advice in &plan.advice {
        writeln!(text, "\n{advice}")?;
    }
    Ok(())
}
