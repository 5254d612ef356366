//! Adapters of the feed port that are no databases: committed decisions, for whoever wants to listen.

pub mod kafka;
