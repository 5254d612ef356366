//! Goals, and whether they were reached.

use serde::Serialize;

/// What is wanted of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// This or more.
    Least(f64),
    /// This or less.
    Most(f64),
    /// Less than this.
    Below(f64),
    /// No further from nothing than this.
    Within(f64),
}

impl Wanted {
    fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::Least(least) => value >= least,
            Self::Most(most) => value <= most,
            Self::Below(bound) => value < bound,
            Self::Within(off) => value.abs() <= off,
        }
    }
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, text: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Least(least) => write!(text, "≥ {least}"),
            Self::Most(most) => write!(text, "≤ {most}"),
            Self::Below(bound) => write!(text, "< {bound}"),
            Self::Within(off) => write!(text, "± {off}"),
        }
    }
}

/// A figure, and what is wanted of it.
#[derive(Clone, Debug, Serialize)]
pub struct Goal {
    /// What is measured, with its unit.
    pub what: String,
    /// How much it is.
    pub value: f64,
    /// How much it should be.
    pub wanted: Wanted,
    /// Whether it is.
    pub met: bool,
}

impl Goal {
    /// Judges a figure; one that is no number misses every goal.
    pub fn new(what: impl Into<String>, value: f64, wanted: Wanted) -> Self {
        Self { what: what.into(), value, wanted, met: wanted.is_met_by(value) }
    }

    /// In a word.
    #[must_use]
    pub const fn verdict(&self) -> &'static str {
        if self.met { "met" } else { "missed" }
    }
}

/// Which of them are missed, in a line for people.
#[must_use]
pub fn summary(goals: &[Goal]) -> String {
    let missed: Vec<_> = goals.iter().filter(|goal| !goal.met).collect();
    let list = |goal: &&Goal| format!("{}: {:.3}, goal {}", goal.what, goal.value, goal.wanted);
    match missed.as_slice() {
        [] => format!("all {} goals are met", goals.len()),
        missed => {
            let list = missed.iter().map(list).collect::<Vec<_>>().join("; ");
            format!("{} of {} goals are missed: {list}", missed.len(), goals.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_itself_is_within_it_unless_it_must_be_below() {
        for (wanted, value, met) in [
            (Wanted::Least(0.5), 0.5, true),
            (Wanted::Least(0.5), 0.49, false),
            (Wanted::Most(0.0), 0.0, true),
            (Wanted::Most(0.0), 1.0, false),
            (Wanted::Below(2.0), 2.0, false),
            (Wanted::Within(0.05), -0.05, true),
            (Wanted::Within(0.05), -0.06, false),
            (Wanted::Most(1.0), f64::NAN, false),
        ] {
            assert_eq!(Goal::new("it", value, wanted).met, met, "{value} {wanted}");
        }
    }

    #[test]
    fn the_missed_are_named() {
        let goals = [Goal::new("rate", 2.0, Wanted::Least(1.0)), Goal::new("wait, ms", 12.0, Wanted::Most(10.0))];
        assert_eq!(summary(&goals), "1 of 2 goals are missed: wait, ms: 12.000, goal ≤ 10");
        assert_eq!(summary(&goals[..1]), "all 1 goals are met");
    }
}
