//! The fan-out over a Redis stream.
//!
//! Each commit's decisions are one entry, as JSON. One task in each process follows the stream and hands what comes to
//! all subscribers there; it connects again by itself, for ever. Entries are numbered (`lua/commands/publish-2.lua`), so
//! that a stream that was trimmed too far, flushed, or went back in time is noticed: subscribers are told of a gap then,
//! and whenever the connection was lost.
//!
//! A service that must handle each batch, whichever of its processes does, reads the same stream as a member of a group
//! ([`group`]). The stream is trimmed by count, whether a group has read it or not; who was too slow is told.
//!
//! Redis may lose what it took. That costs a wait until a client polls, not an outcome: the store has them all.

mod entry;
pub mod group;
mod metrics;
mod options;
mod reader;
mod service;

pub use options::Options;
pub use service::Fanout;
