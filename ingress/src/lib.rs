//! The ingress: HTTP for patients, analysts and ops. It appends intents to the log, tells what became of them, and knows
//! the edges only as traits.

pub mod audit;
pub mod auth;
pub mod metrics;
pub mod problem;
pub mod throttle;
pub mod tls;

mod addresses;
mod append;
mod arrivals;
mod bookings;
mod breakers;
mod catalogue;
mod connection;
mod demo;
mod follower;
mod gate;
mod health;
mod idempotency;
mod jitter;
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
mod reports;
mod request;
mod routes;
mod server;
mod sessions;
mod shed;
mod state;
mod streams;
mod tickets;
mod waiters;

pub use options::Options;
pub use proxies::{Header, NotNetworks, Proxies};
pub use server::{Error, Server};
pub use shed::Bounds;
pub use state::Ports;
