//! Small steps that every booking takes, alone: repeated by criterion for people, and counted in instructions for a guard.
//! Counts do not depend on what else the machine does.

mod count;
mod steps;

pub use count::{Options, run};
pub use steps::{Step, all};
