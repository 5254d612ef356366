//! `orderly plan`: what a deployment needs, computed from measured costs with the arithmetic shown.

mod costs;
mod demand;
mod print;
mod simulate;
mod size;
#[cfg(test)]
mod tests;

use std::io::Write as _;

use crate::cli::Plan;
use costs::Costs;
use demand::Demand;

pub(crate) use demand::Preset;

/// Prints the plan.
///
/// # Errors
/// When the file of costs cannot be read.
pub(crate) fn run(command: &Plan) -> anyhow::Result<()> {
    let costs = match &command.costs {
        Some(path) => Costs::read(path)?,
        None => Costs::built_in()?,
    };
    let demand = Demand::new(command);
    let plan = match command.one_machine {
        Some(cores) => size::one_machine(&demand, &costs, cores),
        None => size::plan(&demand, &costs),
    };
    let mut out = std::io::stdout().lock();
    if command.json {
        writeln!(out, "{:#}", serde_json::to_value(&plan)?)?;
    } else {
        write!(out, "{}", print::to_text(&plan))?;
    }
    Ok(())
}
