//! The pipeline, as ops see it from the ingress.

use crate::position::Partition;

/// What a pipeline in this process is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Whether it decides. When it does not, `cause` says why.
    pub running: bool,
    /// Why it does not decide, or what it is waiting for.
    pub cause: Option<String>,
    /// Partitions that are assigned to it.
    pub partitions: Vec<Partition>,
    /// Epochs that were read and are not committed yet.
    pub epochs_in_flight: usize,
    /// The most epochs there may be in flight.
    pub epochs_in_flight_max: usize,
    /// Decisions committed since it started.
    pub decided_total: u64,
}

/// A pipeline in this process.
pub trait Pipeline: Send + Sync + 'static {
    /// What it is doing now.
    fn state(&self) -> State;
}
