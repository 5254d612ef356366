//! Runs the `orderly` program as people do.

mod audit;
mod auditor;
mod breakers;
mod canary;
mod check;
mod config;
mod crash;
mod dashboards;
mod distributed;
mod follow;
mod help;
mod lost_log;
mod plan;
mod policy;
mod profiles;
mod program;
mod repartition;
mod replay;
mod server;
mod sessions;
mod stack;
mod start;
mod streams;
mod suspects;
mod tls;
mod token;
