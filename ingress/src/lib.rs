//! The ingress: HTTP for patients, analysts and ops. It appends intents to the log, tells what became of them, and knows
//! the edges only as traits.

pub mod audit;
pub mod auditor;
pub mod auth;
pub mod challenge;
pub mod metrics;
pub mod personal;
pub mod problem;
pub mod throttle;
pub mod tls;

mod addresses;
mod append;
mod appointments;
mod arrivals;
mod bookings;
mod breakers;
mod catalogue;
mod common_answers;
mod connection;
mod demo;
mod follower;
#[cfg(test)]
mod fuzz;
mod gate;
mod health;
mod heat;
mod hospital;
mod idempotency;
#[cfg(test)]
mod interleaved;
mod jitter;
mod lost_log;
mod names;
mod openapi;
mod ops;
mod options;
mod pages;
mod peers;
mod pipeline;
mod policy;
mod progress;
mod proxies;
mod rate_limit;
mod rehearsal;
mod reports;
mod request;
mod routes;
mod server;
mod sessions;
mod settling;
mod shed;
mod state;
mod streams;
mod suspicion;
mod sync;
mod tickets;
mod waiters;

pub use names::{HospitalNames, NAME_CHARS_MAX, NAMES_MAX, Name};
pub use options::{OpsListener, Options};
pub use proxies::{Header, NotNetworks, Proxies};
pub use server::{Error, Server};
pub use shed::Bounds;
pub use state::Ports;
