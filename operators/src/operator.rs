//! What an operator is. Only a name and a way to process a batch are required; the rest has defaults.

use async_trait::async_trait;
use orderly_domain::{Decision, Position, Timestamp, port};

use crate::draft::Draft;

/// Why an operator cannot go on. It ends the dataflow, and the process unless a takeover heals it: no record is ever skipped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An edge failed for good.
    #[error(transparent)]
    Port(#[from] port::Error),
    /// A record that only a newer version can read.
    #[error("record {position}: {source}")]
    Record {
        /// Where it lies.
        position: Position,
        /// What is wrong with it.
        source: orderly_domain::envelope::Error,
    },
}

/// An operator that answers at once, on the worker's thread. It sees the records of its worker's partitions in log order.
pub trait Operator: 'static {
    /// What comes in.
    type In;
    /// What goes out.
    type Out;

    /// Its name, in metrics and logs.
    fn name(&self) -> &'static str;

    /// Processes some records of one epoch, in order.
    ///
    /// # Errors
    /// Ends the dataflow.
    fn process_batch(&mut self, batch: Vec<Self::In>, out: &mut Vec<Self::Out>) -> Result<(), Error>;
}

/// A record that has a place in the order over all partitions.
pub trait Ordered {
    /// What it is ordered by.
    fn order(&self) -> (Timestamp, Position);
}

/// An operator that waits for something outside the worker. It is given whole epochs, sorted by [`Ordered::order`]; records
/// that share a lane are given in order, one batch at a time, other lanes go on beside it.
#[async_trait]
pub trait AsyncOperator: Send + Sync + 'static {
    /// What comes in.
    type In: Ordered + Send;
    /// What goes out.
    type Out: Send;

    /// Its name, in metrics and logs.
    fn name(&self) -> &'static str;

    /// Processes a batch: exactly one output for each input, in the same order. Called again after a failure,
    /// possibly with other cuts.
    ///
    /// # Errors
    /// Ends the dataflow.
    async fn process_batch(&self, batch: Vec<Self::In>) -> Result<Vec<Self::Out>, Error>;

    /// Records with the same lane are kept in order; by default all are.
    fn lane(&self, _record: &Self::In) -> u64 {
        0
    }

    /// Called once, after the last batch, when the dataflow was drained in order.
    ///
    /// # Errors
    /// Ends the dataflow.
    async fn on_drained(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl Ordered for Draft {
    fn order(&self) -> (Timestamp, Position) {
        (self.logged_at, self.position)
    }
}

impl Ordered for Decision {
    fn order(&self) -> (Timestamp, Position) {
        Self::order(self)
    }
}

impl Ordered for port::store::Committed {
    fn order(&self) -> (Timestamp, Position) {
        (self.logged_at, self.position)
    }
}
