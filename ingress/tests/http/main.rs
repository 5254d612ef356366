//! The HTTP API against a real server on a free port, over the real embedded log, store, analytics and fan-out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod bad_input;
mod bookings;
mod kit;
mod limits;
mod ops;
mod policy;
mod roles;
mod sessions;
mod stop;
mod streams;
mod tickets;
mod tokens;
