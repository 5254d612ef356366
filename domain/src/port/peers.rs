//! What the ingress nodes know of each other.

use async_trait::async_trait;

use super::Result;

/// This node's part in what the policy gives all ingress nodes together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// More than 0, at most 1. Those of all nodes add up to 1, give or take what changed since each was told its own.
    pub share: f64,
    /// How many nodes there are, with this one.
    pub nodes: u32,
}

/// The other ingress nodes.
#[async_trait]
pub trait Peers: Send + Sync + 'static {
    /// Says that this node is there and how much is asked of it, in requests a second, and hears its share. A node that has
    /// not been heard of for a while has none, and the others take it.
    ///
    /// # Errors
    /// When the others cannot be reached; then the last share goes on to hold.
    async fn share(&self, demand_per_s: f64) -> Result<Share>;

    /// Says that this node stops, so that the others take its share at once.
    ///
    /// # Errors
    /// When the others cannot be reached; they notice by themselves after a while.
    async fn leave(&self) -> Result<()>;
}
