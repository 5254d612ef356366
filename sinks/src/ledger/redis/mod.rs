//! The ledger on Redis.
