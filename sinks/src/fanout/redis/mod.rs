//! The fan-out over a Redis stream.
//!
//! Each commit's decisions are one entry, as JSON. One task in each process follows the stream and hands what comes to
//! all subscribers there; it connects again by itself, for ever. Entries are numbered (`lua/commands/publish-2.lua`), so
//! that a stream that was trimmed too far, flushed, or went back in time is noticed: subscribers are told of a gap then,
//! and whenever the connection was lost.
//!
//! A service that must handle each batch once, whichever of its processes does, reads the same stream as a consumer group:
//! `XGROUP CREATE STREAM GROUP $` once, then `XREADGROUP GROUP … COUNT … BLOCK … STREAMS STREAM >`, and `XACK` after each
//! batch is handled; what a process read and did not acknowledge before it died, another takes over with `XAUTOCLAIM`. It may
//! see a batch twice, and after a gap in `n` it catches up from the store as everybody does. The stream is trimmed by
//! count, whether a group has read it or not.
//!
//! Redis may lose what it took. That costs a wait until a client polls, not an outcome: the store has them all.

mod entry;
mod metrics;
mod options;
mod reader;
mod service;

pub use options::Options;
pub use service::Fanout;
