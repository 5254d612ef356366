//! One conformance suite for each port. A suite knows only the trait; every adapter runs it.

mod analytics;
mod audit;
mod fanout;
mod feed;
mod guarded;
mod ledger;
mod log;
mod peers;
mod redis;
mod store;
