//! Runs the `orderly` program as people do.

mod audit;
mod breakers;
mod config;
mod crash;
mod distributed;
mod follow;
mod help;
mod policy;
mod profiles;
mod program;
mod replay;
mod server;
mod sessions;
mod stack;
mod start;
mod token;
