//! The operators of the booking dataflow, and the traits they are written against.
//!
//! `decode ▸ dedup ▸ admit ▸ commit ▸ publish`. None of them knows timely: epochs, capabilities and frontiers are the
//! business of `orderly-pipeline`, which runs anything that implements [`Operator`] or [`AsyncOperator`].

mod admit;
mod commit;
mod decode;
mod dedup;
mod draft;
mod marks;
mod neighbours;
mod operator;
mod publish;
mod retry;

pub use admit::{Admit, SessionMemory};
pub use commit::Commit;
pub use decode::Decode;
pub use dedup::{Dedup, RecentTickets, Takeovers};
pub use draft::{Draft, Entry};
pub use marks::PublishedMarks;
pub use neighbours::Neighbours;
pub use operator::{AsyncOperator, Error, Operator, Ordered};
pub use publish::Publish;
pub use retry::Retry;
