//! The ledger: the fast copy of remaining inventory and of who holds what. It can be rebuilt from the store at any time.

use std::collections::HashMap;

use async_trait::async_trait;

use super::Result;
use super::store::SessionState;
use crate::clock::Timestamp;
use crate::command::Command;
use crate::decision::Decision;
use crate::id::SessionId;
use crate::inventory::{Admission, Snapshot};
use crate::position::{Fence, Partition, Position};

/// A command, with its place in the log.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its place.
    pub position: Position,
    /// When the log took it.
    pub logged_at: Timestamp,
    /// The takeover under which its partition is read.
    pub fence: Fence,
    /// What is asked.
    pub command: &'a Command,
}

/// Why the ledger is not believed about sessions of other partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It knows of fewer bookings than the store. Where it does no more, nothing is done.
    Behind,
    /// It does not know of a booking that the store has.
    Ignorant,
}

/// A ledger answers exactly as [`crate::inventory::DepartmentDay`] does.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Decides commands in the order given and applies them; one answer each. Asked again about the same record, it gives
    /// the same answer; about a later record of a ticket that booked, [`crate::Outcome::Repeat`].
    ///
    /// # Errors
    /// `MayHaveHappened`: ask again. A timeout is unknown, never a no. From a ledger outside of the process: `Lost` when it
    /// does not know, or not newly enough, what was restored into it or applied to it; nothing was applied then to the
    /// session in question. `Fenced` when a session was restored under a later takeover.
    async fn apply(&self, requests: &[Request<'_>]) -> Result<Vec<Admission>>;

    /// Tells which partitions are decided here from now on, each under its newest takeover. What was opened or seen in others,
    /// or under an earlier takeover, holds no more: what was not committed is restored by nobody. Nothing of a partition whose
    /// takeover is new may be in flight.
    ///
    /// # Errors
    /// When the ledger cannot take it.
    async fn hold(&self, held: &HashMap<Partition, Fence>) -> Result<()>;

    /// Replaces what is known of these sessions, each under the takeover of its partition: from then on they are changed
    /// under that one alone. Nothing about them may be in flight.
    ///
    /// # Errors
    /// When the ledger cannot be reached; `Fenced` when a session was restored under a later takeover.
    async fn restore(&self, snapshots: Vec<(Fence, Snapshot)>) -> Result<()>;

    /// Those of these sessions of other partitions, as the store has them, of which it knows nothing, or fewer bookings: it
    /// has lost them, and their owners may not have noticed. One that is in the process loses nothing.
    ///
    /// # Errors
    /// When the ledger cannot be reached.
    async fn behind(&self, _sessions: &[SessionState]) -> Result<Vec<SessionId>> {
        Ok(Vec::new())
    }

    /// Notes who holds appointments in sessions of other partitions, each under the newest takeover of its partition, so that
    /// nobody is given a second one in a department's day before their owners restore them. Their owners are told that they
    /// are lost.
    ///
    /// # Errors
    /// When the ledger cannot be reached.
    async fn lend(&self, _snapshots: Vec<(Fence, Snapshot)>, _doubt: Doubt) -> Result<()> {
        Ok(())
    }

    /// Takes back what a store refused: bookings give their number back, sessions that were opened are forgotten.
    ///
    /// # Errors
    /// When the ledger cannot be reached; `Lost` and `Fenced` as for [`Ledger::apply`].
    async fn undo(&self, refused: &[Decision]) -> Result<()>;

    /// Tells that these decisions are committed. A ledger that several processes share lets the others give a released patient
    /// another appointment from now on: what they decided by an earlier look could not be committed before this. Telling it
    /// again, or of what the ledger has forgotten, changes nothing.
    ///
    /// # Errors
    /// When the ledger cannot be reached.
    async fn settle(&self, _committed: &[Decision]) -> Result<()> {
        Ok(())
    }

    /// Forgets sessions whose day is past for records that the log takes from `logged_at` on.
    ///
    /// # Errors
    /// When the ledger cannot be reached.
    async fn prune(&self, logged_at: Timestamp) -> Result<()>;

    /// Every known session's remaining numbers (0 when closed), in no order.
    ///
    /// # Errors
    /// When the ledger cannot be reached.
    async fn remaining(&self) -> Result<Vec<(SessionId, u32)>>;
}
