//! What was published to those who wait, and what they must not have heard.

use std::collections::BTreeMap;

use orderly_domain::port::store::Committed;
use orderly_domain::{Offset, Outcome, Position};

use crate::world::State;

/// By record: what was told of it first.
#[derive(Default)]
pub(crate) struct Told(pub(crate) BTreeMap<Position, (Outcome, Option<Offset>)>);

/// Notes what is published. It must be committed, and what was told once must not change.
pub(crate) fn publish(state: &mut State, committed: &[Committed]) {
    for decision in committed {
        let position = decision.position;
        let told = (decision.outcome, decision.first);
        state.say(|| {
            format!("told {position} {}{}", decision.outcome, if decision.first.is_some() { " again" } else { "" })
        });
        let stored = state.store.outcome(position);
        match stored {
            None => state.violated(format!("{position} was told {} before it was committed", decision.outcome)),
            Some(stored) if stored != told => {
                state.violated(format!("{position} was told {}, the store says {}", decision.outcome, stored.0));
            }
            Some(_) => {}
        }
        let first = *state.told.0.entry(position).or_insert(told);
        if first != told {
            state.violated(format!("{position} was told {} first and {} later", first.0, told.0));
        }
    }
}
