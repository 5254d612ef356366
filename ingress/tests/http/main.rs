//! The HTTP API against a real server on a free port, over the real embedded log, store, analytics and fan-out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod audit;
mod bad_input;
mod bookings;
mod bots;
mod breakers;
mod faults;
mod http2;
mod kit;
mod limits;
mod log;
mod ops;
mod pages;
mod personal;
mod policy;
mod proxies;
mod ready;
mod roles;
mod sessions;
mod shares;
mod shedding;
mod slow_readers;
mod stop;
mod streams;
mod throttle;
mod tickets;
mod tls;
mod tokens;
