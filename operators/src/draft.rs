//! A decision on its way.

use orderly_domain::{Command, Decision, Fence, Outcome, Position, Timestamp};
use serde::{Deserialize, Serialize};

/// A record as the source read it, under the takeover that allowed it to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the log.
    pub position: Position,
    /// When the log took it.
    pub logged_at: Timestamp,
    /// The takeover of its partition.
    pub fence: Fence,
    /// What lies there.
    pub payload: Vec<u8>,
}

/// A record that was read, with its outcome as soon as an operator knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// Its place in the log.
    pub position: Position,
    /// When the log took it.
    pub logged_at: Timestamp,
    /// The takeover of its partition.
    pub fence: Fence,
    /// What it asks; `None` when it could not be read.
    pub command: Option<Command>,
    /// What came of it, once that is known.
    pub outcome: Option<Outcome>,
}

impl Draft {
    /// The decision, with an outcome that was found just now.
    #[must_use]
    pub fn decide(self, outcome: Outcome) -> Decision {
        Decision {
            position: self.position,
            logged_at: self.logged_at,
            fence: self.fence,
            command: self.command,
            outcome,
        }
    }
}
