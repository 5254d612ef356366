//! Makes a failing plan smaller while it fails.

use crate::plan::{Noise, Plan};
use crate::run;

/// Runs that may be spent on it.
const TRIES_MAX: u32 = 600;

/// Leaves out what does not matter: first how calls go wrong, then halves, quarters, … of the steps, down to single ones.
pub(crate) fn shrink(plan: &Plan) -> anyhow::Result<Plan> {
    let mut least = plan.clone();
    let mut tries = 0;
    let mut fails = |plan: &Plan| -> anyhow::Result<bool> {
        tries += 1;
        Ok(tries <= TRIES_MAX && run::run(plan, false)?.violation.is_some())
    };
    let quieter: [fn(&mut Noise); 5] = [
        |noise| *noise = Noise::NONE,
        |noise| noise.fatal = 0,
        |noise| noise.late = 0,
        |noise| noise.lost = 0,
        |noise| noise.refused = 0,
    ];
    for quieten in quieter {
        let mut plan = least.clone();
        quieten(&mut plan.noise);
        if fails(&plan)? {
            least = plan;
        }
    }
    let mut share = least.steps.len().div_ceil(2);
    while share > 0 {
        let mut from = 0;
        while from < least.steps.len() {
            let mut plan = least.clone();
            plan.steps.drain(from..(from + share).min(plan.steps.len()));
            if fails(&plan)? {
                least = plan;
            } else {
                from += share;
            }
        }
        share = if share == 1 { 0 } else { share.div_ceil(2) };
    }
    Ok(least)
}
