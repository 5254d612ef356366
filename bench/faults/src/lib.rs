//! Faults of real servers and processes in the middle of a rush: what is killed, stopped, emptied or cut off recovers, and
//! afterwards the checker finds every promise kept. The same faults make a fixed sequence for a test and a long campaign
//! drawn by a seed.
//!
//! Everything here needs tokio's runtime with several threads: servers are started and awaited on the thread that asks.

pub mod campaign;
mod certificates;
mod clock;
pub mod cluster;
mod config;
mod disks;
pub mod fault;
mod front;
mod health;
mod last;
mod load;
mod node;
mod probe;
mod recovery;
pub mod report;
mod servers;
mod sessions;
mod strike;
