//! The booking domain: its words as types, its rules as pure functions, its codecs, and the ports through which the rest
//! of Orderly reaches logs, ledgers, stores, analytics and waiting clients. No I/O happens here.

pub mod audit;
pub mod breaker;
pub mod clock;
pub mod command;
pub mod decision;
pub mod envelope;
#[cfg(test)]
mod fuzz;
pub mod id;
pub mod inventory;
pub mod keyring;
pub mod personal;
pub mod planted;
pub mod port;
pub mod position;
pub mod session;
pub mod ticket;
pub mod work;

pub use clock::{Clock, Timestamp};
pub use command::{Book, Cancel, ChangeCapacity, CloseSession, Command, SessionRef};
pub use decision::{Decision, Outcome, Reason};
pub use id::{CampusId, DepartmentId, DoctorId, PatientId, SessionId};
pub use position::{Fence, Offset, Partition, Position, partition_of};
pub use session::{Exclusivity, Session};
