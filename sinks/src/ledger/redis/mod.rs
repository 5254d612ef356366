//! The ledger in Redis. Scripts decide (`lua/commands/`); here commands are brought to them and answers back.
//!
//! Everything about the sessions of one department on one local day lies under keys with one hash tag, so that one call
//! decides about it, on a cluster too. Redis is never the authority: what it knows can be taken from it at any time, and
//! that is noticed by the fence and the version which every session carries (see `docs/adr/0008-what-redis-knows.md`).
//!
//! No key has a time to live. What is kept is in proportion to capacity, and [`prune`] deletes days that are past.
//!
//! [`prune`]: orderly_domain::port::Ledger::prune

mod call;
mod keys;
mod known;
mod metrics;
mod options;
mod part;
mod reply;
mod service;

pub use options::Options;
pub use service::Ledger;
